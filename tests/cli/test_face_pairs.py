"""`dife test` and `dife predict` on photographs, from a configuration file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import lightning  # noqa: F401  (before a test captures the streams that its loggers keep)
import numpy as np
import pytest
import yaml

from dife_lightning.cli.data import split_options
from dife_lightning.cli.main import main
from dife_lightning.data.photos import face_domains
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.data.photos.pair_draws import PAPER_PAIRS, default_count
from dife_lightning.geometry.crops import FACTORS, CropOptions
from tests.datasets.layouts import draw_face, write_animalweb
from tests.fake_faces import make_faces
from tests.tiny import dife_arguments

DOMAINS = {
    "human": {"dataset": "celeba", "root": "data/celeba", "options": {"split": "test"}},
    "dog": {"dataset": "ap10k", "root": "data", "crop": {"rule": "box", "factor": 1.5, "padding": "reflect"}},
}
#: Scores without pictures, which take longer to draw than so few pairs to score.
SCORES = {"class_path": "KeypointTransfer", "init_args": {"pictures": 0, "val_pictures": 0}}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    faces = {
        "celeba": make_faces(tmp_path, 9, name="celeba", scheme="mafl-5"),
        "ap10k": make_faces(tmp_path, 8, name="ap10k", scheme="ap10k-17", seed=1),
    }

    def load(name, root=None, **options):
        assert (name, root, options) in [(d["dataset"], d["root"], d.get("options", {})) for d in DOMAINS.values()]
        return faces[name]

    monkeypatch.setattr(face_domains, "load_dataset", load)

    def run(pictures=0, **changes):
        scores = {"class_path": "KeypointTransfer", "init_args": {"pictures": pictures, "val_pictures": 0}}
        arguments = {"domains": DOMAINS, "pairs": ["human+dog"], "count": 4, "val_count": 2, "size": 48, **changes}
        content = {
            "model": {"class_path": "CopyXY"},
            "data": {"class_path": "FacePairs", "init_args": arguments},
            "trainer": {"accelerator": "cpu", "callbacks": [scores], "logger": False},
        }
        (tmp_path / "faces.yaml").write_text(yaml.safe_dump(content))
        return tmp_path

    return run


def test_a_test_records_crops_eyes_lists_and_counts(write, capsys):
    folder = write(eye_order="stored", pictures=2)
    assert main(["test", "--config", "faces.yaml", "--out", "out"]) == 0
    assert len(list((folder / "out" / "pictures").iterdir())) == 1
    result = json.loads((folder / "out" / "metrics.json").read_text())
    (row,) = result["rows"]
    assert (row["pair"], row["protocol"], row["framing"], row["pairs"]) == ("human+dog", "3-point", "plain", 4)
    assert row["list_hash"] == result["lists"]["test"]["human+dog/test"]
    assert set(result["lists"]["val"]) == {"human+dog/val"}
    assert result["switches"]["eye_order"] == "stored"
    assert result["switches"]["schemes"] == ["ap10k-17", "mafl-5"]
    dog = result["data"]["domains"]["dog"]
    assert (dog["dataset"], dog["crop"]["rule"], dog["crop"]["factor"], dog["crop"]["padding"]) == (
        "ap10k",
        "box",
        1.5,
        "reflect",
    )
    assert dog["faces"]["test"]["faces"] == 8
    assert result["data"]["domains"]["human"]["crop"]["factor"] == 2.8
    assert "human+dog, test list: 4 pairs (the paper has 100)" in capsys.readouterr().err
    stored = json.loads((folder / "out" / "lists" / "test_human+dog.json").read_text())
    with open(folder / "out" / "predictions.csv", newline="") as file:
        tested = {line["pair_id"] for line in csv.DictReader(file)}
    assert {">".join(names) for names in stored["pairs"]} == tested


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Sixteen faces of which one has no picture, and a configuration that pairs them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    write_animalweb(tmp_path / "data", [draw_face("animalweb-9", seed) for seed in range(16)])
    (tmp_path / "data/koala_3.jpg").unlink()
    domain = {"dataset": "animalweb", "root": "data"}
    arguments = {"domains": {"human": domain, "dog": domain}, "pairs": ["human+dog"], "protocol": "9-point"}
    content = {
        "model": {"class_path": "CopyXY"},
        "data": {"class_path": "FacePairs", "init_args": {**arguments, "count": 3, "val_count": 2, "size": 32}},
        "trainer": {"accelerator": "cpu", "callbacks": [SCORES], "logger": False},
    }
    (tmp_path / "faces.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
@pytest.mark.parametrize("flag", ["--skip-broken", "--skip_broken", "--data.init_args.skip_broken=true"])
def test_every_verb_goes_on_without_what_is_broken_if_it_is_told_to(broken, capsys, verb, flag):
    assert main([verb, "--config", "faces.yaml", "--out", "out"]) == 1
    assert "no picture data/koala_3.jpg; expected it there. Fix it, or skip such" in capsys.readouterr().err
    with pytest.warns(UserWarning, match=r"animalweb: 1 face skipped, the first: .*koala_3\.pts") as caught:
        assert main([verb, "--config", "faces.yaml", "--out", "out", flag]) == 0
    assert len([one for one in caught if "face skipped" in str(one.message)]) == 2  # one of each reader
    if verb == "test":
        found = json.loads((broken / "out/metrics.json").read_text())["data"]["domains"]["dog"]["faces"]["test"]
        assert (found["faces"], found["reader"]["left_out"]) == (15, 1)
        assert found["reader"]["first_left_out"] == ["data/koala_3.pts: no picture data/koala_3.jpg; expected it there"]


def test_the_switch_reaches_the_evaluation_of_a_training_and_is_recorded_with_it(broken):
    dife = dife_arguments(broken)
    evaluation = yaml.safe_load((broken / "faces.yaml").read_text())["data"]
    stream = {"generators": dife["generators"], "layer": 3, "size": 32, "batch_size": 4, "evaluation": evaluation}
    settings = {
        "model": {"class_path": "DIFE", "init_args": dife},
        "data": {"class_path": "StyleGAN2Stream", "init_args": stream},
        "trainer": {"accelerator": "cpu", "callbacks": [SCORES], "max_steps": 1},
    }
    (broken / "fit.yaml").write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", "fit.yaml", "--run", "a"]) == 1
    with pytest.warns(UserWarning, match="1 face skipped"):
        assert main(["fit", "--config", "fit.yaml", "--run", "b", "--skip-broken"]) == 0
    recorded = yaml.safe_load((broken / "runs/b/resolved.yaml").read_text())["data"]["init_args"]
    assert recorded["evaluation"]["init_args"]["skip_broken"] is True
    assert "skip_broken" not in recorded


def test_the_switch_is_refused_where_nothing_is_read(broken, capsys):
    settings = yaml.safe_load((broken / "faces.yaml").read_text())
    settings["data"] = {"class_path": "WorldPairs"}
    (broken / "world.yaml").write_text(yaml.safe_dump(settings))
    assert main(["test", "--config", "world.yaml", "--out", "out", "--skip-broken"]) == 2
    assert "--skip-broken works only with data that are read from files, not with WorldPairs" in capsys.readouterr().err


def test_the_stored_list_repeats_the_test(write):
    folder = write()
    errors = []
    for out, lists in (("a", None), ("b", {"human+dog": "a/lists/test_human+dog.json"})):
        write(test_lists=lists, seed=0 if lists is None else 5)
        assert main(["test", "--config", "faces.yaml", "--out", out]) == 0
        errors.append(json.loads((folder / out / "metrics.json").read_text())["rows"][0])
    assert errors[0]["pixel_error"] == errors[1]["pixel_error"]
    assert errors[0]["list_hash"] == errors[1]["list_hash"]
    assert [row["list"] for row in errors] == ["test", "given"]


def test_swapped_eyes_cost_what_the_distance_of_the_eyes_says(write):
    """CopyXY keeps the source's places: in stored order the animal's eyes stand on the wrong sides."""
    folder, errors = write(), {}
    for order in ("viewer", "stored"):
        write(eye_order=order)
        assert main(["test", "--config", "faces.yaml", "--out", order]) == 0
        with open(folder / order / "predictions.csv", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["landmark"] != "nose"]
        errors[order] = np.mean([float(row["error"]) for row in rows])
    assert errors["stored"] > errors["viewer"] + 15


def test_predict_writes_the_three_points(write):
    folder = write()
    assert main(["predict", "--config", "faces.yaml", "--out", "out"]) == 0
    document = json.loads((folder / "out" / "keypoints.json").read_text())
    assert document["categories"][0]["keypoints"] == ["left_eye", "right_eye", "nose"]
    assert len(document["annotations"]) == 4


def test_a_method_is_trained_with_photographs_for_validation_and_tested_on_others(write):
    folder = write(size=32)
    faces = yaml.safe_load((folder / "faces.yaml").read_text())
    dife = dife_arguments(folder)
    stream = {"generators": dife["generators"], "layer": 3, "size": 32, "batch_size": 4, "evaluation": faces["data"]}
    steps = {"max_steps": 2, "max_epochs": -1, "val_check_interval": 2, "check_val_every_n_epoch": None}
    settings = {
        "model": {"class_path": "DIFE", "init_args": dife},
        "data": {"class_path": "StyleGAN2Stream", "init_args": stream},
        "trainer": {**faces["trainer"], **steps, "log_every_n_steps": 1, "num_sanity_val_steps": 0, "logger": True},
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", "fit.yaml", "--run", "a"]) == 0
    with open(folder / "runs" / "a" / "metrics.csv", newline="") as file:
        logged = [row["val/human+dog/plain/3-point/pixel_error"] for row in csv.DictReader(file)]
    assert any(logged)
    assert (folder / "runs" / "a" / "checkpoints" / "best.ckpt").exists()
    assert main(["test", "--ckpt_path", "runs/a"]) == 0
    result = json.loads((folder / "runs" / "a" / "eval" / "test" / "metrics.json").read_text())
    assert result["data"]["kind"] == "FacePairs"
    assert (folder / "runs" / "a" / "eval" / "test" / "lists" / "test_human+dog.json").exists()
    (folder / "only.yaml").write_text(yaml.safe_dump({"data": faces["data"]}))
    configs = ["--config", "runs/a/resolved.yaml", "--config", "only.yaml", "--trainer.precision", "auto"]
    assert main(["test", "--ckpt_path", "runs/a", *configs, "--out", "again"]) == 0
    again = json.loads((folder / "again" / "metrics.json").read_text())
    assert again["rows"] == result["rows"]


def test_the_documented_configuration_is_understood():
    text = (Path(__file__).parents[2] / "docs" / "photographs.md").read_text(encoding="utf-8")
    settings = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    data = FacePairs(**settings["data"]["init_args"])
    assert [data.faces.crop(name).rule for name in ("human", "dog")] == ["celeba", "landmarks"]
    for number in (*FACTORS.values(), *(default_count(pair) for pair in PAPER_PAIRS)):
        assert number == FACTORS["all"] or f" {number}" in text
    for line in text.splitlines():
        if line.startswith("dife data preview "):
            own, options = split_options(line.split()[5:])
            CropOptions(**{key: own[key] for key in own if key == "rule"})
            assert set(options) <= {"split", "species", "file"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": ["human+cat"]}, "unknown domain 'cat'"),
        ({"crop": {"rule": "celeba"}}, "not an aligned CelebA picture of 178 x 218 px"),
        ({"crop": {"factor": -1}}, "crop.factor is -1.0; expected above 0"),
        ({"protocol": "9-point"}, "has no 9-point map"),
        ({"test_lists": {"human+dog": "nowhere.json"}}, "no pair list nowhere.json"),
    ],
)
def test_mistakes_become_one_line(write, capsys, changes, words):
    write(**changes)
    assert main(["test", "--config", "faces.yaml", "--out", "out"]) in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    assert words in said[-1]
