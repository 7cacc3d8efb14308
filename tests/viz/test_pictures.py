from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.viz.curves import curves, read_curves
from dife_lightning.viz.embedding import embedding_colors, embedding_sheet
from dife_lightning.viz.gallery import GalleryBlock, gallery
from dife_lightning.viz.sheet import pixels, save_figure, to_image
from dife_lightning.viz.transfer import TransferExample, transfer_sheet

NAMES = [f"point_{k}" for k in range(9)]


def example(predicted_shift: float = 2.0, visible: bool = True) -> TransferExample:
    points = np.stack(np.meshgrid([16, 32, 48], [16, 32, 48]), -1).reshape(9, 2).astype(np.float32)
    gray = np.full((64, 64, 3), 128, dtype=np.uint8)
    seen = np.full(9, visible)
    return TransferExample(gray, gray, points, points, points + predicted_shift, seen, 3.0, "human → dog")


def test_images_are_scaled_from_minus_one_to_one():
    image = torch.tensor([-1.5, -1.0, 0.0, 1.0]).reshape(1, 1, 4).expand(3, 1, 4)
    assert to_image(image)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_a_transfer_sheet_shows_where_points_went():
    drawn = [pixels(transfer_sheet([example(shift)], NAMES)).astype(int) for shift in (2.0, 6.0)]
    assert drawn[0].shape == drawn[1].shape
    changed = np.abs(drawn[0] - drawn[1]).max(-1) > 30
    columns = np.flatnonzero(changed.any(0))
    assert len(columns)
    assert columns.min() > changed.shape[1] * 0.4  # the source half is the same


def test_invisible_points_are_not_drawn():
    hidden, moved = (pixels(transfer_sheet([example(s, visible=False)], NAMES)) for s in (2.0, 6.0))
    np.testing.assert_array_equal(hidden, moved)


def test_a_sheet_grows_by_rows():
    one, three = (pixels(transfer_sheet([example()] * n, NAMES, columns=2)) for n in (2, 6))
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] > 2 * one.shape[0] * 0.9


def test_pca_colours_compare_across_images_and_first_three_do_not():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(1, 8, 6, 6, generator=generator)
    other = 3 * torch.randn(1, 8, 6, 6, generator=generator)
    batch = torch.cat((shared, other, shared))
    colors = embedding_colors(batch)
    assert colors.shape == (3, 3, 6, 6)
    assert (colors.min(), colors.max()) == (0, 1)
    assert torch.equal(colors[0], colors[2])
    first = embedding_colors(batch, "first-three")
    assert torch.allclose(first.amax(dim=(1, 2, 3)), torch.ones(3))
    expected = (shared[0, :3] - shared[0, :3].min()) / (shared[0, :3].max() - shared[0, :3].min())
    torch.testing.assert_close(first[0], expected)


def test_pca_colours_span_the_strongest_directions_found_by_svd():
    generator = torch.Generator().manual_seed(1)
    scales = torch.tensor([5.0, 3.0, 2.0, 0.01, 0.01]).reshape(1, 5, 1, 1)
    batch = torch.randn(2, 5, 8, 8, generator=generator) * scales
    colors = embedding_colors(batch).permute(0, 2, 3, 1).reshape(-1, 3)
    data = batch.permute(0, 2, 3, 1).reshape(-1, 5)
    u, s, _ = torch.linalg.svd(data - data.mean(0), full_matrices=False)
    for k in range(3):
        inside = (colors[:, k] > 0) & (colors[:, k] < 1)
        correlation = torch.corrcoef(torch.stack((colors[inside, k], (u * s)[inside, k])))[0, 1]
        assert correlation.abs() > 0.999


def test_a_constant_embedding_has_finite_colours():
    assert embedding_colors(torch.ones(1, 4, 3, 3)).isfinite().all()


def test_colours_need_three_channels_and_a_known_mode():
    with pytest.raises(DataError, match="n >= 3"):
        embedding_colors(torch.ones(1, 2, 3, 3))
    with pytest.raises(ConfigError, match="first-three"):
        embedding_colors(torch.ones(1, 4, 3, 3), "tsne")  # type: ignore[arg-type]


@pytest.mark.parametrize("note", ["short", "a long note that says how the faces were chosen, " * 4])
def test_a_note_of_a_narrow_sheet_is_never_cut_off(note):
    images = {"human": torch.zeros(1, 3, 8, 8)}
    figure = embedding_sheet(images, {"dife": {"human": torch.rand(1, 4, 8, 8)}}, note=note)
    pixels(figure)
    found = next(text for text in figure.texts if text.get_text() == note)
    for dpi in (100, 110, 150, 200, 300):  # hinting makes letters wider at some
        assert found.get_window_extent(dpi=dpi).x1 <= figure.get_figwidth() * dpi, dpi


def test_an_embedding_sheet_has_a_row_for_each_method():
    images = {name: torch.rand(2, 3, 16, 16) * 2 - 1 for name in ("human", "dog")}
    maps = {name: torch.rand(2, 4, 8, 8) for name in images}
    figure = embedding_sheet(images, {"surface-teacher": maps, "dife": maps})
    assert len(figure.axes) == 3 * 4
    assert {text.get_text() for text in figure.texts} >= {"dife"}
    names = {name: (f"{name}_{'long_' * 5}1.png", "2.png") for name in images}
    figure = embedding_sheet(images, {"dife": maps}, names=names)
    found = {axes.get_title(loc="left") for axes in figure.axes}
    assert found == {"...ng_long_long_1.png", "2.png", ""}
    assert max(map(len, found)) <= 21


def test_a_gallery_has_a_cell_for_each_original_and_partner(tmp_path):
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    blocks = [
        GalleryBlock("human", images, {"human": images, "dog": images}, {"dog": torch.tensor([0.1, 0.2, 0.3])}),
        GalleryBlock("dog", images[:2], {"human": images[:2]}),
    ]
    figure = gallery(blocks)
    assert len(figure.axes) == 3 * 3 + 2 * 2
    assert save_figure(figure, tmp_path / "a" / "g.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match="1 dog partners for 3 human originals"):
        gallery([GalleryBlock("human", images, {"dog": images[:1]})])


CSV = """epoch,step,train/loss,train/stage,val/pixel_error,val/human+dog/jittered/9-point/pixel_error
0,0,3.0,0,,
0,10,2.0,0,,
0,10,,,9.0,9.5
0,20,nan,1,,
0,30,1.0,1,,
0,30,,,7.0,7.5
"""


def test_curves_skip_blanks_and_nan(tmp_path):
    (tmp_path / "metrics.csv").write_text(CSV)
    series = read_curves(tmp_path / "metrics.csv")
    assert series["train/loss"] == ([0, 10, 30], [3, 2, 1])
    assert series["val/pixel_error"] == ([10, 30], [9, 7])


def test_curves_mark_the_stage_and_name_the_lines(tmp_path):
    (tmp_path / "metrics.csv").write_text(CSV)
    loss, error = curves(tmp_path / "metrics.csv").axes
    assert loss.get_yscale() == "log"
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["human+dog/jittered", "mean over pairs"]
    stage = [line for line in error.lines if line.get_linestyle() == "--"]
    assert stage[0].get_xdata()[0] == 20


def test_curves_of_a_missing_or_foreign_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="CSVLogger"):
        curves(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("step,lr\n0,1\n")
    with pytest.raises(DataError, match="nothing to draw"):
        curves(tmp_path / "x.csv")


def test_empty_sheets_are_refused():
    for draw in (lambda: transfer_sheet([], NAMES), lambda: gallery([]), lambda: embedding_sheet({}, {})):
        with pytest.raises(DataError):
            draw()


def test_rows_of_a_transfer_sheet_have_labels_and_cells_may_be_empty():
    figure = transfer_sheet([example(), None, example(), example()], NAMES, columns=2, rows=["worst", "median"])
    assert len(figure.axes) == 2 * 3
    placed = {text.get_text(): text.get_position() for text in figure.texts}
    assert placed["worst"][1] > placed["median"][1]
    left = min(axes.get_position().x0 for axes in figure.axes)
    assert max(placed["worst"][0], placed["median"][0]) < left
    with pytest.raises(DataError, match="no pair to draw"):
        transfer_sheet([None], NAMES)
