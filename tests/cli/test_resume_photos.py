"""Two processes that train with photos beside the samples, stop and go on: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.checks.kills import differences
from tests.cli.test_resume import config, words  # noqa: F401
from tests.running.test_locks import TWO, dife

pytestmark = pytest.mark.slow


def test_two_processes_with_photos_go_on_with_the_bits_of_two_left_alone(config: Path) -> None:  # noqa: F811
    for seed, domain in enumerate(("human", "dog")):
        folder = config.parent / "photos" / domain
        folder.mkdir(parents=True)
        for k in range(7):
            pixels = np.random.default_rng([seed, k]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.png")
    photos = ("--data.init_args.photos.folder", str(config.parent / "photos"))
    dife(*words(config, "whole-two", *TWO, *photos))
    dife(*words(config, "short-two", *TWO, *photos, "--trainer.max_steps=5"))
    place = ("--runs_root", str(config.parent), "--run", "short-two")
    dife("fit", *place, "--ckpt_path", "last", "--trust_run", "--trainer.max_steps=12")
    runs = (config.parent / f"{name}-two/checkpoints/last.ckpt" for name in ("whole", "short"))
    whole, short = map(read_checkpoint, runs)
    assert whole["global_step"] == 12
    assert not differences(whole, short)
