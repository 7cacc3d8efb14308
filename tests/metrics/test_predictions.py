from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from dife_lightning.errors import DataError
from dife_lightning.metrics.keypoint_transfer import Records, score_records
from dife_lightning.metrics.predictions import COLUMNS, align, prediction_rows, read_predictions, write_predictions

NAMES = {i: f"human-{i}>dog-{9 - i}" for i in range(5)}


@pytest.fixture
def records() -> Records:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(5, 12, 2, generator=generator) * 64
    predicted = truth + torch.randn(5, 12, 2, generator=generator) * 5
    visible = torch.rand(5, 12, generator=generator) > 0.2
    return Records(torch.arange(5), predicted, truth, visible, torch.full((5,), 64.0), torch.zeros(visible.shape))


def write(path, records):
    protocols = ["9-point", "3-point"]
    write_predictions(path, prediction_rows(records, NAMES, "human+dog", "long", "jittered", protocols))
    return read_predictions(path)


def test_every_number_can_be_recomputed_from_the_file(tmp_path, records):
    write(tmp_path / "p.csv", records)
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 5 * 12
    for protocol in ("9-point", "3-point"):
        errors = [
            np.hypot(float(r["truth_x"]) - float(r["predicted_x"]), float(r["truth_y"]) - float(r["predicted_y"]))
            for r in rows
            if r["protocol"] == protocol and r["visible"] == "1"
        ]
        expected = score_records(records, protocol).pixel_error
        assert np.mean(errors) * 70 / 64 == pytest.approx(expected, abs=1e-3)


def test_read_tables_hold_the_written_errors(tmp_path, records):
    tables = write(tmp_path / "p.csv", records)
    assert set(tables) == {("human+dog", "long", "jittered", p) for p in ("9-point", "3-point")}
    table = tables["human+dog", "long", "jittered", "9-point"]
    assert table.pair_ids == tuple(NAMES.values())
    np.testing.assert_array_equal(table.visible, records.visible[:, :9].numpy())
    assert table.pixel_error == pytest.approx(score_records(records, "9-point").pixel_error, abs=1e-5)


def test_tables_are_aligned_by_pair_and_not_by_row(tmp_path, records):
    a = write(tmp_path / "a.csv", records)["human+dog", "long", "jittered", "9-point"]
    flipped = Records(*(value.flip(0) for value in vars(records).values()))
    b = write(tmp_path / "b.csv", flipped)["human+dog", "long", "jittered", "9-point"]
    assert a.pair_ids != b.pair_ids
    errors_a, errors_b, _ = align(a, b)
    np.testing.assert_array_equal(errors_a, errors_b)


def test_tables_of_other_pairs_or_points_are_not_compared(tmp_path, records):
    tables = write(tmp_path / "p.csv", records)
    nine, three = (tables["human+dog", "long", "jittered", p] for p in ("9-point", "3-point"))
    with pytest.raises(DataError, match="different pairs or landmarks"):
        align(nine, three)


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(DataError, match="run `dife test` first"):
        read_predictions(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="has no column"):
        read_predictions(tmp_path / "x.csv")


def test_read_tables_hold_the_written_points(tmp_path, records):
    table = write(tmp_path / "p.csv", records)["human+dog", "long", "jittered", "3-point"]
    np.testing.assert_allclose(table.truth, records.truth[:, 9:].numpy(), atol=1e-4)
    np.testing.assert_allclose(table.predicted, records.predicted[:, 9:].numpy(), atol=1e-4)
    part = table.take([3, 1])
    assert part.pair_ids == (NAMES[3], NAMES[1])
    for name in ("errors", "visible", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(part, name), getattr(table, name)[[3, 1]])


def damage(path, records, old, new):
    write(path, records)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_damaged_file_is_told_by_its_line(tmp_path, records):
    path = tmp_path / "p.csv"
    write(path, records)
    lines = path.read_text().splitlines()
    assert "p.csv, line 5: not a row of predictions" in damage(path, records, lines[4], lines[4][:-20])
    assert "line 3: not a row of predictions" in damage(
        path, records, lines[2], lines[2].replace("nose", "nose").replace(".", "x")
    )
    assert "line 2: not a row" in damage(path, records, lines[1], lines[1][:-1] + "7")
    assert "8 of 9 landmarks of human-0>dog-9" in damage(path, records, lines[5] + "\n", "")
    path.write_bytes(b"\xff\xfe" + path.read_bytes())
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_predictions(path)


def test_a_visible_point_must_be_a_number_and_a_hidden_one_need_not(tmp_path, records):
    rows = [("a>b", "human+dog", "long", "plain", "3-point", "nose", *["nan"] * 5, seen) for seen in (0, 1)]
    write_predictions(tmp_path / "hidden.csv", rows[:1])
    (table,) = read_predictions(tmp_path / "hidden.csv").values()
    assert not table.visible.any()
    write_predictions(tmp_path / "seen.csv", rows[1:])
    with pytest.raises(DataError, match="line 2: a visible point is not finite"):
        read_predictions(tmp_path / "seen.csv")
