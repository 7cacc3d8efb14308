"""Records of runs: what is read back, and what is refused."""

from __future__ import annotations

import json

import pytest

from dife_lightning.errors import DataError
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
