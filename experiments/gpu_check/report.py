"""Verdicts of the checks, and their table for the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dife_lightning.utils.notes import many
from experiments.bench.__main__ import SHORT as NAMES
from experiments.bench.__main__ import Goal
from experiments.bench.timing import FP32

#: The doctor's estimate of memory may be wrong by this share.
MEMORY_SHARE = 0.15
#: Minutes that all checks together may take on a GPU.
MINUTES = 8
#: What is compared with the plain composition, and its name.
STAGES = {"warmup_ms": "warm-up", "with_pairs_ms": "matching with its pairs"}
Results = Mapping[str, Any]


def verdicts(results: Results) -> list[Goal]:
    """Return what had to hold, and whether it did."""
    fits, found = results["fits"], []
    low, high = fits[FP32]["ci95"]
    for precision, fit in fits.items():
        if precision != FP32:
            text = (
                f"{NAMES[precision]}: error {fit['pixel_error']:.2f} px within fp32's interval {low:.2f} to {high:.2f}"
            )
            found.append(Goal(text, low <= fit["pixel_error"] <= high))
        if scaler := fit.get("scaler"):
            text = f"{NAMES[precision]}: the gradient scaler is used and not stuck ({_scaler(scaler)})"
            found.append(Goal(text, scaler["used"] and not scaler["stuck"]))
    paper, resumed = results["paper_step"], results["resume"]
    ratio = paper["doctor"]["memory"] / paper["ours"][paper["precision"]]["memory"]
    text = f"paper-size step: the doctor's estimate is {ratio:.2f} times the peak memory"
    found.append(Goal(text, abs(ratio - 1) <= MEMORY_SHARE))
    for precision, speeds in times_as_fast(paper).items():
        several = ", ".join(f"{name} {speeds[key]:.2f} times as fast" for key, name in STAGES.items())
        text = f"paper-size step, {NAMES[precision]}: no slower than the plain composition in fp32 ({several})"
        found.append(Goal(text, min(speeds.values()) >= 1))
    text = (
        f"resume: weights differ by {resumed['difference']:.1e}, those of two whole runs by {resumed['repeated']:.1e}"
    )
    return [*found, Goal(text, resumed["equal"])]


def markdown(results: Results) -> str:
    """Return the table, with the name of the device."""
    fits, speeds = results["fits"], results["throughput"]
    rows = [
        ["error of a short fit, px [95 %]", *(_error(fit) for fit in fits.values())],
        ["step of the warm-up, ms", *(f"{fit['warmup_ms']:.1f}" for fit in fits.values())],
        ["step of the matching stage, ms", *(f"{fit['matching_ms']:.1f}" for fit in fits.values())],
        ["speed of the training, fp32 = 1", *(f"{value:.2f}" for value in speed_ratios(fits).values())],
        ["gradient scale at the end", *(_scaler(fit.get("scaler")) for fit in fits.values())],
        *([label, *(f"{speeds[p][name]:,.0f}" for p in fits)] for name, label in _labels(speeds[FP32]).items()),
    ]
    head = [results["device"], *(NAMES[precision] for precision in fits)]
    lines = [head, ["---", *("---:" for _ in fits)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    marks = "\n".join(f"- {'✓' if goal.met else '✗'} {goal.text}" for goal in verdicts(results))
    if results.get("small"):
        table = f"Tiny sizes, to see that everything runs: these numbers mean nothing.\n\n{table}"
    paper = results["paper_step"]
    return f"{table}\n\n{_paper(paper)}\n\n{_composition(paper)}\n\n{marks}\n"


def speed_ratios(fits: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return how many times as fast as in fp32 the training is in each precision, pairs included."""
    return {name: fits[FP32]["training_seconds"] / fit["training_seconds"] for name, fit in fits.items()}


def _labels(names: Sequence[str] | Mapping[str, float]) -> dict[str, str]:
    """Return the name of each speed and what stands before it in the table."""
    kinds = {"generator": "generator", "exploration": "a step of exploration"}
    split = {name: name.partition("-") for name in names}
    return {name: f"{kinds[kind]} at {side} px, images/s" for name, (kind, _, side) in split.items()}


def _error(fit: Mapping[str, Any]) -> str:
    low, high = fit["ci95"]
    return f"{fit['pixel_error']:.2f} [{low:.2f}, {high:.2f}]"


def _scaler(scaler: Mapping[str, Any] | None) -> str:
    if scaler is None:
        return ""
    if not scaler["used"]:
        return "not used"
    return f"{scaler['scale']:,.0f}, {many(scaler['skipped'], 'step')} skipped"


def _paper(found: Mapping[str, Any]) -> str:
    doctor, ours = found["doctor"], found["ours"][found["precision"]]
    stages = ", ".join(
        f"{name} {ours[f'{stage}_ms']:.0f} ms (doctor: {doctor[f'{stage}_ms']:.0f})"
        for stage, name in (("warmup", "warm-up"), ("matching", "matching"))
    )
    memory = f"{ours['memory'] / 1e9:.1f} GB of memory (doctor: {doctor['memory'] / 1e9:.1f})"
    size = f"12 images of 96 px, 256-px generators, {NAMES[found['precision']]}"
    return f"A step of the paper's size ({size}): {stages}; {memory}."


def times_as_fast(paper: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the plain composition each of ``STAGES`` is in each precision."""
    plain = paper["composition"]
    return {name: {stage: plain[stage] / found[stage] for stage in STAGES} for name, found in paper["ours"].items()}


def _composition(paper: Mapping[str, Any]) -> str:
    """Return the table of the paper-size step beside the plain composition."""
    columns, ratios = [paper["composition"], *paper["ours"].values()], times_as_fast(paper).values()
    rows = [
        ["the same step", "plain composition, fp32", *(NAMES[precision] for precision in paper["ours"])],
        ["---", *("---:" for _ in columns)],
        *([f"{name}, ms", *(f"{column[stage]:.0f}" for column in columns)] for stage, name in STAGES.items()),
        ["peak memory, GB", *(f"{column['memory'] / 1e9:.1f}" for column in columns)],
        *(
            [f"{name}, times as fast", "1.00", *(f"{speeds[stage]:.2f}" for speeds in ratios)]
            for stage, name in STAGES.items()
        ),
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = (
        "The plain composition does the public code's work in its order, with the same networks and standard PyTorch "
        f"operators. Everywhere new pairs are made every {many(paper['period'], 'step')}, with "
        f"{many(paper['exploration'], 'step')} of exploration."
    )
    return f"{table}\n\n{note}"
