"""The tests behind a table: embeddings of one network at a time, and rows that may be missing."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import dife_lightning as dl
from dife_lightning.errors import AssetError
from experiments.tables import testing


def test_the_embeddings_of_a_network_go_with_it(monkeypatch):
    monkeypatch.setattr(testing, "_module", lambda row, training: (dl.load("photos/dife"), None))
    networks, images = testing.Networks(), torch.zeros(1, 3, 64, 64)
    cells: Any = [SimpleNamespace(network=name, row=None, training=None) for name in "aab"]
    gc.disable()
    try:
        first, again = (networks.get(cell)[0] for cell in cells[:2])
        expected, kept = first.embed(images), weakref.ref(first.embed)
        assert again is first
        assert isinstance(kept(), testing.EmbeddedOnce)
        assert networks.get(cells[2])[0] is not first
        assert kept() is None
    finally:
        gc.enable()
    torch.testing.assert_close(first.embed(images), expected)


def test_an_optional_row_whose_training_cannot_be_looked_up_is_left_out_and_another_is_not(monkeypatch):
    """A record may be there without the teacher that its settings name."""

    def missing(*_: Any) -> None:
        raise AssetError("no entry for 'own/teacher'")

    monkeypatch.setattr(testing, "_available", missing)
    monkeypatch.setattr(testing, "_leave_out_missing", lambda *_: None)
    row = SimpleNamespace(name="free", trained=True, optional=True)
    plan = SimpleNamespace(rows=[row], models=lambda _: {"human_dog": ["human+dog"]})
    workspace: Any = SimpleNamespace(plan=plan, seeds=[0])
    assert testing.test_all(workspace) == ({}, {"free": "no entry for 'own/teacher'"})
    row.optional = False
    with pytest.raises(AssetError):
        testing.test_all(workspace)
