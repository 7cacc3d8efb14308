"""A tiny world of coloured blobs whose transfer is known, and a runner for Lightning's Trainer."""

from __future__ import annotations

import lightning as L
import numpy as np
import pytest
import torch

from dife_lightning.data.pairs import KeypointPairs, PairsDataModule
from dife_lightning.methods._base import MatcherModule


class BlobFaces:
    """Faces whose nine points are drawn from the index."""

    def __init__(self, species, count=20):
        self.species, self.count = species, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng([len(self.species), index])
        return {
            "image": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8),
            "points": (rng.random((9, 2)) * 31).astype(np.float32),
            "visible": rng.random(9) > 0.1,
            "name": f"{self.species}-{index}",
        }


class BlobPairs(PairsDataModule):
    """Two kinds of pair, jittered and plain."""

    def __init__(self, batch_size=4, visible=True, **options):
        super().__init__(batch_size)
        self.visible, self.options = visible, options

    def setup(self, stage):
        self.val_sets = [self._set("human+dog", "val", "jittered", 7), self._set("dog+cat", "val", "jittered", 5)]
        self.test_sets = [self._set("human+dog", "long", f, 7) for f in ("jittered", "plain")]

    def _set(self, pair, list_name, framing, count):
        source, target = (BlobFaces(name) for name in pair.split("+"))
        indices = [(i, (i * 3 + 1) % 20) for i in range(count)]
        fixed = {"pair": pair, "list_name": list_name, "framing": framing, "list_hash": "abc", "size": 32}
        return KeypointPairs(source, target, indices, **fixed, **self.options)

    def list_hashes(self):
        return {"val": {"human+dog/val": "v"}, "test": {"human+dog/long": "abc"}}


class Offset(MatcherModule):
    """The true points, moved by ``offset`` pixels to the right (on 32-px images)."""

    def __init__(self, offset=3.0):
        super().__init__()
        self.offset = offset
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def transfer_batch(self, batch, matching=None):
        return batch.target_points + torch.tensor([self.offset, 0.0])

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def blobs():
    return BlobPairs


@pytest.fixture
def offset_matcher():
    return Offset


@pytest.fixture
def trainer(tmp_path):
    def make(*callbacks, **options):
        settings = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "default_root_dir": tmp_path,
        }
        return L.Trainer(callbacks=list(callbacks), **{**settings, **options})

    return make
