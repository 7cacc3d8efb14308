"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes that tests start would compile the package each time

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # processes beside each other, each with its share of the cores
    THREADS = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    torch.set_num_threads(THREADS)
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # for the processes that tests start

#: Reference files of public implementations; not part of the project (see CONTRIBUTING.md).
SHARED = Path(os.environ.get("DIFE_REFERENCE_DIR", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(autouse=True)
def _strict_torch() -> None:
    torch.manual_seed(0)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Return a function giving the path of a reference file, or skipping the test where there is none."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"reference file {name} is not on this machine (set DIFE_REFERENCE_DIR)")
        return path

    return find
