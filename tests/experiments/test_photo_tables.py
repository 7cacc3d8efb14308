"""The tables on photographs, rehearsed on a small folder of the documented layout with trainings of two steps."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from dife_lightning.cli.main import main as dife
from experiments.common import commands
from experiments.common.plan import PLANS, plan_content, read_plan
from experiments.tables import __main__ as tables
from tests.photo_folder import FARM, SPECIES, write_paths, write_photos
from tests.tiny import draw_nothing, without_imagenet, write_generator, write_landmarks, write_teacher

STEPS = {"trainer.max_steps": 2, "trainer.val_check_interval": 1, "trainer.enable_progress_bar": False,
         "trainer.precision": "32-true", "data.init_args.batch_size": 6,
         "data.init_args.evaluation.init_args.val_count": 2}  # fmt: skip
DIFE = {
    "model.init_args.warmup_steps": 1,
    "model.init_args.distillation.statistics_samples": 8,
    "model.init_args.exploration.steps": 1,
    "model.init_args.pairs": {"refresh_every": 2, "per_refresh": 2, "first": 2, "bank_size": 4, "batch_size": 4},
    "model.init_args.encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 1, "groups": 4},
}
#: Rows whose weights are not there: packages of ImageNet networks are no part of the tests.
BACKBONES = {
    f"{name}{end}" for name in ("mobilenet-v2", "efficientnet-lite0", "dife-pretrained") for end in ("", "-window")
}
FIVE = ["left_eye", "right_eye", "nose", "left_ear", "right_ear"]
#: Of table 1, with two models: human_dog and human_dog_cat.
COLUMNS = ("human+dog", "human+dog+cat", "human+farm")


def shortened(name: str) -> str:
    """Write the plan of a table with trainings of two steps; returns the file."""
    plan = plan_content(PLANS / f"{name}.yaml")
    for row, entry in plan["rows"].items():
        if "fit" in entry:
            entry["set"] = {
                **entry.get("set", {}),
                **STEPS,
                **({} if row in ("dve", "cats", "dife-pretrained") else DIFE),
            }
        if entry.get("test") == "FrozenBackbone":
            entry["arguments"] = {"model": "no/network"}
        if entry.get("test") == "GeneratorFeatures":
            entry["arguments"] = {**entry["arguments"], "steps": 1}
        if "first" in entry:
            entry["first"] = 2
    Path(f"{name}.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return f"{name}.yaml"


def build(number: int, *words: str) -> dict:
    name = f"table{number}_photos"
    given = ["--plan", shortened(name), "--benchmark", "photos", "--count", "4", "--record", "records"]
    assert tables.main([f"table{number}", *given, *words]) == 0
    return json.loads(Path(f"results/{name}/table.json").read_text())


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, dict]]:
    """The tables 1 and 2, of the columns of two models."""
    folder = tmp_path_factory.mktemp("photos")

    def call(words):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short trainings give advice
            assert dife(words) == 0, words
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        draw_nothing(patch)
        patch.setattr("experiments.common.measure.processors", lambda: 1)
        patch.setattr(commands, "call", call)
        without_imagenet(patch, folder)
        write_photos(folder, patch, SPECIES, FARM)
        write_teacher(folder / "free.safetensors", dim=16)
        write_generator(folder / "apart.safetensors", 9, channels=(8, 8, 8, 64, 8))
        write_landmarks(folder / "landmarks.ckpt", FIVE, left="subject")
        entries = yaml.safe_load((folder / "paths.yaml").read_text())
        entries |= {"photo-teacher-free": "free.safetensors", "photo-dog-apart": "apart.safetensors"}
        write_paths(folder, entries | dict.fromkeys(("photo-landmarks", "photo-meta-cskt"), "landmarks.ckpt"))
        yield {1: build(1, "--columns", ",".join(COLUMNS)), 2: build(2, "--columns", "dog+cat (joint)")}


def test_every_row_is_in_table_1_with_its_read_out_and_scores(rehearsed) -> None:
    table, plan = rehearsed[1], read_plan(PLANS / "table1_photos.yaml").only(COLUMNS, None)
    assert set(table["left_out"]) == BACKBONES
    assert "imagenet/mobilenet_v2 is not installed" in table["left_out"]["dife-pretrained"]
    found = {(row["method"], row["pair"]) for row in table["rows"]}
    wanted = {(row.name, column.name) for row in plan.rows for column in plan.columns if row.in_column(column.name)}
    assert found == {(name, column) for name, column in wanted if name not in BACKBONES}
    for row in table["rows"]:
        assert np.isfinite(row["pixel_error"])
        assert row["scores"].keys() == {"pck_face_05", "pck_face_10", "swap_rate"}
        assert row.get("read_out") == plan.row(row["method"]).read_out
        assert (
            row["pairs"] == {"human+dog+cat": 12, "human+farm": 12}.get(row["pair"], 4) or "generator" in row["method"]
        )


def test_scores_and_errors_are_those_of_the_tests(rehearsed) -> None:
    by_run = {}
    for row in rehearsed[1]["rows"]:
        if row["pair"] == "human+dog" and len(row["run"]) == 1:
            by_run[row["method"], row["framing"]] = row
    assert len(by_run) > 20
    for (method, framing), row in by_run.items():
        tested = json.loads((Path(row["run"][0]) / "metrics.json").read_text())["rows"]
        (one,) = (r for r in tested if (r["pair"], r["list"], r["framing"]) == ("human+dog", "long", framing))
        assert row["pixel_error"] == pytest.approx(one["pixel_error"], abs=1e-4), method
        assert row["scores"] == pytest.approx({name: one[name] for name in row["scores"]}), method


def test_another_read_out_is_a_test_of_the_same_checkpoint(rehearsed) -> None:
    runs = {row["method"]: row["run"][0] for row in rehearsed[1]["rows"] if row["pair"] == "human+dog"}
    keys = {name: json.loads((Path(runs[name]) / "cell.json").read_text())["key"] for name in ("dife", "dife-window")}
    assert keys["dife"]["checkpoint"] == keys["dife-window"]["checkpoint"]
    assert keys["dife-window"]["window"] == 0.25
    switches = json.loads((Path(runs["dife-window"]) / "metrics.json").read_text())["switches"]
    assert switches["window"] == 0.25


def test_the_table_says_read_outs_and_what_intervals_are_over(rehearsed) -> None:
    text = Path("results/table1_photos/table.md").read_text()
    assert "| method | read-out | supervision | human+dog | human+dog+cat | human+farm |" in text
    assert "persons and photos" in text
    assert "embedded world" not in text


def test_table_2_has_five_points_of_the_runs_of_table_1(rehearsed) -> None:
    rows = [row for row in rehearsed[2]["rows"] if row["method"] == "dife"]
    assert {row["pair"] for row in rows} == {"dog+cat (joint)"}
    assert max(row["points"] for row in rows) <= 5 * 4
    assert min(row["points"] for row in rows) > 3 * 4
    assert all("ears" in row["run"][0] for row in rows)
    names = {path.name for path in Path("records/runs").iterdir()}
    assert {
        "dife-human_dog_cat-seed0.json",
        "dife-human_dog_cat-seed0-ears.json",
        "dife-window-human_dog_cat-seed0-ears.json",
    } <= names


def test_the_records_replace_trainings_and_tests(rehearsed) -> None:
    Path("runs/photos").rename("runs/away")
    try:
        words = [
            "--plan",
            "table1_photos.yaml",
            "--benchmark",
            "photos",
            "--count",
            "4",
            "--records",
            "records",
            "--columns",
            ",".join(COLUMNS),
        ]
        assert tables.main(["table1", *words, "--no_training", "--out", "results/again"]) == 0
        assert not Path("runs/photos").exists()
    finally:
        Path("runs/away").rename("runs/photos")
    found = json.loads(Path("results/again/table.json").read_text())["rows"]
    for row, same in zip(rehearsed[1]["rows"], found, strict=True):
        assert row["method"] == same["method"]
        assert row["scores"] == pytest.approx(same["scores"])
        assert row["pixel_error"] == pytest.approx(same["pixel_error"], abs=0.05)  # records are rounded


@pytest.mark.parametrize("number", [3, 4])
def test_the_rows_of_tables_3_and_4_have_settings_of_their_own(number: int) -> None:
    plan = read_plan(PLANS / f"table{number}_photos.yaml")
    assert {"photos", "photo-dog-apart"} <= set(plan.files)
    assert plan.measure.scores == ["pck_face_05", "pck_face_10", "swap_rate"]
    world = read_plan(PLANS / f"table{number}.yaml")
    for row in world.rows:
        ours = plan.row(row.name)
        wanted = {key: value for key, value in row.set.items() if not key.startswith("data.")}
        assert (ours.set, ours.control, ours.start, ours.steps) == (wanted, row.control, row.start, row.steps)
