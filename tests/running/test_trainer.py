from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dife_lightning.errors import TrainingError
from dife_lightning.running.trainer import AtomicCheckpointIO, first_non_finite


def test_an_interrupted_save_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)

    def half(content, target):
        target.write_bytes(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    says = r"cannot write .*last.ckpt at step \? \(disk full\); existing files are unchanged"
    with pytest.raises(TrainingError, match=says):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"a": torch.zeros(3)}}, path)
    assert torch.load(path, weights_only=True)["state_dict"]["a"].tolist() == [1, 1, 1]
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(TrainingError, match=r"'b' is not finite at step 12"):
        AtomicCheckpointIO().save_checkpoint(
            {"state_dict": {"a": torch.ones(1), "b": torch.tensor([float("nan")])}, "global_step": 12}, path
        )
    assert not path.exists()


def test_integers_and_other_values_count_as_finite():
    assert first_non_finite({"steps": torch.tensor(3), "name": "x", "flag": torch.tensor(True)}) is None
    assert first_non_finite({"a": torch.tensor([1.0, float("-inf")])}) == "a"


def test_freed_memory_is_kept_with_glibc():
    """Tensors of 64 MiB, one after the other: without the setting each is fetched page by page."""
    code = "import platform, resource, torch\n" + (
        "from dife_lightning.running.trainer import DifeTrainer\n"
        "DifeTrainer(accelerator='cpu', logger=False, enable_checkpointing=False)\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): torch.ones(1 << 24)\n"
        "before = faults()\n"
        "for _ in range(10): torch.ones(1 << 24)\n"
        "print(platform.libc_ver()[0], faults() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    library, faults = done.stdout.split()[-2:]
    if library != "glibc":
        pytest.skip("the C library is not glibc")
    assert int(faults) < 1000  # 163,840 pages otherwise
