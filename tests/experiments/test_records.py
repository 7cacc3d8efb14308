"""Records of runs: what is read back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dife_lightning.errors import DataError
from experiments.common.pair_errors import PairErrors, decoded
from experiments.tables.records import find_record

WHOLE = {"errors": {"human+dog/long/plain/9-point": {"sums": "1.5 2.0", "points": "12"}}, "cell": {"key": {"a": 1}}}


def written(folder, content):
    path = folder / "runs/one.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_record_is_read_and_a_missing_one_is_none(tmp_path):
    record = find_record(written(tmp_path, WHOLE), "one")
    (errors,) = record.errors().values()
    assert (errors.sums.tolist(), errors.counts.tolist()) == ([1.5, 2.0], [1, 2])
    assert record.test_key == {"a": 1}
    assert find_record(tmp_path, "two") is None
    assert find_record(None, "one") is None


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"errors": {', "Expecting"),
        ("[]", "no 'errors'"),
        (WHOLE | {"errors": {}}, "empty 'errors'"),
        (WHOLE | {"cell": {"key": {}}}, "an empty 'key'"),
        (WHOLE | {"cell": {}}, "no 'key'"),
        ({"errors": {}, "cell": {"key": {}}}, "empty 'errors'"),
    ],
)
def test_a_damaged_record_is_told_in_one_line(tmp_path, content, found):
    with pytest.raises(
        DataError, match=f"one.json is not the record of a run \\({found}.*restore it from version control"
    ) as raised:
        find_record(written(tmp_path, content), "one")
    assert len(str(raised.value).splitlines()) == 1


def test_counts_of_twelve_points_are_read_back_as_they_were():
    counts = [12, 9, 10, 0, 12]
    entry = PairErrors(np.arange(5.0), np.array(counts)).encoded()
    assert entry["points"] == "12 9 10 0 12"
    assert decoded(entry).counts.tolist() == counts
    one = PairErrors(np.array([3.5]), np.array([12])).encoded()
    assert decoded(one).counts.tolist() == [12]
    assert PairErrors(np.arange(3.0), np.array([9, 3, 0])).encoded()["points"] == "930"  # as records always had them


def test_older_records_are_read_as_before():
    assert decoded({"sums": "1.0 2.0 3.0", "points": "390"}).counts.tolist() == [3, 9, 0]
    assert decoded({"sums": "1.0", "points": "7"}).counts.tolist() == [7]
    with pytest.raises(DataError, match="damaged record"):
        decoded({"sums": "1.0 2.0 3.0", "points": "39"})
