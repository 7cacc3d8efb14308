"""The whole demo with tiny random parts: every file that it promises, from real runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from pathlib import Path

import pytest

from dife_lightning.cli.main import main as dife
from dife_lightning.metrics.predictions import read_predictions
from experiments.common import commands
from experiments.common.claims import ROW_KEYS
from experiments.demo import __main__ as demo
from tests.experiments.tiny_config import write_config

METHODS = ("random", "copy-xy", "mean-shape", "surface-teacher", "dife-warmup", "dife")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("demo")
    calls: list[list[str]] = []
    states: list[dict[str, str]] = []

    def call(words):
        calls.append(list(words))
        states.append(digests(folder / "runs/demo/dife-human_dog-seed0"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The dirpath has changed")  # the control has its own folder
            assert dife(words) == 0
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        patch.setattr(commands, "call", call)
        patch.setattr("experiments.common.measure.processors", lambda: 1)
        code = demo.main(["--fast", "--config", str(write_config(folder))])
        states.append(digests(folder / "runs/demo/dife-human_dog-seed0"))
        first = calls[:]
        again = demo.main(["--fast", "--config", str(write_config(folder))])
    return folder, code or again, (first, calls[len(first) :]), states


def test_the_demo_ends_well_and_writes_its_promised_files(finished):
    folder, code, _, _ = finished
    assert code == 0
    found = {path.name for path in (folder / "results/demo").iterdir()}
    tables = {f"table.{kind}" for kind in ("md", "csv", "tex", "json", "png")}
    assert found >= tables | {"summary.json", "transfers.png", "embeddings.png", "pairs.png", "curves.png"}


def test_the_summary_has_one_row_per_method_pair_protocol_and_framing(finished):
    summary = json.loads((finished[0] / "results/demo/summary.json").read_text())
    found = [(r["method"], r["pair"], r["protocol"], r["framing"]) for r in summary["rows"]]
    wanted = itertools.product(METHODS, ["human+dog"], ["9-point", "3-point"], ["jittered", "plain"])
    assert sorted(found) == sorted(wanted)
    assert all(tuple(r) == ROW_KEYS for r in summary["rows"] + summary["paper_rows"])
    assert all(r["ci95"][0] <= r["pixel_error"] <= r["ci95"][1] for r in summary["rows"])
    assert all(r["points"] <= r["pairs"] * int(r["protocol"][0]) for r in summary["rows"])


def test_the_summary_says_seconds_seed_commit_and_versions(finished):
    summary = json.loads((finished[0] / "results/demo/summary.json").read_text())
    assert {"fit", "control", "test", "pictures", "total"} == set(summary["seconds"])
    assert summary["seed"] == 0
    assert {"commit", "versions"} <= set(summary)
    assert "torch" in summary["versions"]


def test_every_row_can_be_recomputed_from_the_predictions(finished):
    folder = finished[0]
    summary = json.loads((folder / "results/demo/summary.json").read_text())
    for r in summary["rows"]:
        tables = read_predictions(folder / summary["predictions"][r["method"]])
        table = tables[r["pair"], "long", r["framing"], r["protocol"]]
        assert table.pixel_error == pytest.approx(r["pixel_error"], abs=1e-5)
        assert int(table.visible.sum()) == r["points"]


def test_the_control_leaves_the_first_run_as_it_was(finished):
    _, _, (calls, _), states = finished
    assert [words[0] for words in calls] == ["fit", "fit"]
    after = {name: digest for name, digest in states[-1].items() if not name.startswith("tried/")}
    assert after == states[1] != {}


def test_a_second_call_trains_nothing_again(finished):
    assert finished[2][1] == []


def test_the_control_went_on_from_the_warm_up_without_pairs(finished):
    folder = finished[0]
    summary = json.loads((folder / "results/demo/summary.json").read_text())
    stages = summary["stages"]
    assert stages["dife"]["warmup"] == stages["dife-warmup"]["warmup"]
    assert stages["dife-warmup"]["matching"]["steps"] >= 2
    header = (folder / "runs/demo/dife-warmup-human_dog-seed0/metrics.csv").read_text().splitlines()[0]
    assert "pairs/" not in header
    assert "train/m1" not in header
