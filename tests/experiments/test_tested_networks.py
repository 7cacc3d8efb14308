"""The networks behind a table: each is loaded once, and its embeddings go before those of the next are kept."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import torch

import dife_lightning as dl
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
