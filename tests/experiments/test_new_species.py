"""From a folder of photos to drawn transfers, with real but very short trainings; and what the tutorial says."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dife_lightning.cli.main import main as dife
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.data.photos.folder_check import FolderReport
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.images import center_square
from dife_lightning.faces.items import FaceItem
from dife_lightning.methods._base import EmbedderModule
from dife_lightning.running.configs import list_configs, load_config
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.viz.transfer import TransferExample, transfer_sheet
from dife_lightning.weights.checkpoints import find_weights, read_checkpoint
from dife_lightning.world import render_image
from experiments.build import new_species
from experiments.build import species_transfers as _species_transfers
from experiments.common import commands
from experiments.common.jobs import Job
from experiments.common.keys import settings_key
from tests.experiments.tiny_config import write_config

CLONE = Path(__file__).resolve().parents[2]
TEXT = (CLONE / "docs/new_species.md").read_text(encoding="utf-8")


class Bench:
    """A folder to work in, and the `dife` commands that were run in it, in this process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls = folder, []
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        patch.setattr(commands, "call", self.call)
        patch.setattr("experiments.common.measure.processors", lambda: 1)

    def call(self, words: list[str]) -> float:
        self.calls.append(list(words))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*\d+ (usable )?images?\b")  # so small a folder is warned of
            assert dife([*words, "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]) == 0
        return 1.0

    def build(self, *words: str) -> int:
        self.calls.clear()
        return new_species.main(["--fast", *words])


# A species of the world, at 64 px, from the shipped parts

WORLD = ("--world", "fox", "--count", "24")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        bench = Bench(tmp_path_factory.mktemp("world"), patch)
        assert bench.build(*WORLD) == 0
        bench.first = [words[:] for words in bench.calls]  # type: ignore[attr-defined]
        yield bench


def test_both_trainings_run_once_with_shipped_configurations(world: Any) -> None:
    assert [words[:3] for words in world.first] == [
        ["fit", "--config", "stylegan2/small"],
        ["fit", "--config", "world/human_new"],
    ]
    generator = read_checkpoint(world.folder / "runs/fox/checkpoints/last.ckpt")
    assert int(generator["state_dict"]["images_seen"]) == 16
    settings = yaml.safe_load((world.folder / "runs/human_fox/resolved.yaml").read_text())
    for part in ("model", "data"):
        assert settings[part]["init_args"]["generators"] == {"human": "world/human", "new": "runs/fox"}


def test_photos_are_train_renders_of_the_species(world: Any) -> None:
    files = sorted((world.folder / "results/new_species/photos/fox-24x64").iterdir())
    assert len(files) == 24
    np.testing.assert_array_equal(np.asarray(Image.open(files[7])), render_image("fox", "train", 7, size=64))


def test_pictures_and_a_summary_with_true_errors_are_written(world: Any) -> None:
    out = world.folder / "results/new_species"
    assert {path.name for path in out.glob("*.*")} == {"summary.json", "transfers.png", "samples.png"}
    sheets = sorted((world.folder / "runs/fox/samples").iterdir())
    assert (out / "samples.png").read_bytes() == sheets[-1].read_bytes()
    summary = yaml.safe_load((out / "summary.json").read_text())
    assert {(row["method"], row["framing"]) for row in summary["rows"]} == {
        (method, framing) for method in ("copy-xy", "surface-teacher", "dife") for framing in ("jittered", "plain")
    }
    assert all(row["pair"] == "human+fox" and 0 < row["pixel_error"] < 99 for row in summary["rows"])
    assert summary["photos"]["usable"] == 24


def test_points_land_in_the_image(world: Any) -> None:
    rows = rows_of(world.folder / "results/new_species/tests/dife/predictions.csv")
    found = np.array([[float(row["predicted_x"]), float(row["predicted_y"])] for row in rows])
    assert len(found) >= 4 * 9
    assert (found >= 0).all()
    assert (found <= 63).all()


def test_a_second_call_trains_nothing_again_and_other_settings_are_refused(world: Any, capsys: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in (world.folder / "runs").rglob("*")}
    assert world.build(*WORLD) == 0
    assert world.calls == []
    assert "runs/fox: already finished, kept" in capsys.readouterr().out
    assert world.build(*WORLD, "--seed", "1") == 1
    assert world.calls == []
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: runs/fox was trained with other settings (")
    assert "--overwrite" in line
    assert {path: path.stat().st_mtime_ns for path in (world.folder / "runs").rglob("*")} == before


# Photos, at 32 px, with tiny parts


def tiny_configs(folder: Path) -> list[str]:
    """Write configurations like the shipped ones with tiny parts; returns the options that name them."""
    content = json.loads(json.dumps(yaml.safe_load(write_config(folder).read_text())))  # dissolves aliases
    for part, key in (("model", "domains"), ("model", "generators"), ("data", "generators")):
        content[part]["init_args"][key]["new"] = content[part]["init_args"][key].pop("dog")
    human = content["model"]["init_args"]["generators"]["human"]
    (folder / "pair.yaml").write_text(yaml.safe_dump(content))
    settings = load_config("stylegan2/small")
    tiny = {"channels": [8, 8, 8, 8], "z_dim": 8, "w_dim": 8, "mapping_layers": 2, "init_from": human}
    settings["model"]["init_args"] |= tiny
    settings["data"]["init_args"]["size"] = 32
    (folder / "gan.yaml").write_text(yaml.safe_dump(settings))
    names = ["--generator-config", str(folder / "gan.yaml"), "--dife-config", str(folder / "pair.yaml")]
    return [*names, "--human-generator", human]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve renders with margins of other sizes, a copy, a blank one."""
    folder = tmp_path / "my/photos"
    folder.mkdir(parents=True)
    for i in range(12):
        image = cv2.copyMakeBorder(render_image("fox", "train", i, size=40), 0, 0, i, 2 * i, cv2.BORDER_REPLICATE)
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    shutil.copyfile(folder / "03.png", folder / "copy.png")
    Image.new("RGB", (40, 40), (80, 90, 100)).save(folder / "blank.png")
    return folder


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


@pytest.fixture
def tiny(bench: Bench, photos: Path) -> list[str]:
    return ["--folder", "my/photos", *tiny_configs(bench.folder)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_photos_are_checked_trained_on_and_points_carried_onto_them(bench, tiny, photos, capsys):
    assert bench.build(*tiny, "--name", "zorro") == 0
    said = capsys.readouterr().out
    for part in ("blank.png", "copy.png", "12 usable images"):
        assert any(line.startswith("! ") and part in line for line in said.splitlines()), part
    assert [words[words.index("--run") + 1] for words in bench.calls] == ["zorro", "human_zorro"]
    out = bench.folder / "results/new_species"
    assert {path.name for path in out.iterdir()} == {"transfers.png", "transfers.csv", "samples.png", "summary.json"}
    rows = rows_of(out / "transfers.csv")
    names = {row["photo"] for row in rows}
    assert len(names) == _species_transfers.DRAWN
    assert not {"my/photos/blank.png", "my/photos/copy.png"} & names
    for row in rows:
        with Image.open(row["photo"]) as image:
            width, height = image.size
        assert (width - 40) // 2 - 0.5 <= float(row["x"]) <= (width - 40) // 2 + 39.5
        assert -0.5 <= float(row["y"]) <= height - 0.5


def test_a_human_face_of_ones_own_gives_the_points(bench, tiny):
    Image.fromarray(render_image("human", "test", 5, size=50)).save("face.png")
    Path("points.csv").write_text("landmark,x,y\nleft eye,20,20\nnose,25.5,30\n")
    assert bench.build(*tiny, "--human", "face.png", "--points", "points.csv") == 0
    rows = rows_of(bench.folder / "results/new_species/transfers.csv")
    assert {row["human"] for row in rows} == {"face.png"}
    assert [row["landmark"] for row in rows[:2]] == ["left eye", "nose"]
    assert len(rows) == 2 * _species_transfers.DRAWN
    bench.calls.clear()
    Path("points.csv").write_text("20,20\n60,30\n")
    assert bench.build(*tiny, "--human", "face.png", "--points", "points.csv", "--overwrite") == 1
    assert bench.calls == []  # before anything is trained


def test_longer_trainings_go_on_and_dife_follows_a_newer_generator(bench, tiny):
    assert bench.build(*tiny) == 0
    # as if the longer training found a better state, which so short a one may not
    record = (bench.folder / "runs/human_new/resolved.yaml").stat().st_mtime_ns + 1_000_000
    os.utime(bench.folder / "runs/new/checkpoints/best.ckpt", ns=(record, record))
    assert bench.build(*tiny, "--images", "24") == 0
    generator, pair = bench.calls
    assert generator[-3:] == ["--ckpt_path", "last", "--model.init_args.max_images=24"]
    assert (pair[0], pair[-1]) == ("fit", "--overwrite")
    content = read_checkpoint(bench.folder / "runs/new/checkpoints/last.ckpt")
    assert int(content["state_dict"]["images_seen"]) == 24
    assert bench.build(*tiny, "--images", "24", "--steps", "6") == 0
    assert [words[-3:] for words in bench.calls] == [["--ckpt_path", "last", "--trainer.max_steps=6"]]


@pytest.mark.parametrize("harm", ["damaged", "alone", "missing"])
def test_a_folder_that_nothing_can_be_learnt_from_stops_everything(bench, photos, harm, capsys):
    says = {"damaged": "05.png is damaged", "alone": "1 usable image;", "missing": "no folder my/photos"}[harm]
    if harm == "damaged":
        (photos / "05.png").write_bytes(b"no image")
    elif harm == "alone":
        for path in photos.glob("*.png"):
            if path.name not in ("03.png", "copy.png", "blank.png"):
                path.unlink()
    else:
        shutil.rmtree(photos)
    assert bench.build("--folder", "my/photos") == 1
    assert bench.calls == []
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert says in line
    assert not (bench.folder / "runs").exists()


# Parts


def test_a_training_is_finished_at_its_budget_or_when_it_was_stopped_early(tmp_path):
    run = RunFolder(tmp_path, "fox")
    run.last_checkpoint.parent.mkdir(parents=True)
    run.resolved.write_text("{}")
    key = settings_key({})

    def state(images: int, waited: int, budget: int = 100) -> str:
        callbacks = {"EarlyStopping": {"wait_count": waited, "patience": 3}, "SampleSheet": {}}
        content = {"state_dict": {"images_seen": torch.tensor(images)}, "global_step": 1, "callbacks": callbacks}
        torch.save(content, run.last_checkpoint)
        return Job(run, [], key, budget).state()[0]

    assert state(99, 2) == "interrupted"
    assert state(100, 0) == "finished"
    assert state(40, 3) == "finished"


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (48, 48), (41, 64)])
def test_points_follow_the_central_square(shape):
    """A bright pixel block is found where the mapping says, after the image itself was cut and resized."""
    image = np.zeros((*shape, 3), np.uint8)
    x, y = shape[1] // 2 + 6, shape[0] // 2 - 5
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    small = center_square(image, 16)[..., 0].astype(float)
    columns, rows = np.meshgrid(np.arange(16), np.arange(16))
    seen = np.array([(small * columns).sum(), (small * rows).sum()]) / small.sum()
    points = np.array([[x, y]], np.float32)
    square = _species_transfers.central(image)
    found = square.to_crop(points, 16)
    np.testing.assert_allclose(found[0], seen, atol=0.08)
    matrix = square.matrix(16)
    np.testing.assert_allclose(found @ matrix[:, :2].T + matrix[:, 2], points, atol=1e-4)


class Colors(EmbedderModule):
    """An "embedding" that is the colours themselves."""

    size = 16

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(images, dim=1)


def test_points_go_where_the_embedding_is_alike_in_pixels_of_the_photo(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    face = FaceItem(image=image, points=np.array([[3, 4], [10, 2]], np.float32), visible=np.ones(2, bool), name="a")
    wide = np.pad(image[:, ::-1], ((0, 0), (5, 5), (0, 0)))  # mirrored, in the middle of a wider photo
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(wide).save(tmp_path / "b.png")
    options = argparse.Namespace(name="x", out=tmp_path / "out")
    report = FolderReport(tmp_path, 16, 2)
    _species_transfers.draw_photos(options, Colors(), report, (face, ["left", "right"]))
    found = {
        (Path(row["photo"]).name, row["landmark"]): (float(row["x"]), float(row["y"]))
        for row in rows_of(tmp_path / "out/transfers.csv")
    }
    assert found == {
        ("a.png", "left"): (3, 4),
        ("a.png", "right"): (10, 2),
        ("b.png", "left"): (17, 4),
        ("b.png", "right"): (10, 2),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no points"),
        ("x,y\n", "holds no points"),
        ("a,b,1,2\n", "row 1 is 'a,b,1,2', expected x,y or name,x,y"),
        ("1,2\nnose,3\n", "row 2 is 'nose,3', expected x,y or name,x,y"),
        ("1,nan\n2,3\n", None),
    ],
)
def test_a_file_of_points_is_read_or_refused_by_row(tmp_path, text, says):
    path = tmp_path / "points.csv"
    path.write_text(text)
    if says is None:
        assert _species_transfers.read_points(path)[0] == ["point 1"]  # the first row was taken for a heading
        return
    with pytest.raises(DataError, match=says):
        _species_transfers.read_points(path)


def test_drawn_photos_are_spread_over_the_sound_ones(photos):
    report = FolderReport(
        photos, 32, 14, blank=[photos / "blank.png"], duplicates=[[photos / "03.png", photos / "copy.png"]]
    )
    assert [path.name for path in _species_transfers.usable_photos(report, 3)] == ["00.png", "06.png", "11.png"]
    assert len(_species_transfers.usable_photos(report, 99)) == 12


def test_a_sheet_without_truth_shows_none():
    image, points = np.full((32, 32, 3), 90, np.uint8), np.full((2, 2), 9, np.float32)
    nothing = np.full_like(points, np.nan)
    example = TransferExample(image, image, points, nothing, points, np.ones(2, bool), np.nan, "fox")
    figure = transfer_sheet([example], ["a", "b"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "transferred"]
    assert not [axes.get_title(loc="right") for axes in figure.axes if axes.get_title(loc="right")]


def test_the_options_say_what_belongs_together(capsys):
    for words in ([], ["--folder", "a", "--world", "fox"], ["--folder", "a", "--human", "face.png"]):
        with pytest.raises(SystemExit):
            new_species.parse(words)
    assert (new_species.parse(["--folder", "a"]).name, new_species.parse(["--world", "fox"]).name) == ("new", "fox")


# Configurations and the tutorial


def test_the_pair_configuration_is_that_of_human_and_dog_but_for_its_domain():
    new, dog = (resolved_settings(["fit", "--config", f"world/human_{name}"]) for name in ("new", "dog"))
    assert new["model"]["init_args"]["generators"] == new["data"]["init_args"]["generators"]
    new.pop("config", dog.pop("config", None))
    assert new["model"]["init_args"]["generators"] == {"human": "world/human", "new": "runs/new"}
    for part, key in (("model", "domains"), ("model", "generators"), ("data", "generators")):
        arguments = new[part]["init_args"][key]
        arguments["dog"] = arguments.pop("new") if key == "domains" else (arguments.pop("new"), "world/dog")[1]
    assert new == dog


def test_the_small_generator_has_the_architecture_of_the_shipped_ones():
    small, human = (load_config(f"stylegan2/{name}") for name in ("small", "world_human"))
    for key in ("channels", "z_dim", "w_dim", "mapping_layers", "stem", "noise"):
        assert small["model"]["init_args"][key] == human["model"]["init_args"][key]
    assert find_weights(small["model"]["init_args"]["init_from"]).is_file()


SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.S)).splitlines()
COMMANDS = [shlex.split(line, comments=True) for line in SHELL if line.strip()]


@pytest.mark.parametrize(
    "words",
    [words for words in COMMANDS if words[:2] == ["dife", "fit"]],
    ids=lambda words: words[words.index("--run") + 1],
)
def test_shown_trainings_are_understood(words):
    if "last" in words:  # needs a run to go on with
        return
    settings = resolved_settings(words[1:])
    assert settings["model"]["class_path"].endswith(("StyleGAN2", "DIFE"))


def test_other_shown_commands_and_names_exist():
    assert {tuple(words[:2]) for words in COMMANDS} == {("dife", "fit"), ("dife", "doctor"), ("python", "-m")}
    for words in COMMANDS:
        if words[0] == "python":
            assert words[2] == "experiments.build.new_species"
            assert isinstance(new_species.parse(words[3:]), argparse.Namespace)
    names = set(re.findall(r"`((?:stylegan2|world|trainer)/\w+)`", TEXT)) - {
        f"world/{s}" for s in ("dog", "cat", "human")
    }
    assert names <= set(list_configs())
    options = set(re.findall(r"`(--[a-z-]+)[ `]", TEXT))
    known = new_species.parse(["--world", "fox"])
    assert {option[2:].replace("-", "_") for option in options} <= {*vars(known)}


def test_another_species_than_the_worlds_is_refused(bench, capsys):
    assert bench.build("--world", "unicorn") == 1
    assert "unicorn" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        new_species.write_renders("unicorn", 2, 32, bench.folder)
