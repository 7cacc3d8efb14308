"""What a row of a plan may say beside its method: a read-out, its columns, and files that may be missing."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from dife_lightning.errors import ConfigError, MissingAssetError
from experiments.common.keys import own_hashes
from experiments.common.keys import testing_key as key_of
from experiments.common.pair_errors import PairErrors
from experiments.common.pair_shares import Share
from experiments.common.plan import Plan, read_plan
from experiments.tables.assemble import RowTest, assemble
from experiments.tables.markdown import markdown
from experiments.tables.missing import without_missing
from experiments.tables.output import comma_separated, latex, picture, rich_table
from experiments.tables.workspace import Workspace
from tests.tiny import write_run

TWO = {"a": {"model": "m", "pairs": ["human+dog"]}, "b": {"model": "n", "pairs": ["human+cat"]}}
ROWS = {
    "copy-xy": {"test": "CopyXY", "supervision": "none"},
    "dife": {"fit": "x/{model}", "window": 0, "supervision": "clicks"},
    "dife-window": {"of": "dife", "window": 0.25, "supervision": "clicks"},
    "one": {"test": "MeanShape", "columns": ["a"], "supervision": "key points"},
}
MEASURE = {
    "lists": ["long"],
    "protocols": ["3-point"],
    "framings": ["jittered", "plain"],
    "scores": ["pck_face_10", "swap_rate"],
}
PAIRS = {"human+dog": 0.0, "human+cat": 3.0}


def written(folder: Path, rows: dict = ROWS, columns: dict = TWO, name: str = "plan", **more) -> Plan:
    content = {"columns": columns, "rows": rows, "measure": MEASURE, **more}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return read_plan(folder / f"{name}.yaml")


def result_of(error: float) -> RowTest:
    """Four pairs of each kind with two points each; ``error`` px jittered, one more plain; half of them are hits."""
    ones = np.ones(4, dtype=np.int64)
    shares = {"pck_face_10": Share(ones.astype(float), 2 * ones), "swap_rate": Share(0.0 * ones, 0 * ones)}
    return RowTest(
        {
            (pair, "long", framing, "3-point"): PairErrors((error + more + extra) * 2.0 * ones, 2 * ones, None, shares)
            for pair, more in PAIRS.items()
            for framing, extra in (("jittered", 0), ("plain", 1))
        },
        "here",
    )


def whole_table(folder: Path) -> tuple[Plan, dict]:
    plan = written(folder, comparisons=[["copy-xy", "dife"], ["one", "dife", "plain"]], ratios={})
    errors = {"copy-xy": 9.0, "dife": 5.0, "dife-window": 4.5, "one": 8.0}
    tests = {(row.name, model, 0): result_of(errors[row.name]) for row in plan.rows for model in plan.models(row)}
    return plan, assemble(plan, tests) | {"left_out": {}}


def test_a_row_is_in_its_own_columns_alone(tmp_path):
    plan = written(tmp_path)
    one = plan.row("one")
    assert (plan.models(one), plan.models()) == ({"m": ["human+dog"]}, {"m": ["human+dog"], "n": ["human+cat"]})
    assert [row.name for row in plan.only(["b"], None).rows] == ["copy-xy", "dife", "dife-window"]
    other = {"base": "plan.yaml", "columns": {"c": {"model": "n", "pairs": ["human+cat"]}}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    assert [row.name for row in read_plan(tmp_path / "other.yaml").rows] == ["copy-xy", "dife", "dife-window"]
    with pytest.raises(ConfigError, match=r"row 'one': no column 'd'"):
        written(tmp_path, {"one": {"test": "MeanShape", "columns": ["d"]}})


def test_a_row_that_is_trained_for_some_columns_is_in_these_alone(tmp_path):
    plan, _ = whole_table(tmp_path)
    have = {("copy-xy", "m"), ("copy-xy", "n"), ("dife", "m"), ("dife", "n"), ("dife-window", "m"), ("one", "m")}
    some = plan.where(have)
    assert [row.columns for row in some.rows] == [None, None, ["a"], ["a"]]
    errors = {"copy-xy": 9.0, "dife": 5.0, "dife-window": 4.5, "one": 8.0}
    table = assemble(some, {(row, model, 0): result_of(errors[row]) for row, model in have}) | {"left_out": {}}
    assert "| dife-window | window 0.25 | clicks | **4.50** < [4.50, 4.50] | |" in markdown(table, some)
    assert {(row["method"], row["pair"]) for row in table["rows"]} == {
        ("copy-xy", "a"), ("copy-xy", "b"), ("dife", "a"), ("dife", "b"), ("dife-window", "a"), ("one", "a"),
    }  # fmt: skip


def test_a_window_is_a_row_of_its_own_that_needs_the_other(tmp_path):
    plan = written(tmp_path)
    assert [row.read_out for row in plan.rows] == [None, "nearest", "window 0.25", None]
    assert {row.name for row in plan.only(None, ["dife-window"]).rows} == {"dife", "dife-window"}
    for row in ({"fit": "x", "window": 0.25}, {"of": "dife"}):
        with pytest.raises(ConfigError, match="a trained row has its window in a row of its own, with `of`"):
            written(tmp_path, {"dife": {"fit": "x"}, "bad": row})


def test_later_bases_count_and_a_plan_has_parts_of_all(tmp_path):
    (tmp_path / "files.yaml").write_text("files: {photo-dog: the run of a generator}\nratios: {random: 0.5}\n")
    written(tmp_path, ratios={})
    (tmp_path / "other.yaml").write_text("base: [files.yaml, plan.yaml]\n")
    plan = read_plan(tmp_path / "other.yaml")
    assert (plan.files, plan.ratios, len(plan.rows)) == ({"photo-dog": "the run of a generator"}, {}, 4)


def test_the_table_shows_read_outs_scores_and_leaves_cells_empty(tmp_path):
    plan, table = whole_table(tmp_path)
    text = markdown(table, plan)
    assert "| method | read-out | supervision | a | b |" in text
    assert "| dife | nearest | clicks | 5.00 [5.00, 5.00] | 8.00 [8.00, 8.00] |" in text
    assert "| dife-window | window 0.25 | clicks | **4.50** < [4.50, 4.50] | **7.50** < [7.50, 7.50] |" in text
    assert "| one | | key points | 8.00 [8.00, 8.00] | |" in text
    assert "In %: PCK@0.10 of the face's extent / left/right swaps." in text
    assert "| one | | key points | 50.0 / – | |" in text
    assert "holds: a, plain: one − dife = +3.00 px" in text
    assert "b, plain" not in text
    assert "one & & key points & 8.00 " in latex(table, plan).replace("&  &", "& &")
    lines = comma_separated(table, plan.measure).split("\n")
    assert lines[0].endswith("run,read_out,pck_face_10,swap_rate")
    assert any(
        line.startswith("dife-window,b,long,3-point,plain,8.5,") and ",window 0.25,0.5," in line for line in lines
    )
    assert rich_table(table["rows"], plan.measure).row_count == 4
    assert len(picture(table["rows"], plan.measure).axes) == 2


def test_long_names_of_rows_are_drawn_whole(tmp_path):
    plan, table = whole_table(tmp_path)
    rows = [row | {"method": row["method"] + "-with-a-long-name-of-several-words"} for row in table["rows"]]
    figure = picture(rows, plan.measure)
    figure.canvas.draw()
    assert min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels()) > 0


def test_a_table_without_them_is_as_it_was(tmp_path):
    plan, table = whole_table(tmp_path)
    plain = dataclasses.replace(plan, measure=dataclasses.replace(plan.measure, scores=()))
    rows = [{k: v for k, v in row.items() if k not in ("scores", "read_out")} for row in table["rows"]]
    text = markdown(table | {"rows": rows, "paper_rows": rows}, plain)
    assert "| method | supervision | a | b |\n|---|---|---|---|\n" in text
    assert "In %" not in text


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paths.yaml").write_text("photo-dog: dog\n")
    return tmp_path


def test_a_missing_file_is_told_before_any_training_with_what_makes_it(own):
    rows = {"teacher": {"test": "FrozenEmbedder", "arguments": {"embedder": "own/photo-teacher"}}}
    files = {"photo-teacher": "the run of `dife fit --config photos/teacher`"}
    with pytest.raises(MissingAssetError) as raised:
        without_missing(Workspace(written(own, rows, files=files, reference="teacher"), own / "runs"))
    assert str(raised.value) == (
        "row 'teacher' of the table: no entry for 'own/photo-teacher'; add a line `photo-teacher: PATH` to paths.yaml "
        "(docs/real_data.md); what it is: the run of `dife fit --config photos/teacher`"
    )
    rows["teacher"]["optional"] = True
    rows["other"] = {"of": "teacher", "window": 0.25}
    rows["copy-xy"] = {"test": "CopyXY"}
    workspace, left_out = without_missing(Workspace(written(own, rows, files=files), own / "runs"))
    assert [row.name for row in workspace.plan.rows] == ["copy-xy"]
    assert left_out.keys() == {"teacher", "other"}  # what reads its runs is left out with it


def test_a_missing_species_is_told_only_where_a_column_tests_it(own):
    domains = {name: {"dataset": "folder", "root": f"own/photos/faces/{name}"} for name in ("human", "dog", "cow")}
    (own / "photos/faces/human").mkdir(parents=True)
    (own / "photos/faces/dog").mkdir(parents=True)
    (own / "paths.yaml").write_text("photos: photos\n")
    measure = {"data": "FacePairs", "arguments": {"domains": domains}}
    columns = {"a": TWO["a"], "b": {"model": "m", "pairs": ["human+cow"]}}
    (own / "plan.yaml").write_text(
        yaml.safe_dump({"columns": columns, "rows": {"copy-xy": ROWS["copy-xy"]}, "measure": measure})
    )
    plan = read_plan(own / "plan.yaml")
    assert without_missing(Workspace(plan.only(["a"], None), own / "runs"))[1] == {}
    with pytest.raises(MissingAssetError, match="the pairs of the table: 'own/photos/faces/cow' is"):
        without_missing(Workspace(plan, own / "runs"))


def test_own_weights_are_part_of_a_key(own):
    write_run(own / "dog", (8, 8, 8), mapping_layers=1)
    (own / "photos").mkdir()
    (own / "paths.yaml").write_text("photo-dog: dog\nphotos: photos\n")
    settings = {"generators": {"dog": "own/photo-dog", "cat": "own/photo-cat"}, "root": "own/photos"}
    found = own_hashes(settings)
    assert found.keys() == {"own/photo-dog"}
    assert key_of(None, settings, {}, {}, None, {})["assets"] == found
    shutil.rmtree(own / "dog")
    write_run(own / "dog", (8, 8, 16), mapping_layers=1)
    assert own_hashes(settings) != found


def test_the_window_of_a_test_is_part_of_its_key():
    plain, other = (key_of(None, {}, {}, {}, None, {}, window) for window in (0, 0.25))
    assert plain == key_of(None, {}, {}, {}, None, {})
    assert other["window"] == 0.25
