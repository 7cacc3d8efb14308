"""The table with tiny random parts: what it writes, what it keeps, what it makes again."""

from __future__ import annotations

import csv
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from dife_lightning.cli.main import main as dife
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import ConfigError
from dife_lightning.metrics.predictions import PredictionTable, read_predictions
from experiments import runs, table1
from experiments.cells import Cell, changes, training_key
from experiments.plan import Column, read_plan
from experiments.table_rows import mean_table, pooled
from tests.experiments.tiny_config import write_config

COLUMNS, ROWS = ("human+dog", "both"), ("copy-xy", "surface-teacher", "dife-warmup", "dife")
KEYS = {"method", "pair", "protocol", "framing", "pixel_error", "ci95", "pairs", "points"}


class Bench:
    """A folder with a plan, and a count of the commands that the table runs."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls = folder, []
        self.config = write_config(folder)
        teacher = yaml.safe_load(self.config.read_text())["model"]["init_args"]["teacher"]
        plan = {
            "columns": {
                "human+dog": {"model": "tiny", "pairs": ["human+dog"]},
                "both": {"model": "tiny", "pairs": ["human+dog", "human+wild"]},
            },
            "rows": {
                "copy-xy": {"test": "CopyXY"},
                "surface-teacher": {"test": "FrozenEmbedder", "arguments": {"embedder": teacher}},
                "dife-warmup": {"control": "dife"},
                "dife": {"fit": str(folder / "{model}.yaml")},
            },
            "paper": {"dife": {"9-point": {"human+dog": 12.01}}},
            "measure": {"arguments": {"size": 32}},
        }
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
        patch.setattr(runs, "call", self.call)

    def call(self, words, *, show=True):
        self.calls.append(list(words))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The dirpath has changed")  # the control has its own folder
            assert dife(words) == 0
        return 1.0

    def build(self, *words: str) -> int:
        self.calls.clear()
        return table1.main(["--plan", "plan.yaml", "--count", "4", *words])

    def table(self) -> dict:
        return json.loads((self.folder / "results/table1/table.json").read_text())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        patch.setattr("experiments.measure.processors", lambda: 1)
        found = Bench(folder, patch)
        assert found.build("--seeds", "2", "--record", "records") == 0
        found.first = [words[:] for words in found.calls]
        yield found


def test_each_training_runs_once_per_model_and_seed(bench):
    assert [words[0] for words in bench.first] == ["fit"] * 4
    assert sum("--ckpt_path" in words for words in bench.first) == 2  # the controls


def test_there_is_one_row_per_method_column_protocol_and_framing(bench):
    table = bench.table()
    wanted = sorted(itertools.product(ROWS, COLUMNS, ["9-point", "3-point"], ["jittered", "plain"]))
    for rows in (table["rows"], table["paper_rows"]):
        assert sorted((r["method"], r["pair"], r["protocol"], r["framing"]) for r in rows) == wanted
        assert all(set(r) == KEYS | {"seeds", "spread", "paper", "run"} for r in rows)


def test_every_number_follows_from_the_predictions(bench):
    for row in bench.table()["rows"]:
        kinds = ["human+dog"] if row["pair"] == "human+dog" else ["human+dog", "human+wild"]
        means = []
        for folder in row["run"]:
            tables = read_predictions(bench.folder / folder / "predictions.csv")
            parts = [tables[kind, "long", row["framing"], row["protocol"]] for kind in kinds]
            errors = np.concatenate([part.errors[part.visible] for part in parts])
            assert len(errors) == row["points"]
            means.append(errors.mean())
        assert row["pixel_error"] == pytest.approx(np.mean(means), abs=1e-6)
        if row["method"] in ("dife", "dife-warmup"):
            assert row["seeds"] == [0, 1]
            assert row["spread"] == pytest.approx(np.std(means, ddof=1), abs=1e-6)
        else:
            assert (row["seeds"], row["spread"]) == ([0], None)


def test_the_papers_figure_stands_beside_its_own_protocol_only(bench):
    found = {(r["method"], r["pair"], r["protocol"]): r["paper"] for r in bench.table()["rows"]}
    assert found.pop(("dife", "human+dog", "9-point")) == 12.01
    assert set(found.values()) == {None}


def test_a_comparison_is_given_for_all_seeds_and_for_each(bench):
    (entry,) = (e for e in bench.table()["comparisons"] if e["pair"] == "human+dog" and e["better"] == "dife")
    assert entry["worse"] == "dife-warmup"
    assert set(entry["by_seed"]) == {"0", "1"}
    each = [one["difference"] for one in entry["by_seed"].values()]
    assert entry["difference"] == pytest.approx(np.mean(each), abs=1e-6)


def test_all_forms_of_the_table_are_written(bench):
    folder = bench.folder / "results/table1"
    assert {path.name for path in folder.iterdir()} == {"table.json", "table.md", "table.csv", "table.png"}
    text = (folder / "table.md").read_text()
    assert "*12.01*" in text
    assert text.count("| surface-teacher |") == 8
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(bench.table()["rows"])
    assert {row["list"] for row in rows} == {"long", "paper"}


def test_records_link_each_row_to_its_run(bench):
    records = json.loads((bench.folder / "records/table1.json").read_text())
    each: dict[str, list[float]] = {}
    for row in records["rows"]:
        for place in row["run"]:
            run = json.loads((bench.folder / "records" / place).read_text())
            assert run["test"]["rows"]
            if (row["pair"], row["protocol"], row["framing"]) == ("human+dog", "9-point", "jittered"):
                errors = run["errors"]["human+dog"]
                sums, points = (np.array(errors[key].split(), dtype=float) for key in ("sums", "points"))
                each.setdefault(row["method"], []).append(sums.sum() / points.sum())
            assert ("training" in run) == (row["method"] in ("dife", "dife-warmup"))
        if (row["pair"], row["protocol"], row["framing"]) == ("human+dog", "9-point", "jittered"):
            assert np.mean(each[row["method"]]) == pytest.approx(row["pixel_error"], abs=0.01)


def test_what_is_finished_is_kept(bench):
    before = bench.table()
    assert bench.build("--seeds", "2") == 0
    assert bench.calls == []
    after = bench.table()
    assert after["rows"] == before["rows"]


def test_seeds_of_earlier_calls_still_count(bench):
    assert bench.build("--seeds", "1") == 0
    assert bench.calls == []
    assert next(r for r in bench.table()["rows"] if r["method"] == "dife")["seeds"] == [0, 1]


def test_an_interrupted_training_goes_on(bench):
    record = bench.folder / "runs/table1/cells/dife-tiny-seed1.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"finished": False}))
    assert bench.build("--seeds", "2") == 0
    assert bench.calls[0][-2:] == ["--ckpt_path", "last"]
    assert len(bench.calls) == 1
    assert json.loads(record.read_text()) == content


def test_another_setting_or_version_of_the_method_makes_its_cells_again(bench, monkeypatch, capsys):
    text = bench.config.read_text()
    try:
        bench.config.write_text(text.replace("lambda_k1: 1.0", "lambda_k1: 0.9"))
        assert bench.build() == 0
        assert [words[0] for words in bench.calls] == ["fit", "fit"]
        assert "changed (settings.model.init_args.lambda_k1)" in capsys.readouterr().out
        assert next(r for r in bench.table()["rows"] if r["method"] == "dife")["seeds"] == [0]
    finally:
        bench.config.write_text(text)
    monkeypatch.setattr("dife_lightning.methods.dife.DIFE.version", 99)
    assert bench.build() == 0
    assert [words[0] for words in bench.calls] == ["fit", "fit"]


def test_a_name_that_is_not_in_the_plan_is_refused_in_one_line(bench, capsys):
    assert bench.build("--columns", "human+cow") == 1
    assert capsys.readouterr().err.startswith("error: no column 'human+cow' in the table.")


@pytest.mark.parametrize("entry", [{}, {"test": "CopyXY", "fit": "world/{model}"}, {"control": "nobody"}])
def test_a_row_says_exactly_one_thing(tmp_path, entry):
    plan = {"columns": {"a": {"model": "m", "pairs": ["human+dog"]}}, "rows": {"x": entry}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(ConfigError, match="row 'x'"):
        read_plan(tmp_path / "plan.yaml")


def test_the_shipped_plan_has_the_papers_columns():
    plan = read_plan(table1.PLAN)
    assert [c.name for c in plan.columns] == ["human+dog", "human+cat", "dog+cat", "human+dog+cat", "human+wild"]
    assert plan.models()["human_cat"] == ["human+cat", "human+wild"]
    assert plan.only(None, ["dife-warmup"]).rows[-1].name == "dife"  # a control needs the run that it starts from


def test_changes_name_what_differs():
    assert changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0}) == ["a.c", "d"]


def test_a_cell_is_finished_only_for_its_own_key(tmp_path):
    cell = Cell(tmp_path / "cell.json", {"a": 1})
    assert cell.state() == ("new", "")
    cell.write(finished=False)
    assert cell.state() == ("interrupted", "")
    cell.write(finished=True)
    assert cell.state() == ("finished", "")
    assert Cell(cell.path, {"a": 2}).state() == ("changed", "a")


def test_an_option_left_at_its_default_is_no_part_of_a_key():
    settings = resolved_settings(["fit", "--config", "world/human_dog"])
    model = training_key(settings, {})["settings"]["model"]["init_args"]
    assert model["exploration"] == {
        "steps": 40,
        "deform": 0.2,
        "deform_grid": 5,
    }  # the rest is as ExplorationOptions has it
    assert "pair_augment" not in model
    settings["model"]["init_args"]["exploration"]["deform"] = 0.1
    changed = training_key(settings, {})
    assert changes(training_key(resolved_settings(["fit", "--config", "world/human_dog"]), {}), changed) == [
        "settings.model.init_args.exploration.deform"
    ]


def table_of(*errors: float) -> PredictionTable:
    values = np.array([errors], dtype=float)
    return PredictionTable(("p",), tuple("abc"[: len(errors)]), values, np.ones_like(values, dtype=bool))


def test_seeds_are_averaged_point_by_point_and_kinds_of_pairs_pooled():
    assert mean_table([table_of(1, 3), table_of(3, 5)]).errors.tolist() == [[2, 4]]
    tables = {(pair, "long", "plain", "9-point"): table_of(i, i) for i, pair in enumerate(("x", "y"))}
    both = pooled(tables, Column("both", "m", ("x", "y")), "long", "plain", "9-point")
    assert both.errors.tolist() == [[0, 0], [1, 1]]
    assert both.pair_ids == ("x:p", "y:p")
