from __future__ import annotations

import time

import pytest
import torch

from dife_lightning.running.precision import probe_precision, time_convolution
from dife_lightning.running.trainer import DifeTrainer


@pytest.mark.parametrize(
    ("bf16", "expected"), [(0.1, "bf16-mixed"), (0.95, "32-true"), (1.0, "32-true"), (9.0, "32-true")]
)
def test_bf16_is_chosen_only_where_it_is_clearly_faster(bf16, expected):
    choice = probe_precision(lambda dtype: bf16 if dtype == torch.bfloat16 else 1.0)
    assert choice.name == expected
    assert f"{1 / bf16:.1f}x" in choice.reason


def test_the_probe_takes_about_a_second_and_no_random_numbers():
    state = torch.get_rng_state()
    start = time.perf_counter()
    assert probe_precision(time_convolution).name in ("bf16-mixed", "32-true")
    assert time.perf_counter() - start < 5
    assert torch.equal(torch.get_rng_state(), state)


def test_the_trainer_takes_auto_from_python_too(monkeypatch):
    from dife_lightning.running import trainer as module
    from dife_lightning.running.precision import PrecisionChoice

    monkeypatch.setattr(module, "probe_precision", lambda: PrecisionChoice("bf16-mixed", ""))
    trainer = DifeTrainer(precision="auto", accelerator="cpu", logger=False, enable_checkpointing=False)
    assert trainer.precision == "bf16-mixed"
