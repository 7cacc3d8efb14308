"""Figures 3 and 4 from a table's runs: a tiny DIFE that was trained for no step, and what needs no training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.metrics.predictions import read_predictions
from dife_lightning.registry import get_method
from dife_lightning.utils.files import write_json
from experiments.figures import __main__ as figures
from experiments.figures.embeddings import first_faces
from experiments.figures.transfers import reference_of
from tests.tiny import dife_arguments

ROWS = ("random", "copy-xy", "mean-shape", "surface-teacher", "dve", "dife")
KINDS = ("human+dog", "human+cat")


def write_tiny_run(root: Path, name: str, arguments: dict, *, finished: bool = True) -> None:
    """Write a run's folder as a table leaves it, with the best checkpoint of an untrained DIFE."""
    torch.manual_seed(3)
    module = get_method("dife")(**arguments)
    saved = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "method": "dife"}
    (root / name / "checkpoints").mkdir(parents=True)
    torch.save(saved, root / name / "checkpoints/best.ckpt")
    write_json(root / "cells" / f"{name}.json", {"finished": finished, "key": {}})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory):
    """The folder where both figures were drawn: human_dog has a run of dife, both models together have none."""
    folder = tmp_path_factory.mktemp("figures")
    arguments = dife_arguments(folder)
    plan = {
        "columns": {
            "human+dog": {"model": "human_dog", "pairs": ["human+dog"]},
            "human+cat": {"model": "human_cat", "pairs": ["human+cat"]},
            "human+dog+cat": {"model": "human_dog_cat", "pairs": list(KINDS)},
        },
        "rows": {
            "random": {"test": "RandomPoint"},
            "copy-xy": {"test": "CopyXY"},
            "mean-shape": {"test": "MeanShape"},
            "surface-teacher": {"test": "FrozenEmbedder", "arguments": {"embedder": arguments["teacher"]}},
            "dinov2": {"test": "FrozenBackbone", "arguments": {"model": "./absent"}, "optional": True},
            "dve": {"fit": "x"},
            "dife": {"fit": "x"},
        },
        "measure": {"arguments": {"size": 32}},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    for model in ("human_dog", "human_cat"):
        write_tiny_run(folder / "runs", f"dife-{model}-seed0", arguments)
    write_tiny_run(folder / "runs", "dife-human_dog_cat-seed0", arguments, finished=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        patch.setattr("experiments.common.measure.processors", lambda: 1)
        assert run("--out", "out") == 0
        yield folder


def run(*words: str) -> int:
    return figures.main(["--plan", "plan.yaml", "--runs_root", "runs", "--count", "5", "--dpi", "60", *words])


def read(folder: Path, name: str):
    return json.loads((folder / "out" / f"{name}.json").read_text())


def test_pictures_lie_beside_what_they_show(drawn):
    assert {path.name for path in (drawn / "out").iterdir()} == {
        "fig3.png",
        "fig3.json",
        "fig4.png",
        "fig4.json",
        "tests",
    }
    for name in ("fig3", "fig4"):
        with Image.open(drawn / "out" / f"{name}.png") as picture:
            assert np.asarray(picture).std() > 10
        facts = read(drawn, name)
        assert facts["rows"]["dife"] == {"human_dog": "runs/dife-human_dog-seed0"} | (
            {"human_cat": "runs/dife-human_cat-seed0"} if name == "fig3" else {}
        )
        assert {"commit", "versions", "time"} <= set(facts)


def test_every_error_follows_from_the_predictions(drawn):
    facts = read(drawn, "fig3")
    assert facts["protocol"] == "9-point"
    assert [shown["pair"] for shown in facts["pairs"]] == list(KINDS)
    for shown in facts["pairs"]:
        assert set(shown["errors"]) == set(ROWS) - {"random", "dve"}
        for row, errors in shown["errors"].items():
            tables = read_predictions(drawn / f"out/tests/{row}-{shown['pair']}/predictions.csv")
            assert {key[:3] for key in tables} == {(shown["pair"], "paper", "jittered")}
            table = tables[shown["pair"], "paper", "jittered", "9-point"]
            for pair_id, error in zip(shown["pair_ids"], errors, strict=True):
                i = table.pair_ids.index(pair_id)
                assert error == pytest.approx(table.errors[i][table.visible[i]].mean())


def test_the_pairs_are_those_in_the_middle_of_the_order_of_dife(drawn):
    facts = read(drawn, "fig3")
    assert facts["reference"] == "dife"
    for shown in facts["pairs"]:
        tables = read_predictions(drawn / f"out/tests/dife-{shown['pair']}/predictions.csv")
        table = tables[shown["pair"], "paper", "jittered", "9-point"]
        enough = [i for i in range(len(table.pair_ids)) if table.visible[i].sum() >= 4.5]
        order = sorted(enough, key=lambda i: -table.errors[i][table.visible[i]].mean())
        middle = (len(order) - 2) // 2
        assert shown["pair_ids"] == [table.pair_ids[i] for i in order[middle : middle + 2]]


def test_what_is_not_drawn_is_told(drawn, monkeypatch, capsys):
    weights, missing = read(drawn, "fig3")["left_out"]
    assert weights.startswith("dinov2: ")  # a package or a folder that is not there, told before anything is drawn
    assert missing == "dve: no finished run dve-human_dog-seed0, dve-human_cat-seed0 in runs"
    why = read(drawn, "fig4")["left_out"]
    assert [line.partition(":")[0] for line in why] == ["copy-xy", "mean-shape", "dinov2", "dve"]
    assert "without an embedding" in why[0]
    monkeypatch.chdir(drawn)
    monkeypatch.setenv("DIFE_CACHE", str(drawn / "cache"))
    assert run("fig4", "--out", "other", "--rows", "dife,surface-teacher", "--model", "human_dog_cat") == 0
    told = capsys.readouterr().out
    assert "left out of fig4: dife: no finished run dife-human_dog_cat-seed0 in runs" in told
    assert list(json.loads((drawn / "other/fig4.json").read_text())["rows"]) == ["surface-teacher"]


def test_embeddings_are_those_of_the_model_of_most_species_with_a_finished_run(drawn):
    facts = read(drawn, "fig4")
    assert (facts["model"], facts["unseen"]) == ("human_dog", ["cat"])
    assert {name: len(faces) for name, faces in facts["faces"].items()} == {"human": 2, "dog": 2, "cat": 2}


def test_faces_are_the_first_different_ones_of_the_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path))
    data = WorldPairs(pairs=KINDS, lists=["paper"], framings=["plain"], count=4, size=16)
    data.setup("test")
    names, pictures = first_faces(data, each=3)
    first = data.test_sets[0]
    pairs = [first[i].pair_id.split(">") for i in range(4)]
    assert names["human"] == list(dict.fromkeys(source for source, _ in pairs))[:3]
    assert names["dog"] == list(dict.fromkeys(target for _, target in pairs))[:3]
    assert set(names) == {"human", "dog", "cat"}
    np.testing.assert_array_equal(pictures["dog"][0], first[0].target_image)


def test_pairs_are_chosen_by_a_row_that_was_tested_on_all_kinds():
    tables = {"copy-xy": dict.fromkeys(KINDS), "cats": dict.fromkeys(KINDS), "dife": {KINDS[0]: None}}
    assert reference_of(tables, KINDS, "dife") == "cats"
    assert reference_of(tables, KINDS[:1], "dife") == "dife"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig9"], "no figure 'fig9'. Did you mean"),
        (["--benchmark", "mafl"], "benchmarks: mafl_ap10k"),
        (["--rows", "diff"], "no row 'diff' in the table. Did you mean 'dife'"),
        (["--pairs", "human+dgo"], "no kind of pair 'human+dgo' in the table. Did you mean 'human+dog'"),
        (["fig4", "--model", "human_dgo"], "no finished run of"),
        (["--runs_root", "none"], "in none (seed 0): train them with `make reproduce-table1`"),
        (
            ["--runs_root", "none", "--benchmark", "mafl_ap10k"],
            "train them with `make reproduce-table1 BENCHMARK=mafl_ap10k`",
        ),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert figures.main(words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
