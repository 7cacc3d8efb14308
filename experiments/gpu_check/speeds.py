"""A training step of the paper's size beside the doctor's estimate, and the speed of generators and exploration."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml

from dife_lightning.cli.doctor.steps import Measured, try_steps
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.pretrained.generators import save_generator
from experiments.bench.cases import TAPS, exploration_case, generator_case
from experiments.bench.timing import Conditions
from experiments.common.jobs import fit_words
from experiments.gpu_check.setting import Setting

#: The paper's networks, losses and weights for human and dog.
PAPER = "paper/human_dog"
#: Channels of config F at 4 to 256 px.
CHANNELS, SMALL_CHANNELS = (512, 512, 512, 512, 512, 256, 128), (8, 8, 8, 8)
#: Steps of the warm-up, and of both stages together.
STEPS, SMALL_STEPS = (25, 50), (2, 4)
#: Images at once on a GPU; it is idle most of the time with fewer.
BATCH = 16


def paper_step(setting: Setting, precision: str) -> dict[str, Any]:
    """Train some steps of the paper's size, 12 images of 96 px, beside the doctor's estimate from fewer of them.

    Generators have random weights, and the world's teacher takes CSE's place: neither changes the time of a step much.

    Returns:
        Milliseconds of a step of each stage and peak memory in bytes, measured and, as ``doctor``, estimated.
    """
    config, (warmup, total) = write_paper_config(setting), SMALL_STEPS if setting.small else STEPS
    words = [*setting.trainer_words(precision), f"--trainer.max_steps={total}", "--trainer.limit_val_batches=0"]
    staged = [f"--model.init_args.warmup_steps={warmup}"]
    found = setting.timed_fit(str(config), setting.run("paper"), [*words, *staged], warmup)
    asked = {"warmup": 10**6, "matching": 0}
    doctor = {
        stage: _in_new_process(fit_words(str(config), 0, [*words, f"--model.init_args.warmup_steps={steps}"]))
        for stage, steps in asked.items()
    }
    estimate = {f"{stage}_ms": 1000 * measured.step for stage, measured in doctor.items()}
    return {**found, "doctor": {**estimate, "memory": max(measured.memory for measured in doctor.values())}}


def _in_new_process(words: list[str]) -> Measured:
    """Measure as `dife doctor` does; in a process of its own, because peak memory is that of a process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(try_steps, words).result()


def write_paper_config(setting: Setting) -> Path:
    """Write the paper's configuration with generators of random weights, without an evaluation; return its file."""
    channels = SMALL_CHANNELS if setting.small else CHANNELS
    shape: dict[str, int] = {"z_dim": 8, "w_dim": 8, "mapping_layers": 2} if setting.small else {}
    setting.work.mkdir(parents=True, exist_ok=True)
    generators = {}
    for seed, domain in enumerate(("human", "dog")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generators[domain] = str((setting.work / f"random-{domain}.safetensors").resolve())
            save_generator(StyleGAN2Generator(Architecture(channels, **shape)), generators[domain])
    model: dict[str, Any] = {"generators": generators, "teacher": "world/teacher"}
    model["optimizer"] = {"schedule": "constant"}  # the paper's waits for validations
    if setting.small:
        model |= {
            "domains": dict.fromkeys(generators, SMALL_CHANNELS[-1]),
            "layer": 3,
            "size": 32,
            "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4},
            "converter": {"hidden": 8, "groups": 4, "kernel": 3},
            "matching_loss": {"side": 16},
            "exploration": {"steps": 2},
        }
    content = {"base": PAPER, "model": {"init_args": model}, "data": {"init_args": {"evaluation": None}}}
    path = setting.work / "paper.yaml"
    path.write_text(yaml.safe_dump({**content, "trainer": {"callbacks": []}}, sort_keys=False), encoding="utf-8")
    return path


def throughput(setting: Setting, precision: str) -> dict[str, float]:
    """Return images per second of generators by their side in px, and of a step of latent exploration at 256 px."""
    count = BATCH if setting.device.type == "cuda" else 2
    conditions = Conditions(setting.device, precision, setting.small, repeats=1 if setting.small else 10, seconds=2.0)
    timings = [generator_case(conditions, side, count=count) for side in TAPS]
    timings.append(exploration_case(conditions, count=count))
    return {timing.name: float(timing.rate or 0) for (timing,) in timings}
