from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from dife_lightning.cli.main import main as dife
from dife_lightning.errors import DataError
from experiments.checks import soak
from experiments.common import commands
from tests.experiments.tiny_config import write_config


def rows(memory: np.ndarray, files: np.ndarray | None = None) -> np.ndarray:
    steps = np.arange(len(memory))
    return np.stack([steps, memory, np.full(len(memory), 30.0) if files is None else files], axis=1)


def test_a_leak_of_memory_or_files_is_told_from_noise_and_from_filling_caches():
    noise = np.random.default_rng(0).normal(0, 3, 80)
    assert soak.growth(rows(800 + noise))["verdict"] == "no growth"
    filling = 800 - 300 * np.exp(-np.arange(80) / 5)
    assert soak.growth(rows(filling + noise))["verdict"] == "no growth"
    assert soak.growth(rows(800 + noise + np.arange(80)))["verdict"] == "growth"
    assert soak.growth(rows(800 + noise, 30 + np.arange(80) // 10))["verdict"] == "growth"


def test_too_few_looks_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,system/memory_mb,system/open_files\n1,2,3\n")
    with pytest.raises(DataError, match="has 1 rows with resources"):
        soak.read_resources(tmp_path / "metrics.csv")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:loss .* gives:UserWarning")
def test_a_short_training_of_both_stages_neither_grows_nor_opens_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "call", lambda words: dife(words))
    settings = yaml.safe_load(write_config(tmp_path).read_text())
    settings["data"]["init_args"]["evaluation"]["init_args"]["cache"] = False
    (tmp_path / "soak.yaml").write_text(yaml.safe_dump(settings))
    code = soak.main(["--config", "soak.yaml", "--steps", "64"])
    found = json.loads((tmp_path / "results/soak.json").read_text())
    assert code == 0, found
    assert all(stage["open_files"] == 0 for stage in found["stages"].values())
    assert (tmp_path / "results/soak.png").stat().st_size > 5000
    assert capsys.readouterr().out.count("no growth") == 2
