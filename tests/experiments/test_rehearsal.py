"""Public weights and data sets, played by small ones in the very layouts, go through every command."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dife_lightning.cli.main import main as dife
from dife_lightning.running.configs import list_configs, load_config
from experiments.checks.rehearsal import BENCHMARKS, rehearse
from experiments.common import commands
from experiments.common.plan import PLANS, read_plan
from tests.tiny import draw_nothing

FACES = 8


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[list[str]]]]:
    """The folder of a rehearsal, and the commands that were run."""
    folder, calls = tmp_path_factory.mktemp("rehearsal"), []

    def call(words):
        calls.append([str(word) for word in words])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small sets and short trainings give advice
            assert dife(words) == 0, words
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        draw_nothing(patch)
        patch.setenv("DIFE_PATHS", "")  # so that it is what it was afterwards
        patch.setattr("experiments.common.measure.processors", lambda: 1)
        patch.setattr(commands, "call", call)
        rehearse(folder / "out", FACES)
        yield folder / "out", calls


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_a_run_records_what_it_was_trained_and_tested_on(rehearsed, benchmark: str) -> None:
    folder, _ = rehearsed
    run = folder / f"runs/human_dog-{benchmark}"
    settings = yaml.safe_load((run / "resolved.yaml").read_text())
    assert settings["model"]["init_args"]["generators"] == {"human": "own/ffhq", "dog": "own/afhq_dog"}
    (metrics,) = (run / "eval").rglob("metrics.json")
    content = json.loads(metrics.read_text())
    human = content["data"]["domains"]["human"]
    assert human["dataset"] == {"mafl_ap10k": "celeba", "wflw_animalweb": "wflw"}[benchmark]
    assert human["faces"]["test"]["faces"] == FACES
    (row,) = content["rows"]
    assert row["protocol"] == {"mafl_ap10k": "3-point", "wflw_animalweb": "9-point"}[benchmark]
    assert 0 < row["pixel_error"] < 99


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_benchmarks_table_has_every_row_and_the_papers_figures(rehearsed, benchmark: str) -> None:
    folder, _ = rehearsed
    table = json.loads((folder / benchmark / "table.json").read_text())
    plan = read_plan(PLANS / f"table1_{benchmark}.yaml")
    assert {row["method"] for row in table["rows"]} == {row.name for row in plan.rows if row.test != "FrozenBackbone"}
    errors = {(row["method"], row["pair"]): row["pixel_error"] for row in table["rows"]}
    assert np.isfinite(list(errors.values())).all()
    # all rows are measured on the same pairs: a point drawn at random is far off, the mean shape is near
    assert errors["mean-shape", "human+dog"] < 12 < errors["random", "human+dog"]
    published = {row["paper"] for row in table["rows"] if row["method"] == "dife" and row["pair"] == "human+dog"}
    assert published == {{"mafl_ap10k": 11.73, "wflw_animalweb": 12.01}[benchmark]}
    assert "the embedded world" not in (folder / benchmark / "table.md").read_text()


def test_the_doctor_was_asked_before_each_fit(rehearsed) -> None:
    _, calls = rehearsed
    verbs = [words[0] for words in calls]
    assert next(verbs[i - 1] for i, verb in enumerate(verbs) if verb == "fit") == "doctor"
    assert verbs.count("doctor") == len(BENCHMARKS)


def test_the_preview_shows_the_faces(rehearsed) -> None:
    folder, _ = rehearsed
    with Image.open(folder / "dogs.png") as picture:
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) > 1000


def test_public_cats_is_tested_on_all_of_table_1(rehearsed) -> None:
    folder, _ = rehearsed
    (metrics,) = (folder / "cats").rglob("metrics.json")
    rows = json.loads(metrics.read_text())["rows"]
    assert [(row["pair"], row["protocol"], row["method"]) for row in rows] == [
        (pair, "3-point", "public-cats") for pair in ("human+dog", "human+cat", "dog+cat", "human+wild")
    ]
    assert all(0 < row["pixel_error"] < 99 for row in rows)


def test_public_cats_is_tested_on_the_faces_of_table_1() -> None:
    cats, table = (load_config(f"paper/{name}") for name in ("cats", "mafl_ap10k"))
    faces, expected = cats["data"], table["data"]["init_args"]["evaluation"]
    assert faces["class_path"] == expected["class_path"]
    assert {key: value for key, value in faces["init_args"].items() if key != "pairs"} == expected["init_args"]


def test_the_papers_settings_are_those_of_its_configurations() -> None:
    names = [name for name in list_configs() if name.startswith("paper/")]
    models = {name: load_config(name) for name in names}
    models = {name: content for name, content in models.items() if content.get("model", {}).get("class_path") == "DIFE"}
    assert sorted(models) == ["paper/dog_cat", "paper/human_cat", "paper/human_dog", "paper/human_dog_cat"]
    for content in models.values():
        model, data = content["model"]["init_args"], content["data"]["init_args"]
        found = [model[f"lambda_{name}"] for name in ("k1", "k2", "m1", "m2")]
        assert found == [0.01, 1.0, 0.01, 0.01]
        assert (data["batch_size"], data["truncation"], model["layer"], model["size"]) == (12, 0.7, 7, 96)
        assert model["optimizer"]["lr"] == 0.001
        assert set(model["domains"]) == set(model["generators"])
        assert not set(data) & {"generators", "layer", "size"}  # the stream takes them from the model
