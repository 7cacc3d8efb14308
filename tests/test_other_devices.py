"""Runs ``other_devices.py`` in a process of its own: torch takes new devices only before its first gradient."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.refusing_device import AVAILABLE

CLONE = Path(__file__).parents[1]


@pytest.mark.skipif(not AVAILABLE, reason="torch before 2.10 has no devices written in Python")
def test_what_runs_in_every_step_runs_on_a_device_like_apples():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/other_devices.py"]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout
