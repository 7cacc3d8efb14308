"""Tables of landmark models: errors face by face, the ablation's verdicts, records in place of runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from experiments.landmarks import runs as runs_module
from experiments.landmarks.__main__ import build, curve_of, parse
from experiments.landmarks.assemble import groups_of, table_of
from experiments.landmarks.errors import NmeTable, decoded, difference, read_nme, verdict
from experiments.landmarks.output import markdown
from experiments.landmarks.plan import PLANS, read_plan
from experiments.landmarks.runs import Runs, ScoredRow

HEAD = (
    "face,domain,list,framing,picture,subject,landmark,truth_x,truth_y,predicted_x,predicted_y,score,counted,error,nme"
)


def table(values, units=None) -> NmeTable:
    nme = np.array(values, float)
    return NmeTable(nme, tuple(units or map(str, range(len(values)))), 2 * nme)


def scored(known, unknown) -> ScoredRow:
    rows = [
        {"domain": name, "group": group, "failure_08": 0.5, "failure_10": 0.25, "auc_10": 0.4}
        for name, group in (("dog", "known"), ("cow", "unknown"))
    ]
    rows += [{"domain": "all", "group": group, "failure_08": 0.5} for group in ("known", "unknown", "all")]
    return ScoredRow({"dog": table(known), "cow": table(unknown)}, rows, 60.0, "here")


def test_faces_are_read_from_predictions(tmp_path):
    rows = [
        "a,dog,test,plain,a.png,rex,eye,1,1,1,1,0.5,1,2.0,3.0",
        "a,dog,test,plain,a.png,rex,nose,1,1,1,1,0.5,1,4.0,3.0",
        "b,dog,test,plain,b.png,,eye,,,1,1,0.5,0,,",
        "c,cow,test,plain,c.png,,eye,1,1,1,1,0.5,1,7.0,7.0",
    ]
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join([HEAD, *rows]))
    found = read_nme(path)
    assert {name: (one.nme.tolist(), one.units) for name, one in found.items()} == {
        "dog": ([3.0], ("dog/rex",)),
        "cow": ([7.0], ("cow/c",)),
    }
    path.write_text("\n".join([HEAD, rows[2]]))
    with pytest.raises(DataError, match="no face with an error"):
        read_nme(path)


def test_errors_by_the_distance_of_the_eyes(tmp_path):
    corners = [("left_eye_outer", 0, 0), ("left_eye_inner", 4, 0), ("right_eye_inner", 8, 3), ("right_eye_outer", 8, 5)]
    rows = [f"a,dog,test,plain,a.png,,{name},{x},{y},{x},{y},0.5,1,0,1" for name, x, y in corners]
    rows += ["a,dog,test,plain,a.png,,nose,5,9,8,13,0.5,1,0,1", "a,dog,test,plain,a.png,,chin,,,8,13,0.5,0,,1"]
    hidden = [row.replace("a,dog", "b,dog") for row in rows]
    hidden[1] = "b,dog,test,plain,b.png,,left_eye_inner,,,1,1,0.5,0,,1"
    path = tmp_path / "predictions.csv"
    path.write_text("\n".join([HEAD, *rows, *hidden, "c,cow,test,plain,c.png,,nose,1,1,1,1,0.5,1,7.0,7.0"]))
    found = read_nme(path)
    # eyes at (2, 0) and (8, 4); one of five points is off by 5 px
    assert found["dog"].interocular[0] == pytest.approx(100 * (5 / 5) / np.sqrt(52))
    assert np.isnan([found["dog"].interocular[1], found["cow"].interocular[0]]).all()


def test_intervals_draw_animals_with_all_their_faces():
    rng = np.random.default_rng(0)
    animals = np.repeat(np.arange(20), 5)
    values = rng.normal(5, 1, 20)[animals] + rng.normal(0, 0.1, 100)
    one = table(values, [str(k) for k in animals])
    low, high = one.interval()
    # by the formula of the standard error over animals; over faces it would be a fifth of it
    spread = values.reshape(20, 5).mean(1).std(ddof=1) / np.sqrt(20)
    assert (high - low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.15)
    assert low < one.mean() < high
    again = decoded(json.loads(json.dumps(one.encoded())))
    assert again.mean() == pytest.approx(one.mean(), abs=1e-4)
    assert again.interval() == pytest.approx(one.interval(), abs=1e-3)
    np.testing.assert_allclose(again.interocular, one.interocular, atol=1e-4)


def test_a_difference_is_taken_face_by_face():
    rng = np.random.default_rng(1)
    first = rng.uniform(2, 20, 50)
    value, interval = difference(table(first + 0.1), table(first))
    assert value == pytest.approx(0.1)
    assert verdict(interval) == "held"
    assert verdict((-1.0, 0.5)) == "tied"
    assert verdict((-2.0, -0.5)) == "reversed"
    with pytest.raises(DataError, match="differ in their faces"):
        difference(table(first), table(first[:-1]))


def test_a_table_has_steps_goals_and_the_faces_of_groups():
    plan = read_plan("world").only(["supervised", "with-l-u", "meta-cskt"])
    worse, better = np.linspace(6, 8, 30), np.linspace(3, 4, 30)
    tests = {
        ("supervised", 0): scored(worse, worse),
        ("with-l-u", 0): scored(worse, worse - 1),
        ("meta-cskt", 0): scored(better, better),
        ("meta-cskt", 1): scored(better + 1, better + 1),
    }
    content = table_of(plan, tests, {"uda": "not trained"})
    cells = {(row["row"], row["column"]): row for row in content["rows"]}
    assert cells["meta-cskt", "known"]["nme"] == pytest.approx(4.0)
    assert cells["meta-cskt", "known"]["spread"] == pytest.approx(np.sqrt(0.5))
    assert cells["supervised", "dog"]["against"]["verdict"] == "held"
    verdicts = {(step["before"], step["after"], step["column"]): step["verdict"] for step in content["ablation"]}
    wanted = {("supervised", "with-l-u", column): "tied" for column in ("known", "dog")}
    wanted |= {("supervised", "with-l-u", column): "held" for column in ("unknown", "cow")}
    assert verdicts == wanted | {("with-l-u", "meta-cskt", column): "held" for column in content["columns"]}
    goals = {goal["column"]: (round(goal["value"], 3), goal["holds"]) for goal in content["goals"]}
    assert goals == {
        "known": (round(3.5 / 7, 3), True),
        "unknown": (round(3.5 / 7, 3), True),
    }  # of seed 0, which both have
    assert cells["supervised", "known"]["against"]["difference"] == pytest.approx(3.5)
    assert [goal["not_below"] for goal in content["goals"]] == [[], []]
    tied = table_of(plan, {**tests, ("with-l-u", 0): scored(better, worse)}, {})
    assert [goal["not_below"] for goal in tied["goals"]] == [["with-l-u"], []]
    assert "Rows whose error is not above that of `meta-cskt` there: `with-l-u`." in markdown(tied)
    lines = [{"row": "supervised", "column": "known", "nme": [9.0, None]}]
    text = markdown(content, {"labels": [5, 40], "seeds": 2, "lines": lines})
    assert "4.00 ± 0.71" in text
    assert "50.0 / 25.0 / 40.0 / 8.0" in text
    assert cells["supervised", "known"]["interocular"] == {"nme": pytest.approx(14.0), "faces": 30}
    assert cells["supervised", "known"]["ced"][6:9] == [pytest.approx(1 / 30, abs=1e-4), 0.5, 1.0]
    assert "Mean NME of 2 seeds." in text
    assert "| supervised | known | 9.00 | – |" in text
    assert "`uda` is left out: not trained" in text


def test_the_learning_curve_has_seeds_of_its_own(tmp_path):
    class Trained:
        """Errors that name the run: 10 times the seed, plus a tenth of the labels."""

        def __init__(self):
            self.asked = []

        def test(self, row, seed, labels=None):
            self.asked.append((seed, labels))
            return None if (seed, labels) == (1, 80) else scored([10.0 * seed + (labels or 40) / 10] * 2, [1.0] * 2)

    plan = read_plan("world").only(["supervised"])
    tests = {("supervised", 0): scored([4.0] * 2, [1.0] * 2)}
    words = ["world", "--curve", "--seeds", "3"]
    curve = curve_of(plan, Trained(), parse([*words, "--curve_seeds", "2"]), tests)
    assert (curve["labels"], curve["seeds"]) == ([5, 10, 20, 40, 80], 2)
    found = {line["column"]: line["nme"] for line in curve["lines"] if line["row"] == "supervised"}
    assert found["known"] == pytest.approx([5.5, 6.0, 7.0, 9.0, 8.0])  # the run of seed 1 and 80 labels is missing
    runs = Trained()
    assert curve_of(plan, runs, parse(words), tests)["seeds"] == 3
    assert set(runs.asked) == {(seed, labels) for seed in range(3) for labels in (5, 10, 20, None, 80)}


def test_a_learning_curve_of_rows_without_one_is_refused():
    with pytest.raises(ConfigError, match="none of the rows has a learning curve; expected some of mean-landmarks, "):
        build(parse(["world", "--rows", "with-l-u", "--curve"]))


def test_tests_on_other_faces_are_not_compared():
    plan = read_plan("world").only(["supervised", "meta-cskt"])
    tests = {(row, 0): scored([4.0] * 2, [1.0] * 2) for row in ("supervised", "meta-cskt")}
    tests["supervised", 0].rows[1]["list_hash"] = "other"
    message = r"meta-cskt \(seed 0\) and supervised \(seed 0\) were tested on different faces of cow; test both anew"
    with pytest.raises(DataError, match=message):
        table_of(plan, tests, {})


def test_groups_are_columns_of_several_domains():
    assert groups_of({"known": ["dog", "cat"], "dog": ["dog"], "cat": ["cat"]}) == ["known"]
    assert groups_of({"known": ["dog"], "dog": ["dog"]}) == ["known", "dog"]


def test_a_record_takes_the_place_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        runs_module, "training_key", lambda settings, versions: {"settings": settings["seed_everything"]}
    )
    monkeypatch.setattr(
        runs_module,
        "resolved_settings",
        lambda words: {"seed_everything": words[-1], "model": {"class_path": "MetaCSKT"}},
    )
    plan = read_plan("world").only(["meta-cskt"])
    row = plan.row("meta-cskt")
    Runs(plan, tmp_path / "runs").write_record(row, 0, None, scored([3.0, 4.0], [5.0]), tmp_path)
    assert (tmp_path / "runs/meta-cskt-seed0.json").is_file()
    found = Runs(plan, tmp_path / "none", tmp_path, train=False).test(row, 0)
    assert found is not None
    assert found.errors["dog"].nme.tolist() == [3.0, 4.0]
    monkeypatch.setattr(runs_module, "training_key", lambda settings, versions: {"settings": "changed"})
    runs = Runs(plan, tmp_path / "none", tmp_path, train=False)
    assert runs.test(row, 0) is None
    assert "no finished run meta-cskt-seed0" in runs.left_out["meta-cskt"]
    with pytest.raises(DataError, match="no row of the table world has a test"):
        build(parse(["world", "--rows", "meta-cskt", "--no_training", "--runs_root", str(tmp_path / "none")]))


@pytest.mark.parametrize("name", sorted(path.stem for path in PLANS.glob("*.yaml")))
def test_every_plan_names_configurations_that_there_are(name):
    from dife_lightning.running.configs import load_config

    plan = read_plan(name)
    for row in plan.rows:
        for config in row.configs:
            assert load_config(config)["model"]["class_path"]
    assert plan.reference in [row.name for row in plan.rows]
    words = Runs(plan, Path("runs"))._words(plan.row(plan.reference), 2, 5)
    assert words[0] == "fit"
    assert {"--seed_everything=2", "--data.init_args.seed=2", "--data.init_args.labels=5"} <= set(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\nreference: c\nrows: {d: {fit: x}}", "no row 'c'"),
        ("title: a\nreference: c\nrows: {c: {}}", "expected either fit or test"),
        ("title: a\nreference: c\ncolour: red\nrows: {c: {fit: x}}", "colour"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_plan(str(tmp_path / "plan.yaml"))
    with pytest.raises(ConfigError, match="no plan 'nothing'"):
        read_plan("nothing")


def test_the_documented_results_are_those_of_the_records():
    root = Path(__file__).parents[2]
    cells = {}
    for benchmark in ("world", "photos"):
        table = json.loads((root / f"experiments/records/landmarks/{benchmark}/table.json").read_text())
        for row in table["rows"]:
            spread = "" if row["spread"] is None else f" ± {row['spread']:.2f}"
            cells[benchmark, row["row"], row["column"]] = f"{row['nme']:.2f}{spread}"
    page = (root / "docs/landmarks.md").read_text()
    number = r" ([\d.± ]+) \|"
    found = re.findall(rf"^\| [^|]+ \| `([a-z-]+)` \|{4 * number}$", page, re.M)
    assert {row for row, *_ in found} == {row for _, row, _ in cells}
    for row, *values in found:
        columns = [(benchmark, row, column) for benchmark in ("world", "photos") for column in ("known", "unknown")]
        assert values == [cells[column] for column in columns]


@pytest.mark.parametrize("plan", ["world", "photos"])
def test_the_committed_records_give_the_committed_table(tmp_path, plan):
    records = Path(__file__).parents[2] / "experiments/records/landmarks" / plan
    committed = json.loads((records / "table.json").read_text())
    seeds = 1 + max(seed for row in committed["rows"] for seed in row["seeds"])
    words = [plan, "--records", str(records), "--no_training", "--runs_root", str(tmp_path / "none")]
    content = build(parse([*words, "--seeds", str(seeds), "--out", str(tmp_path / "out")]))
    assert content["left_out"].keys() == committed["left_out"].keys()
    assert [(row["row"], row["column"]) for row in content["rows"]] == [
        (row["row"], row["column"]) for row in committed["rows"]
    ]
    for here, there in zip(content["rows"], committed["rows"], strict=True):
        assert here["nme"] == pytest.approx(there["nme"], abs=1e-3)
        assert here["interocular"]["nme"] == pytest.approx(there["interocular"]["nme"], abs=1e-2)
    assert [goal["holds"] for goal in content["goals"]] == [goal["holds"] for goal in committed["goals"]]
