"""Predictions of methods that were made up, in folders, for analyses."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from dife_lightning.metrics.keypoint_transfer import Records
from dife_lightning.metrics.predictions import prediction_rows, write_predictions
from experiments.analyses.sets import from_words, read_sets
from experiments.common.plan import read_plan

NAMES = {i: f"world/human/test/{i}>world/dog/test/{90 + i}" for i in range(30)}


def records(seed: int, pairs: int = 30, spread: float = 5.0, truth_seed: int = 0) -> Records:
    """Return what a method that errs by ``spread`` pixels gave; truth and visibility do not depend on ``seed``."""
    fixed, own = (torch.Generator().manual_seed(s) for s in (truth_seed, 100 + seed))
    truth = torch.rand(pairs, 12, 2, generator=fixed) * 64
    visible = torch.rand(pairs, 12, generator=fixed) > 0.2
    predicted = truth + torch.randn(pairs, 12, 2, generator=own) * spread
    return Records(
        torch.arange(pairs), predicted, truth, visible, torch.full((pairs,), 64.0), torch.zeros(visible.shape)
    )


def write(folder: Path, found: Records, pairs=("human+dog",), names=NAMES, lists=("long",), protocols=("9-point",)):
    """Write a predictions.csv with the same records for each kind of pair and list."""
    rows = [
        row
        for pair in pairs
        for name in lists
        for row in prediction_rows(found, names, pair, name, "jittered", protocols)
    ]
    write_predictions(folder / "predictions.csv", rows)
    return folder


def one_set(folder: Path, **methods: list[Records]):
    words = [
        f"{name}={write(folder / f'{name}{i}', found)}"
        for name, seeds in methods.items()
        for i, found in enumerate(seeds)
    ]
    (found,) = read_sets(from_words(words)).sets
    return found


def find(rows, **wanted):
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def write_table(folder: Path):
    """A plan with two columns, and some of its runs."""
    plan = {
        "columns": {
            "human+dog": {"model": "m", "pairs": ["human+dog"]},
            "both": {"model": "n", "pairs": ["human+dog", "human+cat"]},
        },
        "rows": {
            "copy-xy": {"test": "CopyXY"},
            "teacher": {"test": "FrozenEmbedder", "arguments": {"embedder": "world/teacher"}},
            "dife": {"fit": "x"},
        },
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    for name in ("copy-xy", "teacher"):
        write(folder / f"runs/{name}/eval/human+dog_human+cat", records(0), ["human+dog", "human+cat"])
    write(folder / "runs/dife-m-seed0/eval/human+dog", records(1))
    write(folder / "runs/dife-m-seed2/eval/human+dog", records(2))
    write(folder / "runs/dife-n-seed0/eval/human+dog_human+cat", records(3), ["human+dog", "human+cat"])
    return read_plan(folder / "plan.yaml"), folder / "runs"
