"""A training step of the paper's size beside others' and the doctor's estimate; generators and exploration."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml

from dife_lightning.cli.doctor.steps import try_steps
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.pretrained.generators import save_generator
from experiments.bench.cases import TAPS, exploration_case, generator_case
from experiments.bench.timing import FP32, Conditions
from experiments.common.jobs import fit_words
from experiments.gpu_check.composition import time_composition
from experiments.gpu_check.setting import Setting

#: The paper's networks, losses and weights for human and dog.
PAPER = "paper/human_dog"
#: Channels of config F at 4 to 256 px.
CHANNELS, SMALL_CHANNELS = (512, 512, 512, 512, 512, 256, 128), (8, 8, 8, 8)
#: Steps of the warm-up, and between two syntheses of pairs, of which the matching stage has two.
STEPS, SMALL_STEPS = (25, 20), (2, 2)
#: Steps of each exploration; none ends early.
EXPLORATION, SMALL_EXPLORATION = 100, 2
#: Images at once on a GPU; it is idle most of the time with fewer.
BATCH = 16
T = TypeVar("T")


def paper_step(setting: Setting, precision: str) -> dict[str, Any]:
    """Train some steps of the paper's size, 12 images of 96 px, in fp32 and in another precision.

    Generators have random weights, and the world's teacher takes CSE's place: neither changes the time of a step much.

    Returns:
        ``ours``: for each precision, milliseconds of a step of each stage, with and without the pairs, and peak memory
        in bytes; ``composition``: the same of the public code's composition; ``doctor``: the estimate of `dife doctor`
        from fewer steps in ``precision``; ``period`` and ``exploration``: steps between two syntheses of pairs, and of
        each exploration.
    """
    config, (warmup, period) = write_paper_config(setting), SMALL_STEPS if setting.small else STEPS
    total, ours, doctor = warmup + 2 * period, {}, {}
    for name in dict.fromkeys((FP32, precision)):
        words = [*setting.trainer_words(name), f"--trainer.max_steps={total}", "--trainer.limit_val_batches=0"]
        staged = [*words, f"--model.init_args.warmup_steps={warmup}"]
        ours[name] = setting.timed_fit(str(config), setting.run(f"paper-{name}"), staged, warmup, period)
    for stage, steps in {"warmup": 10**6, "matching": 0}.items():
        asked = fit_words(str(config), 0, [*words, f"--model.init_args.warmup_steps={steps}"])
        doctor[stage] = _in_new_process(functools.partial(try_steps, asked))
    estimate = {f"{stage}_ms": 1000 * measured.step for stage, measured in doctor.items()}
    plain = functools.partial(time_composition, str(config), warmup, total, setting.device)
    return {
        "precision": precision,
        "ours": ours,
        "composition": _in_new_process(plain),
        "doctor": {**estimate, "memory": max(measured.memory for measured in doctor.values())},
        "period": period,
        "exploration": SMALL_EXPLORATION if setting.small else EXPLORATION,
    }


def _in_new_process(call: Callable[[], T]) -> T:
    """Measure in a process of its own, because peak memory is that of a process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call).result()


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
    model["pairs"] = {"refresh_every": (SMALL_STEPS if setting.small else STEPS)[1]}
    model["exploration"] = {"steps": SMALL_EXPLORATION if setting.small else EXPLORATION, "patience": 0}
    model["share_every"] = 0
    if setting.small:
        model |= {
            "domains": dict.fromkeys(generators, SMALL_CHANNELS[-1]),
            "layer": 3,
            "size": 32,
            "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4},
            "converter": {"hidden": 8, "groups": 4, "kernel": 3},
            "matching_loss": {"side": 16},
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
