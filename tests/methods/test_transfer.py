"""``method.transfer``: two images of any size and points in their own pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import dife_lightning as dl
from dife_lightning.errors import ConfigError
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.methods.dense_truth import DenseTruth
from dife_lightning.methods.dife import DIFE
from dife_lightning.registry import get_method
from tests.tiny import TINY_CATS, dife_arguments, write_teacher

Pixels = NDArray[np.uint8]


class Colours(EmbedderModule):
    """The image, brought to 24 px, as its own embedding."""

    size = 24

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_hand(source: Pixels, target: Pixels, points: NDArray[Any], side: int, *, unit: bool = False) -> NDArray[Any]:
    """Nearest neighbours of the colours at ``points``, point by point, with rulers of our own."""
    small = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) / 127.5 - 1 for image in (source, target)]
    colours = small[1].reshape(-1, 3)
    if unit:
        colours = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    found = []
    for x, y in points:
        column = round((x + 0.5) / source.shape[1] * side - 0.5)  # the edge of the image is half a pixel before 0
        row = round((y + 0.5) / source.shape[0] * side - 0.5)
        best = int((colours @ small[0][row, column]).argmax())
        found.append(
            ((best % side + 0.5) / side * target.shape[1] - 0.5, (best // side + 0.5) / side * target.shape[0] - 0.5)
        )
    return np.array(found)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize(("source", "target"), [((24, 24), (24, 24)), ((48, 60), (90, 32)), ((100, 25), (31, 77))])
def test_points_go_to_the_nearest_neighbour_in_the_pixels_of_each_image(
    source: tuple[int, int], target: tuple[int, int], similarity: Any
) -> None:
    images = noise(*source), noise(*target, seed=1)
    points = np.random.default_rng(2).random((7, 2)) * (source[1] - 1, source[0] - 1)
    found = Colours().transfer(images, points, similarity=similarity)
    expected = by_hand(*images, points, 24, unit=similarity == "cosine")
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_bytes_and_floats_are_the_same_image() -> None:
    images, points = (noise(48, 72), noise(24, 96, seed=1)), [[3.0, 40.0], [60.5, 7.0]]
    floats = tuple(torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1 for image in images)
    assert len(floats) == 2
    torch.testing.assert_close(Colours().transfer(floats, torch.tensor(points)), Colours().transfer(images, points))


def test_a_copied_point_keeps_its_place_as_a_share_of_the_image() -> None:
    found = get_method("copy-xy")().transfer(
        (noise(50, 40), noise(80, 120)), [[-0.5, -0.5], [19.5, 24.5], [39.5, 49.5]]
    )
    np.testing.assert_allclose(found, [[-0.5, -0.5], [59.5, 39.5], [119.5, 79.5]], atol=1e-4)


def test_a_random_point_is_a_function_of_the_two_images() -> None:
    method, points = get_method("random")(), [[1.0, 2.0], [3.0, 4.0]]
    first = method.transfer((noise(20, 30), noise(40, 50)), points)
    assert torch.equal(first, method.transfer((noise(20, 30), noise(40, 50)), points))
    assert not torch.equal(first, method.transfer((noise(20, 30), noise(40, 50, seed=3)), points))
    assert ((first >= -0.5) & (first <= torch.tensor([49.5, 39.5]))).all()


def test_a_checkpoint_transfers_between_image_files(tmp_path: Path) -> None:
    method = DIFE(**dife_arguments(tmp_path))
    content = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams), "method": "dife"}
    torch.save(content, tmp_path / "dife.ckpt")
    for name, image in (("a", noise(40, 64)), ("b", noise(96, 50, seed=1))):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    images = dl.read_image(tmp_path / "a.png"), dl.read_image(tmp_path / "b.png")
    found = dl.load(tmp_path / "dife.ckpt").transfer(images, [[10.0, 20.0], [63.0, 0.0]])
    small = [
        torch.from_numpy(cv2.resize(i, (32, 32), interpolation=cv2.INTER_AREA)).permute(2, 0, 1) / 127.5 - 1
        for i in images
    ]
    with torch.no_grad():
        maps = method.eval().embed(torch.stack(small))
    at = torch.tensor([[(10.5 / 64 * 32) - 0.5, (20.5 / 40 * 32) - 0.5], [63.5 / 64 * 32 - 0.5, 0.5 / 40 * 32 - 0.5]])
    cells = dl.transfer(maps[:1], maps[1:], at[None])[0]
    torch.testing.assert_close(found, (cells + 0.5) * torch.tensor([50 / 32, 96 / 32]) - 0.5)


@pytest.mark.parametrize("name", ["frozen-embedder", "dense-truth", "cats", "dve", "surface-teacher"])
def test_every_method_that_needs_no_species_transfers_any_two_images(name: str, tmp_path: Path) -> None:
    encoder = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}
    arguments: dict[str, dict[str, Any]] = {
        "frozen-embedder": {"embedder": write_teacher(tmp_path / "teacher.safetensors")},
        "dense-truth": {"encoder": encoder},
        "cats": {"architecture": TINY_CATS},
        "dve": {"encoder": encoder, "size": 32},
        "surface-teacher": {"width": 8},
    }
    method = get_method(name)(**arguments[name])
    found = method.transfer((noise(33, 70), noise(41, 20)), torch.tensor([[5.0, 6.0], [69.0, 32.0], [0.0, 0.0]]))
    assert found.shape == (3, 2)
    assert found.isfinite().all()


def test_a_transfer_leaves_the_method_in_its_mode() -> None:
    method = DenseTruth(encoder={"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4})  # type: ignore[arg-type]
    assert method.train().transfer((noise(32, 32), noise(32, 32)), [[0.0, 0.0]]).requires_grad is False
    assert method.training


@pytest.mark.parametrize(
    ("images", "points", "text"),
    [
        ((noise(8, 8),), [[0.0, 0.0]], "found 1 images; expected two"),
        ((noise(8, 8), noise(8, 8)[..., :2]), [[0.0, 0.0]], r"uint8 and shape \(8, 8, 2\); expected a uint8 array"),
        ((noise(8, 8), noise(8, 8) / 255), [[0.0, 0.0]], "float64"),
        ((noise(8, 8), torch.zeros(8, 8, 3)), [[0.0, 0.0]], r"shape \(8, 8, 3\)"),
        ((noise(8, 8), torch.full((3, 8, 8), 255.0)), [[0.0, 0.0]], r"up to 255; expected \[-1, 1\]"),
        ((noise(8, 8), noise(8, 8)), [0.0, 0.0], r"points of shape \(2,\); expected \(P, 2\)"),
        ((noise(8, 8), noise(8, 8)), [[0.0, 0.0, 1.0]], r"points of shape \(1, 3\)"),
        ((noise(8, 8), noise(8, 8)), [[0.0, float("nan")]], "not finite"),
    ],
)
def test_other_arguments_are_refused_in_one_line(images: Any, points: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        Colours().transfer(images, points)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "arguments"), [("generator-features", {}), ("mean-shape", {}), ("stylegan2", {"channels": [8, 8]})]
)
def test_a_method_that_cannot_says_so_in_one_line(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"needs the species of both images|transfers no points") as error:
        get_method(name)(**arguments).transfer((noise(8, 8), noise(8, 8)), [[0.0, 0.0]])
    assert "\n" not in str(error.value)
