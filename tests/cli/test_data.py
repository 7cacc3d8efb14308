from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import dife_lightning
from dife_lightning.cli.data import split_options
from dife_lightning.cli.main import main
from dife_lightning.errors import UsageError
from dife_lightning.viz.landmarks import LEFT, RIGHT, cell_corner
from tests.datasets.layouts import draw_face, write_animalweb
from tests.fake_faces import BLUE, RED, make_faces


@pytest.fixture
def animals(tmp_path, monkeypatch):
    """Eight animals numbered by their own left, one of which shows no eye; and what the reader was asked for."""
    faces = make_faces(tmp_path, 8, name="ap10k", scheme="ap10k-17")
    hidden = faces.annotations[2].visible.copy()
    hidden[:2] = False
    asked = []

    def load(name, root=None, **options):
        asked.append((name, root, options))
        return faces.changed(2, visible=hidden)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dife_lightning, "load_dataset", load, raising=False)
    return asked


def preview(*words):
    return main(["data", "preview", "ap10k", "some/root", *words])


def first_cell(path, size):
    """Return the first face of a written sheet."""
    with Image.open(path) as picture:
        sheet = np.asarray(picture.convert("RGB")).astype(int)
    top, left = cell_corner(0, 6, size)
    return sheet[top : top + size, left : left + size]


def mean_column(cell, color, tolerance=60):
    return np.flatnonzero((np.abs(cell - np.array(color)).max(-1) < tolerance).any(0)).mean()


def test_a_sheet_is_written_and_told(animals, tmp_path, capsys):
    assert preview("--out", "sheets/a.png", "--count", "5", "--columns", "3", "--size", "128") == 0
    with Image.open(tmp_path / "sheets" / "a.png") as picture:
        assert picture.size == (max(480, 6 + 3 * 134), 44 + 2 * (128 + 16 + 6))
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "wrote sheets/a.png: 5 of 8 faces of ap10k, scheme ap10k-17; crop: landmarks (3-point) x 2.8, padding zero"
    )
    assert said[-1] == "left eye to the right of the right eye: 0 of 5 faces that show both"


def test_the_eye_at_the_viewers_left_is_orange_and_the_other_blue(animals, tmp_path):
    assert preview("--size", "192") == 0
    cell = first_cell(tmp_path / "preview.png", 192)
    exact = {color: np.argwhere((cell == np.array(color)).all(-1)) for color in (LEFT, RIGHT)}
    assert all(len(found) >= 9 for found in exact.values())
    assert exact[LEFT][:, 1].mean() < exact[RIGHT][:, 1].mean()
    # the fake pictures have red and blue dots below the marks
    assert abs(mean_column(cell, RED) - exact[LEFT][:, 1].mean()) < 12
    assert abs(mean_column(cell, BLUE) - exact[RIGHT][:, 1].mean()) < 12


def test_stored_eye_order_shows_and_tells_the_swap(animals, tmp_path, capsys):
    assert preview("--eye-order", "stored") == 0
    cell = first_cell(tmp_path / "preview.png", 192)
    left, right = (np.argwhere((cell == np.array(color)).all(-1))[:, 1].mean() for color in (LEFT, RIGHT))
    assert left > right
    assert "7 of 7 faces that show both: eyes are swapped" in capsys.readouterr().out


def test_faces_that_cannot_be_cropped_are_counted(animals, capsys):
    assert preview() == 0
    said = capsys.readouterr().out
    assert "7 of 8 faces" in said
    assert "skipped 1: 1 left_eye not labelled" in said


def test_other_options_go_to_the_reader_as_yaml(animals):
    assert (
        preview("--split", "test", "--species", "[dog, cat]", "--fold=2", "--skip-broken", "true", "--count", "1") == 0
    )
    options = {"split": "test", "species": ["dog", "cat"], "fold": 2, "skip_broken": True}
    assert animals == [("ap10k", "some/root", options)]


@pytest.mark.parametrize(
    "words", [["--skip-broken"], ["--skip_broken"], ["--skip-broken=true"], ["--skip-broken", "true"]]
)
@pytest.mark.parametrize("more", [[], ["--count", "1"]])
def test_skipping_what_is_broken_is_a_flag(animals, words, more):
    assert preview(*words, *more) == 0
    assert preview(*more, *words) == 0
    assert [options for _, _, options in animals] == 2 * [{"skip_broken": True}]


def test_faces_that_are_left_out_are_told_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_animalweb(tmp_path / "data", [draw_face("animalweb-9", seed) for seed in range(4)])
    (tmp_path / "data/koala_2.jpg").write_bytes(b"no picture")
    assert main(["data", "preview", "animalweb", "data", "--count", "4"]) == 1
    assert "koala_2.jpg is damaged" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"animalweb: 1 face skipped, the first: .*koala_2\.pts: .*is damaged"):
        assert main(["data", "preview", "animalweb", "data", "--count", "4", "--skip-broken"]) == 0
    assert "3 of 3 faces" in capsys.readouterr().out


def test_crop_options_change_the_picture(animals, tmp_path):
    pictures = []
    for words in ((), ("--factor", "4"), ("--rule", "box"), ("--factor", "4", "--padding", "border")):
        assert preview("--count", "1", *words) == 0
        pictures.append(first_cell(tmp_path / "preview.png", 192))
    assert all((a != b).any() for i, a in enumerate(pictures) for b in pictures[:i])


def test_a_seed_chooses_other_faces(animals, tmp_path):
    cells = []
    for seed in ("0", "0", "3"):
        assert preview("--count", "1", "--seed", seed) == 0
        cells.append(first_cell(tmp_path / "preview.png", 192))
    np.testing.assert_array_equal(cells[0], cells[1])
    assert (cells[0] != cells[2]).any()


def test_raw_sets_are_drawn_by_all_their_points(tmp_path, monkeypatch, capsys):
    faces = make_faces(tmp_path, 2)
    for i, face in enumerate(faces.annotations):
        faces = faces.changed(i, points=np.pad(face.points, ((0, 43), (0, 0))), visible=np.pad(face.visible, (0, 43)))
    faces.scheme = "catflw-48"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dife_lightning, "load_dataset", lambda *_, **__: faces, raising=False)
    assert preview("--min-side", "20") == 0
    assert "2 of 2 faces of ap10k, scheme catflw-48; crop: landmarks (all) x 1.3" in capsys.readouterr().out
    assert preview("--landmarks", "3-point") == 1
    assert "'catflw-48' is a raw set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["data", "preveiw"], 2, "Did you mean 'preview'"),
        (["data", "preview", "ap10k"], 2, "name a data set and its folder first"),
        (["data", "preview", "--count", "3"], 2, "name a data set and its folder first"),
        (["data", "preview", "ap10k", "r", "x"], 2, "expected --key value, found 'x'"),
        (["data", "preview", "ap10k", "r", "--count"], 2, "argument --count: expected one argument"),
        (["data", "preview", "ap10k", "r", "--count", "many"], 2, "argument --count: invalid int value: 'many'"),
        (["data", "preview", "ap10k", "r", "--factor", "big"], 2, "argument --factor: invalid float value: 'big'"),
        (["data", "preview", "ap10k", "r", "--species", "[a"], 2, "--species [a: expected a value, or a list"),
        (["data", "preview", "ap10k", "r", "--count", "0"], 1, "count 0"),
        (["data", "preview", "ap10k", "r", "--rule", "bok"], 1, "Did you mean 'box'"),
        (["data", "preview", "ap10k", "r", "--landmarks", "9-points"], 1, "Did you mean '9-point'"),
        (["data", "preview", "ap10k", "r", "--landmarks", "9-point"], 1, "has no 9-point map"),
        (["data", "preview", "ap10k", "r", "--out", "a.jpg"], 1, "ends in .png"),
        (["data", "preview", "ap10k", "r", "--min-side", "999"], 1, "none of the 8 faces"),
    ],
)
def test_mistakes_become_one_line(animals, tmp_path, capsys, words, code, message):
    assert main(words) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_a_word_of_two_dashes_alone_is_no_key():
    with pytest.raises(UsageError, match="found '--'"):
        split_options(["--", "3"])


def test_the_help_is_light_and_names_every_own_option(capsys):
    assert main(["data", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(
        f"  --{key} " in text
        for key in ("out", "count", "landmarks", "rule", "eye-order", "min-side", "seed", "skip-broken")
    )
    code = (
        "import sys; from dife_lightning.cli.main import main; main(['data', '--help']); "
        "sys.exit(bool({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
    assert main(["data"]) == 2


def test_the_world_is_drawn_without_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--species", "fox", "--columns", "2", "--size=32", "--framing", "jittered", "--out", "new/fox.png"]
    assert main(["data", "preview", "world", *words]) == 0
    with Image.open(tmp_path / "new" / "fox.png") as picture:
        assert picture.size == (64, 64)
    assert "64 x 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--species", "foxx"), "Did you mean 'fox'?"),
        (("--columns", "0"), "columns is 0; expected at least 1"),
        (("--colums", "3"), "Did you mean 'columns'?"),
    ],
)
def test_what_is_wrong_with_a_picture_of_the_world_is_told_in_one_line(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "preview", "world", *words]) > 0
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
