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
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.metrics.bootstrap import bootstrap_ci, paired_difference
from dife_lightning.metrics.predictions import read_predictions
from dife_lightning.utils.run_folder import RunFolder
from experiments.common import commands
from experiments.common.jobs import Job, state_path, write_state
from experiments.common.keys import changes, training_key
from experiments.common.pair_errors import PairErrors, decoded, difference, mean_of
from experiments.common.plan import PLANS, Column, read_plan
from experiments.tables import __main__ as tables
from experiments.tables.assemble import pooled, verdict
from experiments.tables.output import escaped
from experiments.tables.records import find_record
from experiments.tables.testing import without_home
from experiments.tables.workspace import Workspace, remembering
from tests.experiments.tiny_config import write_config
from tests.tiny import draw_nothing

RECORDS = Path(__file__).parents[2] / "experiments" / "records"
#: A row that cannot be tested here.
ABSENT = {"test": "FrozenEmbedder", "arguments": {"embedder": "no/weights.pt"}, "optional": True}
COLUMNS, ROWS = ("human+dog", "both"), ("copy-xy", "slow", "surface-teacher", "dife-warmup", "dife", "no-m1")
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
                "slow": {"test": "MeanShape", "first": 3, "note": "takes long"},
                "surface-teacher": {"test": "FrozenEmbedder", "arguments": {"embedder": teacher}},
                "absent": ABSENT,
                "dife-warmup": {"control": "dife"},
                "dife": {"fit": str(folder / "{model}.yaml"), "supervision": "clicks & more"},
                "no-m1": {"start": "dife", "set": {"model.init_args.lambda_m1": 0}, "note": "no matching within"},
            },
            "paper": {"dife": {"9-point": {"human+dog": 12.01}}},
            "measure": {"arguments": {"size": 32}},
        }
        (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
        patch.setattr(commands, "call", self.call)

    def call(self, words):
        self.calls.append(list(words))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The dirpath has changed")  # the control has its own folder
            assert dife(words) == 0
        return 1.0

    def build(self, *words: str) -> int:
        self.calls.clear()
        return tables.main(["table1", "--plan", "plan.yaml", "--count", "4", *words])

    def table(self, out: str = "results/table1") -> dict:
        return json.loads((self.folder / out / "table.json").read_text())


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        draw_nothing(patch)
        patch.setattr("experiments.common.measure.processors", lambda: 1)
        found = Bench(folder, patch)
        assert found.build("--seeds", "2", "--record", "records") == 0
        found.first = [words[:] for words in found.calls]
        yield found


def test_each_training_runs_once_per_model_and_seed(bench):
    assert [words[0] for words in bench.first] == ["fit"] * 6
    assert sum("--ckpt_path" in words for words in bench.first) == 4  # the controls, and what starts from a warm-up


def test_a_row_may_start_from_anothers_warmup_with_other_settings(bench):
    (words,) = (w for w in bench.first if "no-m1-tiny-seed1" in w)
    assert words[words.index("--ckpt_path") + 1].endswith("dife-tiny-seed1/checkpoints/warmup.ckpt")
    full, without = (RunFolder(bench.folder / "runs/tables", f"{name}-tiny-seed1") for name in ("dife", "no-m1"))
    assert without.settings()["model"]["init_args"]["lambda_m1"] == 0
    assert without.settings()["trainer"]["max_steps"] == full.settings()["trainer"]["max_steps"]


def test_there_is_one_row_per_method_column_protocol_and_framing(bench):
    table = bench.table()
    wanted = sorted(itertools.product(ROWS, COLUMNS, ["9-point", "3-point"], ["jittered", "plain"]))
    for rows in (table["rows"], table["paper_rows"]):
        assert sorted((r["method"], r["pair"], r["protocol"], r["framing"]) for r in rows) == wanted
        assert all(set(r) == KEYS | {"seeds", "spread", "against", "supervision", "paper", "run"} for r in rows)


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
        if row["method"] in ("dife", "dife-warmup", "no-m1"):
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
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".csv", ".tex", ".png"}
    text = (folder / "table.md").read_text()
    assert "*12.01*" in text
    assert text.count("| surface-teacher |") == 8
    assert "- `no-m1`: no matching within" in text
    lines = (folder / "table.tex").read_text().splitlines()
    assert [line.count(" & ") for line in lines if line.endswith(r"\\")] == [3] * (1 + len(ROWS))
    assert any(line.startswith(r"dife & clicks \& more & ") for line in lines)
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(bench.table()["rows"])
    assert {row["list"] for row in rows} == {"long", "paper"}


def test_an_optional_row_that_cannot_be_tested_is_left_out_with_the_reason(bench):
    ((name, reason),) = bench.table()["left_out"].items()
    assert name == "absent"
    assert "no/weights.pt" in reason
    assert f"- `absent` is left out: {reason}" in (bench.folder / "results/table1/table.md").read_text()
    assert bench.build("--rows", "copy-xy") == 0
    assert bench.table()["left_out"] == {}
    assert bench.build("--no_training") == 0  # nothing is asked of a hub, then
    assert bench.table()["left_out"]["absent"].endswith("it is tested without --no_training")
    assert bench.build("--seeds", "2") == 0


def test_each_row_is_compared_with_the_row_of_reference_on_the_same_pairs(bench):
    found = {r["method"]: r for r in bench.table()["rows"] if (r["pair"], r["framing"]) == ("human+dog", "jittered")}
    assert found["dife"]["against"] is None
    gap = found["copy-xy"]["against"]
    assert gap["difference"] == pytest.approx(found["copy-xy"]["pixel_error"] - found["dife"]["pixel_error"])
    assert gap["verdict"] == verdict(gap["ci95"])


def test_a_slow_row_is_tested_and_compared_on_the_first_pairs_alone(bench):
    table = bench.table()
    assert table["notes"]["slow"] == "takes long; the first 3 pairs of each list alone"
    kinds = {"human+dog": ["human+dog"], "both": ["human+dog", "human+wild"]}
    full = {r["pair"]: r["run"] for r in table["rows"] if r["method"] == "dife"}
    for row in (r for r in table["rows"] if r["method"] == "slow"):
        assert row["pairs"] == 3 * len(kinds[row["pair"]])
        keys = [(kind, "long", row["framing"], row["protocol"]) for kind in kinds[row["pair"]]]
        errors = []
        for folder in (*row["run"], *full[row["pair"]]):
            read = read_predictions(bench.folder / folder / "predictions.csv")
            parts = [read[key].take([0, 1, 2]) for key in keys]
            errors.append(np.concatenate([part.errors[part.visible] for part in parts]).mean())
        assert row["pixel_error"] == pytest.approx(errors[0], abs=1e-6)
        assert row["against"]["difference"] == pytest.approx(errors[0] - np.mean(errors[1:]), abs=1e-6)


@pytest.mark.parametrize(("interval", "said"), [((0.1, 2), "better"), ((-0.1, 2), "tie"), ((-2, -0.1), "worse")])
def test_a_verdict_says_on_which_side_of_zero_the_interval_lies(interval, said):
    assert verdict(interval) == said


def test_records_link_each_row_to_its_run(bench):
    records = json.loads((bench.folder / "records/table1.json").read_text())
    each: dict[str, list[float]] = {}
    for row in records["rows"]:
        for place in row["run"]:
            run = json.loads((bench.folder / "records" / place).read_text())
            assert run["test"]["rows"]
            assert ("training" in run) == (row["method"] in ("dife", "dife-warmup", "no-m1"))
            if (row["pair"], row["protocol"], row["framing"]) == ("human+dog", "9-point", "jittered"):
                errors = run["errors"]["human+dog/long/jittered/9-point"]
                total, points = sum(map(float, errors["sums"].split())), sum(map(int, errors["points"]))
                each.setdefault(row["method"], []).append(total / points)
        if (row["pair"], row["protocol"], row["framing"]) == ("human+dog", "9-point", "jittered"):
            assert np.mean(each[row["method"]]) == pytest.approx(row["pixel_error"], abs=0.01)


def test_a_table_is_built_from_records_alone(bench, capsys):
    before = bench.table()["rows"]
    words = ["--records", "records", "--runs_root", "nowhere", "--out", "recorded"]
    assert bench.build(*words, "--no_training", "--record", "again") == 0
    assert bench.calls == []
    assert not (bench.folder / "nowhere").exists()
    after = bench.table("recorded")["rows"]
    for old, new in zip(before, after, strict=True):
        assert new["seeds"] == old["seeds"]
        # sums are recorded to 0.1 px, and of few pairs the interval's end may be one pair of a single point
        assert new["pixel_error"] == pytest.approx(old["pixel_error"], abs=0.05 * old["pairs"] / old["points"])
        assert new["ci95"] == pytest.approx(old["ci95"], abs=0.051)
    assert {path.name for path in (bench.folder / "again/runs").iterdir()} == {
        path.name for path in (bench.folder / "records/runs").iterdir()
    }
    capsys.readouterr()
    assert bench.build(*words, "--rows", "dife") == 0  # seed 0
    assert bench.calls == []
    assert "dife-tiny-seed0: recorded" in capsys.readouterr().out


def test_a_recorded_run_is_trained_where_another_starts_from_its_checkpoint(bench):
    (bench.folder / "records/runs/no-m1-tiny-seed1.json").rename(bench.folder / "kept.json")
    try:
        words = ["--records", "records", "--runs_root", "elsewhere", "--out", "recorded", "--seeds", "1,"]
        assert bench.build(*words) == 0
    finally:
        (bench.folder / "kept.json").rename(bench.folder / "records/runs/no-m1-tiny-seed1.json")
    assert [words[words.index("--run") + 1] for words in bench.calls] == ["dife-tiny-seed1", "no-m1-tiny-seed1"]


def test_a_row_without_a_run_is_left_out_where_nothing_is_trained(bench, capsys):
    kept = bench.folder / "records/runs/no-m1-tiny-seed0.json"
    for path in (kept, kept.with_name("no-m1-tiny-seed1.json")):
        path.rename(bench.folder / path.name)
    try:
        words = ["--records", "records", "--runs_root", "nowhere", "--out", "some", "--no_training"]
        assert bench.build(*words) == 0
    finally:
        for path in (kept, kept.with_name("no-m1-tiny-seed1.json")):
            (bench.folder / path.name).rename(path)
    assert "no-m1 is left out: no finished run of no-m1-tiny in nowhere or records;" in capsys.readouterr().out
    assert set(bench.table("some")["left_out"]) == {"absent", "no-m1"}
    assert {row["method"] for row in bench.table("some")["rows"]} == set(ROWS) - {"no-m1"}


def test_missing_runs_and_damaged_records_are_told_in_one_line(bench, capsys):
    assert bench.build("--runs_root", "nothing", "--no_training") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no finished run of dife-tiny in nothing: run the table without --no_training")
    assert error.count("\n") == 1
    (bench.folder / "broken/runs").mkdir(parents=True)
    (bench.folder / "broken/runs/dife-tiny-seed0.json").write_text('{"errors": {')
    assert bench.build("--runs_root", "nothing", "--records", "broken", "--no_training") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: broken/runs/dife-tiny-seed0.json is not the record of a run (")
    assert error.count("\n") == 1


def test_what_is_finished_is_kept(bench):
    before = bench.table()
    assert bench.build("--seeds", "2") == 0
    assert bench.calls == []
    after = bench.table()
    assert after["rows"] == before["rows"]


def test_seeds_of_earlier_calls_still_count(bench):
    assert bench.build("--seeds", "1", "--rows", "dife") == 0
    assert bench.calls == []
    assert next(r for r in bench.table()["rows"] if r["method"] == "dife")["seeds"] == [0, 1]


def test_an_interrupted_training_goes_on(bench):
    record = bench.folder / "runs/tables/cells/dife-tiny-seed1.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"finished": False}))
    assert bench.build("--seeds", "2", "--rows", "dife") == 0
    assert bench.calls[0][-2:] == ["--ckpt_path", "last"]
    assert len(bench.calls) == 1
    assert json.loads(record.read_text()) == content


def test_another_setting_or_version_of_the_method_makes_its_cells_again(bench, monkeypatch, capsys):
    text = bench.config.read_text()
    try:
        bench.config.write_text(text.replace("lambda_k1: 1.0", "lambda_k1: 0.9"))
        assert bench.build("--rows", "dife-warmup") == 0
        assert [words[0] for words in bench.calls] == ["fit", "fit"]
        assert "changed (settings.model.init_args.lambda_k1)" in capsys.readouterr().out
        assert next(r for r in bench.table()["rows"] if r["method"] == "dife")["seeds"] == [0]
    finally:
        bench.config.write_text(text)
    monkeypatch.setattr("dife_lightning.methods.dife.DIFE.version", 99)
    assert bench.build("--rows", "dife-warmup") == 0
    assert [words[0] for words in bench.calls] == ["fit", "fit"]


def test_a_name_that_is_not_in_the_plan_is_refused_in_one_line(bench, capsys):
    assert bench.build("--columns", "human+cow") == 1
    assert capsys.readouterr().err.startswith("error: no column 'human+cow' in the table.")


@pytest.mark.parametrize(
    "entry", [{}, {"test": "CopyXY", "fit": "world/{model}"}, {"control": "nobody"}, {"test": "CopyXY", "first": 0}]
)
def test_a_row_says_exactly_one_thing(tmp_path, entry):
    plan = {"columns": {"a": {"model": "m", "pairs": ["human+dog"]}}, "rows": {"x": entry}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(ConfigError, match="row 'x'"):
        read_plan(tmp_path / "plan.yaml")


def test_a_row_needs_rows_that_are_there(tmp_path):
    columns = {"a": {"model": "m", "pairs": ["human+dog"]}}
    rows = {"x": {"start": "y", "steps": None}, "y": {"start": "x"}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"columns": columns, "rows": rows}))
    with pytest.raises(ConfigError, match="rows x, y of the plan wait for each other"):
        read_plan(tmp_path / "plan.yaml").in_order()
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"columns": columns, "rows": {"x": {"fits": "z"}}}))
    with pytest.raises(ConfigError, match="'fits'"):
        read_plan(tmp_path / "plan.yaml")


def test_the_shipped_plans_have_the_papers_columns_and_rows():
    plan = read_plan(PLANS / "table1.yaml")
    assert [c.name for c in plan.columns] == ["human+dog", "human+cat", "dog+cat", "human+dog+cat", "human+wild"]
    assert plan.models()["human_cat"] == ["human+cat", "human+wild"]
    assert plan.only(None, ["dife-warmup"]).rows[-1].name == "dife"  # a control needs the run that it starts from
    ablation = read_plan(PLANS / "table3.yaml")
    assert [r.name for r in ablation.rows] == ["k1", "dife-warmup", "dife", "no-k1", "no-k2", "no-m1", "no-m2"]
    assert {r.name for r in ablation.only(None, ["k1"]).rows} == {"k1", "dife-warmup", "dife"}
    assert [r.name for r in read_plan(PLANS / "table4.yaml").rows] == ["layer-3", "dife", "layer-7"]


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_plan_can_be_read_and_says_what_supervised_each_row(path):
    plan = read_plan(path)
    assert all(row.supervision for row in plan.rows)
    assert plan.reference in [row.name for row in plan.rows]


def test_changes_name_what_differs():
    assert changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0}) == ["a.c", "d"]


def job(folder: Path, key: dict, **more) -> Job:
    (folder / "run").mkdir(exist_ok=True)
    return Job(RunFolder(folder, "run"), [], key, **more)


def test_a_job_is_finished_only_for_its_own_key(tmp_path):
    one = job(tmp_path, {"a": 1})
    assert one.state() == ("new", "")
    write_state(state_path(one.run), one.key, finished=False)
    assert one.state() == ("interrupted", "")
    write_state(state_path(one.run), one.key, finished=True)
    assert one.state() == ("finished", "")
    assert job(tmp_path, {"a": 2}).state() == ("changed", "a")
    one.run.path.rmdir()
    assert one.state() == ("new", "")


# Trainer settings


def resolved(*words: str) -> dict:
    return resolved_settings(["fit", "--config", "world/human_dog", "--config", "trainer/cpu", *words])


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("precision=32-true", "precision"),
        ("gradient_clip_val=1.0", "gradient_clip_val"),
        ("accumulate_grad_batches=4", "accumulate_grad_batches"),
        ("limit_train_batches=0.5", "limit_train_batches"),
        ("callbacks+=EarlyStopping", "callbacks"),
    ],
)
def test_a_trainer_setting_that_decides_the_result_changes_the_job(tmp_path, word, name):
    more = ["--trainer.callbacks.monitor=val/pixel_error"] if name == "callbacks" else []
    usual, other = training_key(resolved(), {}), training_key(resolved(f"--trainer.{word}", *more), {})
    assert changes(usual, other) == [f"settings.trainer.{name}"]
    one = job(tmp_path, usual)
    write_state(state_path(one.run), usual, finished=True)
    assert one.state()[0] == "finished"
    assert job(tmp_path, other).state() == ("changed", f"settings.trainer.{name}")


@pytest.mark.parametrize("word", ["log_every_n_steps=7", "enable_progress_bar=false", "callbacks+=ResourceLog"])
def test_logging_and_display_are_no_part_of_a_key(word):
    assert training_key(resolved(f"--trainer.{word}"), {}) == training_key(resolved(), {})


def test_every_recorded_run_is_that_of_todays_plans():
    records, resolve, seen = RECORDS / "world", remembering(), set()
    for path in (PLANS / f"{name}.yaml" for name in ("table1", "table2", "table3", "table4", "swept")):
        workspace = Workspace(read_plan(path), Path("nowhere"), records, resolve=resolve)
        for row in (row for row in workspace.plan.rows if row.trained):
            for model, seed in itertools.product(workspace.plan.models(), range(3)):
                name = workspace.run(row.name, model, seed).name
                if find_record(records, name) is not None:
                    assert workspace.training(row, model, seed).record is not None, name
                    seen.add(name)
    trained = [json.loads(path.read_text()).get("training_key") for path in (records / "runs").glob("*.json")]
    assert len(seen) == sum(key is not None for key in trained)


def test_a_run_of_before_is_compared_by_its_own_record_where_its_key_is_silent(tmp_path):
    wanted = training_key(resolved("--trainer.gradient_clip_val=1.0"), {})
    one = job(tmp_path, wanted)
    write_state(
        state_path(one.run), training_key(resolved(), {}), finished=True
    )  # as keys were before they named the clipping
    for clip, state in ((1.0, "finished"), (2.0, "changed")):
        settings = resolved(f"--trainer.gradient_clip_val={clip}")
        one.run.resolved.write_text(yaml.safe_dump(settings))
        assert one.state()[0] == state


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


def errors_of(*sums: float) -> PairErrors:
    return PairErrors(np.array(sums, dtype=float), np.full(len(sums), 2))


def test_seeds_are_averaged_pair_by_pair_and_kinds_of_pairs_pooled():
    assert mean_of([errors_of(1, 3), errors_of(3, 5)]).sums.tolist() == [2, 4]
    tests = {(pair, "long", "plain", "9-point"): errors_of(i, i) for i, pair in enumerate(("x", "y"))}
    both = pooled(tests, Column("both", "m", ("x", "y")), "long", "plain", "9-point")
    assert both.sums.tolist() == [0, 0, 1, 1]
    with pytest.raises(DataError, match="no set y/long/plain/3-point"):
        pooled(tests, Column("both", "m", ("y",)), "long", "plain", "3-point")


def test_errors_pair_by_pair_give_what_the_points_give():
    rng = np.random.default_rng(0)
    a, b, visible = rng.uniform(0, 9, (40, 9)), rng.uniform(0, 9, (40, 9)), rng.random((40, 9)) < 0.8
    one, two = (PairErrors(np.where(visible, e, 0).sum(1), visible.sum(1)) for e in (a, b))
    assert one.pixel_error == pytest.approx(a[visible].mean())
    assert one.interval() == pytest.approx(bootstrap_ci(a, visible))
    gap, interval = difference(one, two)
    expected = paired_difference(a, b, visible)
    assert (gap, *interval) == pytest.approx((expected[0], *expected[1]))
    again = decoded(one.encoded())
    assert again.counts.tolist() == one.counts.tolist()
    np.testing.assert_allclose(again.sums, one.sums, atol=0.0501)
    with pytest.raises(DataError, match="differ in their pairs or visible points"):
        difference(one, PairErrors(two.sums[:-1], two.counts[:-1]))


def test_text_is_escaped_for_latex():
    assert escaped(r"a_b & 5 % \x") == r"a\_b \& 5 \% \textbackslash{}x"


def test_a_reason_that_is_recorded_does_not_tell_whose_home_it_was(monkeypatch):
    monkeypatch.setenv("HOME", "/home/her")
    assert without_home("nothing in /home/her/.cache/x, nor /home/herald") == "nothing in ~/.cache/x, nor /home/herald"
    monkeypatch.setenv("HOME", "/")
    assert without_home("nothing in /a/b") == "nothing in /a/b"
