"""Which tests an analysis compares."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.metrics.keypoint_transfer import Records
from experiments.analyses.sets import from_plan, from_words, read_sets
from tests.experiments.made_up import NAMES, one_set, records, write, write_table


def test_only_sets_that_all_methods_have_are_compared_and_the_others_are_told(tmp_path):
    write(tmp_path / "a", records(0), ["human+dog", "human+cat", "dog+cat"])
    write(tmp_path / "b", records(1), ["human+dog", "human+cat"])
    other = write(tmp_path / "c", records(2), ["human+dog"])
    text = (other / "predictions.csv").read_text()
    write(tmp_path / "d", records(2), ["human+cat"], names={i: name.replace("dog", "cat") for i, name in NAMES.items()})
    more = (tmp_path / "d/predictions.csv").read_text().partition("\n")[2]
    (other / "predictions.csv").write_text(text + more)
    found = read_sets(from_words([f"{name}={tmp_path / name}" for name in "abc"]))
    assert [one.pair for one in found.sets] == ["human+dog"]
    assert found.left_out == [
        "human+cat/long/jittered/9-point: the pairs of c are not those of a",
        "dog+cat/long/jittered/9-point: not tested by b, c",
    ]


def test_tests_with_other_truth_are_not_compared(tmp_path):
    words = [f"a={write(tmp_path / 'a', records(0))}", f"b={write(tmp_path / 'b', records(0, truth_seed=1))}"]
    with pytest.raises(DataError, match="the pairs of b are not those of a") as caught:
        read_sets(from_words(words))
    assert "\n" not in str(caught.value)


def test_pairs_are_brought_into_one_order(tmp_path):
    found = records(1)
    flipped = Records(*(value.flip(0) for value in vars(found).values()))
    one = one_set(tmp_path, a=[records(0)], b=[flipped])
    straight = one_set(tmp_path, b=[found])
    assert one.tables["b"][0].pair_ids == one.pair_ids == tuple(NAMES.values())
    np.testing.assert_array_equal(one.tables["b"][0].errors, straight.tables["b"][0].errors)


def test_what_claims_are_made_on_is_analysed_unless_another_set_is_asked_for(tmp_path):
    folder = write(tmp_path / "a", records(0), lists=["paper", "long"], protocols=["9-point", "3-point"])
    sources = from_words([f"a={folder}"])
    (one,) = read_sets(sources).sets
    assert (one.list_name, one.framing, one.protocol) == ("long", "jittered", "9-point")
    (one,) = read_sets(sources, list_name="paper", protocol="3-point").sets
    assert (one.list_name, len(one.first.landmarks)) == ("paper", 3)
    (one,) = read_sets(from_words([f"a={write(tmp_path / 'b', records(0), lists=['test'])}"])).sets
    assert one.list_name == "test"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"list_name": "paper"}, "no set paper/jittered/9-point of all of a .found: human.dog/long/jittered/9-point"),
        ({"pairs": ["human+cat"]}, r"human\+cat: in no test"),
        ({"protocol": "5-point"}, "unknown protocol"),
    ],
)
def test_a_set_that_is_not_there_is_told_in_one_line(tmp_path, asked, message):
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        read_sets(from_words([f"a={write(tmp_path, records(0))}"]), **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["folder", "=folder", "name="])
def test_a_word_that_names_no_folder_is_refused(word):
    with pytest.raises(ConfigError, match="expected name=folder"):
        from_words([word])


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path)


def test_each_kind_of_pair_is_taken_from_the_model_of_its_first_column(table):
    plan, runs = table
    left_out = []
    sources = from_plan(plan, runs, None, left_out)
    assert left_out == []
    found = [(test.folder.relative_to(runs).parts[0], test.pairs, test.seed) for test in sources["dife"]]
    assert found == [
        ("dife-m-seed0", ("human+dog",), 0),
        ("dife-m-seed2", ("human+dog",), 2),
        ("dife-n-seed0", ("human+cat",), 0),
    ]
    assert {test.model for test in sources["copy-xy"]} == {"CopyXY"}
    assert {test.model for test in sources["teacher"]} == {"world/teacher"}
    sets = {one.pair: one for one in read_sets(sources).sets}
    assert list(sets) == ["human+dog", "human+cat"]
    assert [len(sets[pair].tables["dife"]) for pair in sets] == [2, 1]


def test_the_newest_test_of_a_run_counts(table):
    plan, runs = table
    old = write(runs / "copy-xy/eval/human+dog", records(7))
    os.utime(old / "predictions.csv", (1, 1))
    assert {test.folder.name for test in from_plan(plan, runs, ["copy-xy"], [])["copy-xy"]} == {"human+dog_human+cat"}
    os.utime(old / "predictions.csv", (2**32, 2**32))
    assert from_plan(plan, runs, ["copy-xy"], [])["copy-xy"][0].folder == old


def test_a_row_that_was_tested_on_some_of_the_pairs_is_left_out_unless_it_is_asked_for(table):
    plan, runs = table
    slow = replace(plan, rows=tuple(replace(row, first=3 if row.test == "CopyXY" else None) for row in plan.rows))
    left_out = []
    assert list(from_plan(slow, runs, None, left_out)) == ["teacher", "dife"]
    assert left_out == ["copy-xy: tested only on the first 3 pairs of each list"]
    assert list(from_plan(slow, runs, ["copy-xy"], [])) == ["copy-xy"]


def test_missing_runs_are_told(table, tmp_path):
    plan, runs = table
    (runs / "teacher").rename(tmp_path / "away")
    left_out = []
    assert list(from_plan(plan, runs, None, left_out)) == ["copy-xy", "dife"]
    assert left_out == [f"teacher: no test in {runs}"]
    with pytest.raises(DataError, match="no test of 'teacher'"):
        from_plan(plan, runs, ["teacher"], [])
    with pytest.raises(ConfigError, match=r"no row 'dive' in the table\. Did you mean 'dife'"):
        from_plan(plan, runs, ["dive"], [])
