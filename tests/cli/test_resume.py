"""A killed training that goes on ends with the bits of one that was left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import tests.cli.strike  # noqa: F401  (makes its class name known)
from dife_lightning.cli.main import main
from dife_lightning.running.locks import RunLock
from dife_lightning.weights.checkpoints import read_checkpoint
from experiments.checks.kills import _rows, differences
from tests.tiny import dife_arguments

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:loss .* gives:UserWarning"),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    pairs = {"refresh_every": 3, "per_refresh": 2, "bank_size": 3, "batch_size": 4}
    arguments = dife_arguments(folder, warmup_steps=4, pairs=pairs, share_every=3)
    arguments["exploration"] = {"steps": 2, "deform": 0.1, "deform_grid": 3}
    evaluation = {"pairs": ["human+dog"], "val_count": 2, "size": 32, "cache": False}
    stream = {
        "generators": arguments["generators"],
        "layer": 3,
        "size": 32,
        "batch_size": 2,
        "evaluation": {"class_path": "WorldPairs", "init_args": evaluation},
    }
    trainer: dict[str, Any] = {"accelerator": "cpu", "max_steps": 12, "max_epochs": -1, "val_check_interval": 4}
    trainer |= {"check_val_every_n_epoch": None, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    trainer |= {"enable_progress_bar": False, "enable_model_summary": False}
    trainer["callbacks"] = [{"class_path": "KeypointTransfer", "init_args": {"val_pictures": 0}}]
    content = {
        "model": {"class_path": "DIFE", "init_args": arguments},
        "data": {"class_path": "StyleGAN2Stream", "init_args": stream},
        "trainer": trainer,
    }
    path = folder / "dife.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    assert fit(config, "whole") == 0
    return config.parent / "whole"


def words(config: Path, run: str, *more: str) -> list[str]:
    return ["fit", "--config", str(config), "--runs_root", str(config.parent), "--run", run, *more]


def fit(config: Path, run: str, *more: str) -> int:
    return main(words(config, run, *more))


def strike(step: int, number: signal.Signals) -> tuple[str, ...]:
    return (
        "--trainer.callbacks+=Strike",
        f"--trainer.callbacks.step={step}",
        f"--trainer.callbacks.number={int(number)}",
    )


def assert_equal(run: Path, whole: Path) -> None:
    left, right = (read_checkpoint(path / "checkpoints/last.ckpt") for path in (whole, run))
    assert left["global_step"] == 12
    assert not differences(left, right)
    assert _rows(run) == _rows(whole)


@pytest.mark.parametrize(
    ("number", "step", "workers"),  # warm-up; its last step, before a validation; matching, before and after one
    [(signal.SIGTERM, 1, 0), (signal.SIGINT, 3, 0), (signal.SIGINT, 5, 2), (signal.SIGTERM, 7, 0)],
)
def test_a_signal_in_a_step_loses_nothing(config, whole, capsys, number, step, workers):
    name = f"{number.name}-{step}"
    loaders = f"--data.init_args.num_workers={workers}"
    assert fit(config, name, loaders, *strike(step, number)) == 128 + number
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"stopped by {number.name} at step {step + 1}, whose checkpoint is written" in said
    run = config.parent / name
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == step + 1
    assert fit(config, name, loaders, "--ckpt_path", "last") == 0
    assert_equal(run, whole)


@pytest.mark.parametrize(("step", "workers"), [(6, 2)])
def test_a_kill_goes_on_from_the_last_validation(config, whole, step, workers):
    name = f"killed-{step}"
    loaders = f"--data.init_args.num_workers={workers}"
    script = "import tests.cli.strike, sys; from dife_lightning.cli.main import main; sys.exit(main(sys.argv[1:]))"
    killed = [sys.executable, "-c", script, *words(config, name, loaders, *strike(step, signal.SIGKILL))]
    assert subprocess.run(killed, cwd=ROOT, capture_output=True, check=False).returncode == -signal.SIGKILL
    run = config.parent / name
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == step // 4 * 4
    assert fit(config, name, loaders, "--ckpt_path", "last") == 0
    assert_equal(run, whole)


def test_a_run_that_goes_on_needs_no_configuration(config, whole):
    assert fit(config, "short", "--trainer.max_steps=5") == 0
    place = ["--runs_root", str(config.parent), "--run", "short", "--ckpt_path", "last"]
    assert main(["fit", *place, "--trainer.max_steps=12"]) == 0
    left, right = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (whole, config.parent / "short"))
    assert not differences(left, right)


def test_the_checkpoint_holds_what_made_the_pairs_and_no_image(whole):
    (pairs,) = read_checkpoint(whole / "checkpoints/last.ckpt")["pseudo_pairs"]
    assert set(pairs) == {"human+human", "dog+dog", "human+dog", "dog+human"}
    kept = pairs["human+dog"]
    assert {"original_w", "partner_w", "index"} <= set(kept)
    assert not {"original", "partner"} & set(kept)
    assert kept["partner_w"].shape[0] == 3


def test_last_without_a_run_or_a_checkpoint_is_an_error_and_starts_nothing(config, capsys):
    assert main(["fit", "--config", str(config), "--ckpt_path", "last"]) == 2
    assert "say of which run" in capsys.readouterr().err
    assert fit(config, "nowhere", "--ckpt_path", "last") == 2
    assert "no run" in capsys.readouterr().err
    assert not (config.parent / "nowhere").exists()


def test_a_damaged_last_checkpoint_is_refused_and_the_one_before_is_offered(config, whole, capsys):
    assert fit(config, "damaged") == 0
    last = config.parent / "damaged/checkpoints/last.ckpt"
    with zipfile.ZipFile(last) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content = bytearray(last.read_bytes())
    end = content.index(b"PK", largest.header_offset + 4)  # the next member's header, or this one's footer
    content[end - 40] ^= 0xFF  # one wrong byte in a tensor, which torch would read without a word
    last.write_bytes(content)
    assert torch.load(last, weights_only=True)
    capsys.readouterr()
    assert fit(config, "damaged", "--ckpt_path", "last") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    before = last.with_name("previous.ckpt")
    assert "last.ckpt is damaged" in said
    assert f"--ckpt_path {before}" in said
    assert fit(config, "damaged", "--ckpt_path", str(before)) == 0
    assert_equal(config.parent / "damaged", whole)


def test_two_trainings_cannot_share_a_folder(config, whole, capsys):
    lock = RunLock(whole)
    try:
        for words in (["--ckpt_path", "last"], ["--overwrite"]):
            assert fit(config, "whole", *words) == 2
            assert "another `dife fit` is writing into" in capsys.readouterr().err
    finally:
        lock.release()
    assert fit(config, "whole", "--ckpt_path", "last") == 0
