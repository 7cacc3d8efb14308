from __future__ import annotations

import torch

from dife_lightning.metrics.keypoint_transfer import Records
from dife_lightning.metrics.predictions import COLUMNS, prediction_rows, read_predictions, write_predictions

UNITS = [("human/ann", "dog/a.jpg"), ("human/ann", "dog/b.jpg"), ("human/bob", "dog/a.jpg")]


def rows(units, order=(0, 1, 2)):
    index = torch.tensor(order)
    count = len(order)
    truth, visible = torch.rand(count, 12, 2) * 60, torch.ones(count, 12, dtype=torch.bool)
    records = Records(index, truth + 1, truth, visible, torch.full((count,), 64.0), torch.zeros(count, 12))
    ids = {i: f"pair {i}" for i in order}
    return prediction_rows(records, ids, "human+dog", "long", "plain", ["3-point"], units)


def test_units_come_back_with_their_pairs(tmp_path):
    write_predictions(tmp_path / "p.csv", rows(UNITS, (2, 0, 1)))
    (table,) = read_predictions(tmp_path / "p.csv").values()
    assert table.pair_ids == ("pair 2", "pair 0", "pair 1")
    assert table.units.tolist() == [list(UNITS[i]) for i in (2, 0, 1)]
    assert table.take([1, 2]).units.tolist() == [list(UNITS[0]), list(UNITS[1])]


def test_without_units_the_file_is_as_before(tmp_path):
    write_predictions(tmp_path / "p.csv", rows(None))
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    (table,) = read_predictions(tmp_path / "p.csv").values()
    assert table.units is None
    write_predictions(tmp_path / "empty.csv", [])
    assert read_predictions(tmp_path / "empty.csv") == {}
