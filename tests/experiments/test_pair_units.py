"""Persons and photos of pairs on their way from a test to a table."""

from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.errors import DataError
from dife_lightning.metrics.bootstrap import ratio_interval
from dife_lightning.metrics.predictions import COLUMNS, UNIT_COLUMNS, write_predictions
from dife_lightning.utils.run_folder import PREDICTIONS, RunFolder
from experiments.common.keys import changes
from experiments.common.keys import testing_key as key_of
from experiments.common.measure import Measure
from experiments.common.pair_errors import PairErrors, decoded, difference, joined, mean_of, read_errors
from experiments.tables.records import RunRecord, _described

ONE = np.array([["ann", "a"], ["ann", "b"], ["bob", "a"], ["cid", "b"]])
OTHER = np.array([["ann", "x"], ["dan", "y"], ["eve", "z"], ["fay", "w"]])
COUNTS = np.full(4, 3, dtype=np.int64)


def errors(seed, units):
    return PairErrors(np.random.default_rng(seed).uniform(5, 30, 4).round(1), COUNTS, units)


def test_intervals_and_differences_are_over_photos_where_they_repeat():
    a, b = errors(0, ONE), errors(1, ONE)
    assert a.interval() == ratio_interval(a.sums, a.counts, units=ONE) != ratio_interval(a.sums, a.counts)
    assert difference(a, b)[1] == ratio_interval(a.sums - b.sums, a.counts, units=ONE)
    assert a.over() == {"interval": "photos"}
    assert errors(0, None).over() == {}
    assert mean_of([a, b]).units is a.units


def test_persons_who_are_in_two_kinds_of_pair_are_drawn_once_for_both():
    assert errors(0, OTHER).over() == {}  # alone, nobody is in two pairs
    both = joined([errors(0, OTHER), errors(1, OTHER[:, [0, 1]])])
    assert both.over() == {"interval": "photos"}
    assert both.units.tolist() == [*OTHER.tolist(), *OTHER.tolist()]
    assert joined([errors(0, OTHER), errors(1, None)]).units is None


def test_records_hold_the_units_and_no_names(tmp_path):
    point = ("3-point", "nose", "1", "1", "2", "2", "7.5", "1")
    lines = [(f"{a}>{b}", "human+dog", "long", "plain", *point, a, b) for a, b in ONE]
    assert len(lines[0]) == len(COLUMNS + UNIT_COLUMNS)
    write_predictions(tmp_path / PREDICTIONS, lines)
    (found,) = read_errors(tmp_path, Measure(lists=["paper", "long"])).values()
    entry = found.encoded()
    assert not any(name in entry["units"] for name in ("ann", "bob", "cid"))
    again = decoded(entry)
    assert again.units.tolist() == found.units.tolist()
    assert again.interval() == found.interval()
    with pytest.raises(DataError, match="damaged record"):
        decoded(entry | {"units": "abc def"})


def test_two_tests_with_other_persons_are_not_compared():
    with pytest.raises(DataError, match="differ in their pairs"):
        difference(errors(0, ONE), errors(1, OTHER))


DOMAINS = {name: {"dataset": "folder", "root": name, "options": {"file": "test.csv"}} for name in ("human", "dog")}
PHOTOS = {"domains": DOMAINS, "repeat": True, "size": 64}


def test_a_plan_on_photographs_says_lists_and_framings():
    measure = Measure(data="FacePairs", arguments=PHOTOS, lists=["paper", "long"], framings=["jittered", "plain"])
    data = measure.pairs(["human+dog"], None)
    assert (data.lists.names, data.lists.repeat) == (("paper", "long"), True)
    assert data.framings == {"test": ("jittered", "plain"), "val": ("plain",)}
    one = Measure(data="FacePairs", arguments=PHOTOS, lists=["mine"], framings=["plain"]).pairs(["human+dog"], 20)
    assert (one.lists.names, one.lists.count) == (("",), 20)


def test_a_test_of_other_images_is_made_anew():
    hashes = {"human+dog/paper": "abc"}

    def key(**changes):
        given = {"data": "FacePairs", "arguments": PHOTOS, "framings": ["plain"], **changes}
        return key_of(None, {}, hashes, {}, None, Measure(**given).images())

    elsewhere = {name: domain | {"root": "/other"} for name, domain in DOMAINS.items()}
    assert not changes(key(), key(arguments=PHOTOS | {"domains": elsewhere}))
    assert changes(key(), key(framings=["jittered", "plain"])) == ["data.framings"]
    assert changes(key(), key(arguments=PHOTOS | {"crop": {"factor": 3.5}})) == ["data.crop"]
    world = key_of(None, {}, hashes, {}, None, Measure().images())
    assert world == key_of(None, {}, hashes, {}, None, {})


def test_a_record_holds_the_units_of_a_list_once(tmp_path):
    point = ("3-point", "nose", "1", "1", "2", "2", "7.5", "1")
    lines = [
        (f"{a}>{b}", "human+dog", name, framing, *point, f"human/{a}", f"dog/{b}")
        for name, pairs in (("paper", OTHER), ("long", ONE))
        for framing in ("jittered", "plain")
        for a, b in pairs
    ]
    tested = tmp_path / "runs" / "copy-xy" / "eval" / "human+dog"
    tested.mkdir(parents=True)
    write_predictions(tested / PREDICTIONS, lines)
    (tested / "metrics.json").write_text("{}")
    (tested / "cell.json").write_text('{"key": {"lists": {}}}')
    measure = Measure(data="FacePairs", lists=["paper", "long"], protocols=["3-point"])
    content = _described(RunFolder.at(tmp_path / "runs" / "copy-xy"), tested, measure)
    assert set(content["units"]) == {"human+dog/paper", "human+dog/long"}
    errors = RunRecord(tmp_path / "a.json", content).errors()
    assert list(errors) == list(read_errors(tested, measure))
    for key, found in read_errors(tested, measure).items():
        assert errors[key].units.tolist() == found.units.tolist()
        assert errors[key].interval() == found.interval()
