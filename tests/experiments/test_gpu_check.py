"""The check for owners of a GPU: its verdicts and table from made-up figures, and all of it in a small form."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import yaml

from dife_lightning.cli.main import main as dife
from dife_lightning.running.configs import load_config
from dife_lightning.utils.run_folder import RunFolder
from experiments.checks import kills
from experiments.common import commands
from experiments.common.jobs import place_words
from experiments.gpu_check import __main__ as gpu_check
from experiments.gpu_check import fits, report, speeds
from experiments.gpu_check.setting import Setting, stage_times, typical
from tests.experiments.tiny_config import write_config


def a_fit(error: float, seconds: float, **more: Any) -> dict[str, Any]:
    steps = {"warmup_ms": 20.04, "matching_ms": 30.0, "training_seconds": seconds, "memory": 1e9}
    return {**steps, "pixel_error": error, "ci95": [error - 0.3, error + 0.4], **more}


SPEEDS = {"generator-64": 1234.5, "generator-256": 100.0, "exploration-256": 33.3}
RESULTS: dict[str, Any] = {
    "device": "A GPU",
    "fits": {
        "32-true": a_fit(6.5, 60.0),
        "bf16-mixed": a_fit(6.75, 40.0),
        "16-mixed": a_fit(
            6.3, 30.0, scaler={"used": True, "stuck": False, "scale": 32768.0, "skipped": 1, "growth_tracker": 3}
        ),
    },
    "throughput": dict.fromkeys(("32-true", "bf16-mixed", "16-mixed"), SPEEDS),
    "paper_step": {
        "precision": "bf16-mixed",
        "ours": {
            "32-true": {"warmup_ms": 160.0, "matching_ms": 200.0, "with_pairs_ms": 400.0, "memory": 12e9},
            "bf16-mixed": {"warmup_ms": 85.2, "matching_ms": 120.0, "with_pairs_ms": 300.0, "memory": 8e9},
        },
        "composition": {"warmup_ms": 213.0, "matching_ms": 190.0, "with_pairs_ms": 600.0, "memory": 16.04e9},
        "doctor": {"warmup_ms": 90.0, "matching_ms": 119.0, "memory": 7.6e9},
        "period": 20,
        "exploration": 100,
    },
    "resume": {"killed_at": 10, "difference": 2e-5, "repeated": 1e-5, "equal": True},
}  # fmt: skip

TABLE = """\
| A GPU | fp32 | bf16 | fp16 |
| --- | ---: | ---: | ---: |
| error of a short fit, px [95 %] | 6.50 [6.20, 6.90] | 6.75 [6.45, 7.15] | 6.30 [6.00, 6.70] |
| step of the warm-up, ms | 20.0 | 20.0 | 20.0 |
| step of the matching stage, ms | 30.0 | 30.0 | 30.0 |
| speed of the training, fp32 = 1 | 1.00 | 1.50 | 2.00 |
| gradient scale at the end |  |  | 32,768, 1 step skipped |
| generator at 64 px, images/s | 1,234 | 1,234 | 1,234 |
| generator at 256 px, images/s | 100 | 100 | 100 |
| a step of exploration at 256 px, images/s | 33 | 33 | 33 |

A step of the paper's size (12 images of 96 px, 256-px generators, bf16): warm-up 85 ms (doctor: 90), matching 120 ms \
(doctor: 119); 8.0 GB of memory (doctor: 7.6).

| the same step | plain composition, fp32 | fp32 | bf16 |
| --- | ---: | ---: | ---: |
| warm-up, ms | 213 | 160 | 85 |
| matching with its pairs, ms | 600 | 400 | 300 |
| peak memory, GB | 16.0 | 12.0 | 8.0 |
| warm-up, times as fast | 1.00 | 1.33 | 2.50 |
| matching with its pairs, times as fast | 1.00 | 1.50 | 2.00 |

The plain composition does the public code's work in its order, with the same networks and standard PyTorch operators. \
Everywhere new pairs are made every 20 steps, with 100 steps of exploration.

- ✓ bf16: error 6.75 px within fp32's interval 6.20 to 6.90
- ✓ fp16: error 6.30 px within fp32's interval 6.20 to 6.90
- ✓ fp16: the gradient scaler is used and not stuck (32,768, 1 step skipped)
- ✓ paper-size step: the doctor's estimate is 0.95 times the peak memory
- ✓ paper-size step, fp32: no slower than the plain composition in fp32 (warm-up 1.33 times as fast, \
matching with its pairs 1.50 times as fast)
- ✓ paper-size step, bf16: no slower than the plain composition in fp32 (warm-up 2.50 times as fast, \
matching with its pairs 2.00 times as fast)
- ✓ resume: weights differ by 2.0e-05, those of two whole runs by 1.0e-05
"""


def test_the_table():
    assert report.markdown(RESULTS) == TABLE
    assert report.markdown({**RESULTS, "small": True}).endswith(f"these numbers mean nothing.\n\n{TABLE}")


def test_each_fault_fails_its_own_verdict():
    faults = [
        (("fits", "bf16-mixed", "pixel_error"), 6.91),
        (("fits", "16-mixed", "pixel_error"), math.nan),
        (("fits", "16-mixed", "scaler", "stuck"), True),
        (("paper_step", "doctor", "memory"), 6e9),
        (("paper_step", "ours", "32-true", "warmup_ms"), 213.1),
        (("paper_step", "ours", "bf16-mixed", "with_pairs_ms"), 601.0),
        (("resume", "equal"), False),
    ]
    for number, (keys, value) in enumerate(faults):
        results: Any = copy.deepcopy(RESULTS)
        place = results
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        assert [goal.met for goal in report.verdicts(results)] == [i != number for i in range(len(faults))]


@pytest.mark.parametrize(
    ("skips", "good", "stuck"),
    [(0, 50, False), (2, 48, False), (10, 90, True), (1, 0, True)],
)
def test_the_scale_of_pytorchs_scaler_counts_the_skipped_steps(skips, good, stuck):
    weight = torch.nn.Parameter(torch.ones(1))
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD([weight], lr=0.0)
    for step in range(skips + good):
        weight.grad = torch.full_like(weight, math.inf if step < skips else 1.0)
        scaler.scale(torch.zeros(1))  # initialises it
        scaler.step(optimizer)
        scaler.update()
    found = fits.read_scaler({"MixedPrecision": scaler.state_dict()}, skips + good)
    assert (found["used"], found["skipped"], found["scale"]) == (True, skips, 65536 / 2**skips)
    assert found["stuck"] == stuck


def test_a_training_without_a_scaler_is_noticed():
    assert not fits.read_scaler({}, 100)["used"]


def test_the_distance_of_weights_is_relative():
    left = {"a": torch.tensor([3.0, 4.0]), "count": torch.tensor(3)}
    assert fits.distance(left, {"a": torch.tensor([3.0, 4.5]), "count": torch.tensor(7)}) == pytest.approx(0.1)
    assert fits.distance(left, left) == 0


def test_the_first_steps_are_not_timed():
    assert typical([9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0]) == 2.0
    assert typical([9.0, 1.0, 2.0]) == 2.0


def test_the_last_period_has_its_share_of_the_pairs():
    warmup, first, last = [1.0] * 4, [8.0, 2.0], [5.0, 3.0]
    found = stage_times([*warmup, *first, *last], warmup=4, period=2)
    assert found == {"warmup_ms": 1000, "matching_ms": 4000, "with_pairs_ms": 4000}
    assert stage_times([1.0, 3.0], warmup=1) == {"warmup_ms": 1000, "matching_ms": 3000}


def test_the_paper_size_step_has_the_papers_networks(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(speeds, "save_generator", lambda network, path: saved.append(network.architecture))
    monkeypatch.setattr(speeds, "CHANNELS", (4,) * 7)  # 256 px; the true width takes seconds to draw
    content = load_config(str(speeds.write_paper_config(Setting(tmp_path, small=False))))
    assert [one.resolution for one in saved] == [256, 256]
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    assert model["encoder"] == {"planes": [64, 128, 128], "blocks": 4, "depth": 4, "groups": 16}
    assert (model["size"], model["layer"], data["batch_size"]) == (96, 7, 12)
    assert (model["domains"], data["evaluation"]) == ({"human": 512, "dog": 512}, None)
    assert (model["exploration"]["steps"], model["exploration"]["patience"]) == (100, 0)  # none ends early
    assert (model["pairs"]["refresh_every"], model["pairs"]["per_refresh"]) == (20, 1)


def test_without_a_gpu_the_small_form_is_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 1
    assert capsys.readouterr().err == (
        "error: there is no GPU here; add --small to see on the CPU that everything runs\n"
    )


class Ended:
    """A training that was run at once, in this process, which spares it the imports."""

    def __init__(self, config: str, words: Sequence[str], run: RunFolder) -> None:
        resume = run.last_checkpoint.is_file()
        start = ["--ckpt_path", "last"] if resume else ["--config", config, "--config", "trainer/cpu", *words]
        self.args = ["fit", *start, *place_words(run, overwrite=not resume)]
        self.code = dife(self.args)

    def wait(self) -> int:
        return self.code


def start_fit(config: str, words: Sequence[str], run: RunFolder) -> Any:
    """Start the training that is to be killed in a process, and run the others in this one."""
    killed = run.name == "resume-killed" and not run.last_checkpoint.is_file()
    return kills.start_fit(config, words, run) if killed else Ended(config, words, run)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_everything_runs_on_a_cpu_in_the_small_form(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load(write_config(tmp_path).read_text())
    (tmp_path / "faces.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(fits, "CONFIG", "faces.yaml")
    monkeypatch.setattr(fits, "start_fit", start_fit)
    monkeypatch.setattr(commands, "call", lambda words: float(dife(words)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--small"]) == 0
    found = json.loads((tmp_path / "results/gpu_check.json").read_text())
    assert list(found["fits"]) == ["32-true", "bf16-mixed"]
    assert all(fit["warmup_ms"] > 0 and fit["matching_ms"] > 0 for fit in found["fits"].values())
    assert found["resume"] == {"killed_at": found["resume"]["killed_at"], "difference": 0, "repeated": 0, "equal": True}
    assert 0 < found["resume"]["killed_at"] < 24
    paper = found["paper_step"]
    assert (list(paper["ours"]), paper["doctor"]["memory"] > 0) == (["32-true", "bf16-mixed"], True)
    for timed in (paper["composition"], *paper["ours"].values()):
        assert all(timed[name] > 0 for name in ("warmup_ms", "matching_ms", "with_pairs_ms", "memory"))
    assert (tmp_path / "results/gpu_check.md").read_text() in capfd.readouterr().out
