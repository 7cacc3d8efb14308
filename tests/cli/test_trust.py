"""A run folder from somebody else: its ``resolved.yaml`` runs nothing and writes nothing outside the run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

Dife = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
CALLS: list[object] = []


def called(*args: object, **kwargs: object) -> None:
    """Stands for any importable function."""
    CALLS.append(args)


@pytest.fixture
def run(workdir: Path, dife: Dife) -> Path:
    """A finished run, as its owner made it."""
    assert dife("fit", "--config", "tiny.yaml", "--run", "theirs")[0] == 0
    return Path("runs/theirs")


def change(run: Path, section: str, **values: Any) -> None:
    path = run / "resolved.yaml"
    settings = yaml.safe_load(path.read_text())
    settings[section].update(values)
    path.write_text(yaml.safe_dump(settings))


def assert_refused(answer: tuple[int, str, str], *words: str) -> None:
    code, _, said = answer
    last = said.strip().splitlines()[-1]
    assert code == 2, said
    assert last.startswith("error: ")
    assert "--trust_run" in last
    for word in words:
        assert word in last


def entry(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


@pytest.mark.parametrize("verb", ["test", "fit", "validate", "predict"])
def test_no_function_is_called(run: Path, dife: Dife, verb: str) -> None:
    hook = entry("lightning.pytorch.callbacks.LambdaCallback", setup=f"{__name__}.called")
    change(run, "trainer", callbacks=[hook])
    CALLS.clear()
    answer = dife(verb, "--ckpt_path", str(run))
    assert not CALLS
    assert_refused(answer, "LambdaCallback")


def test_a_profiler_writes_nothing_outside_the_run(run: Path, dife: Dife, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    profiler = entry("lightning.pytorch.profilers.SimpleProfiler", dirpath=str(outside), filename="here")
    change(run, "trainer", profiler=profiler)
    answer = dife("test", "--ckpt_path", str(run))
    assert not outside.exists()
    assert_refused(answer, "profiler")


def test_a_callback_of_ours_writes_nothing_outside_the_run(run: Path, dife: Dife, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    change(run, "trainer", callbacks=[entry("dife_lightning.callbacks.step_clock.StepClock", path=str(outside))])
    answer = dife("fit", "--ckpt_path", str(run), "--trainer.max_steps", "8")
    assert not outside.exists()
    assert_refused(answer, str(outside))


@pytest.mark.parametrize("place", ["run", "working folder"])
def test_a_word_is_not_taken_for_a_file_of_settings(run: Path, dife: Dife, place: str) -> None:
    folder = run if place == "run" else Path()
    content = entry("lightning.pytorch.profilers.SimpleProfiler", dirpath="outside", filename="here")
    (folder / "simple").write_text(yaml.safe_dump(content))
    change(run, "trainer", profiler="simple")
    answer = dife("test", "--ckpt_path", str(run))
    assert not list(Path().rglob("outside"))
    assert_refused(answer, "simple")


@pytest.mark.slow
def test_no_module_of_the_working_folder_is_imported(workdir: Path) -> None:
    run = Path(shutil.copytree(ROOT / "tests/fixtures/run_0_1_0", "runs/theirs"))
    Path("evil.py").write_text("open('imported', 'w')\nfrom lightning import Callback\nclass Evil(Callback): pass\n")
    change(run, "trainer", callbacks=[entry("evil.Evil")])
    command = [sys.executable, "-m", "dife_lightning", "test", "--ckpt_path", str(run)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert not list(Path().rglob("imported"))
    assert "evil.Evil" in said


def test_the_working_folder_does_not_stand_in_for_libraries(workdir: Path) -> None:
    Path("yaml.py").write_text("open('imported', 'w')\n")
    command = [sys.executable, "-m", "dife_lightning", "configs"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert not list(Path().rglob("imported"))


CHECKPOINTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "callbacks a list": lambda content: content.update(callbacks=[1]),
    "state of a callback a number": lambda content: content["callbacks"].update(dict.fromkeys(content["callbacks"], 3)),
    "no optimizers": lambda content: content.update(optimizer_states=None),
    "optimizers of text": lambda content: content.update(optimizer_states=["x"]),
    "an optimizer without groups": lambda content: content.update(optimizer_states=[{"state": {}, "param_groups": []}]),
    "no loops": lambda content: content.update(loops=None),
    "no progress": lambda content: content["loops"]["fit_loop"].pop("epoch_loop.batch_progress"),
    "progress of text": lambda content: content["loops"]["fit_loop"].update(epoch_progress={"total": 3}),
    "version of text": lambda content: content.update({"pytorch-lightning_version": "abc"}),
    "version a number": lambda content: content.update({"pytorch-lightning_version": 3}),
    "an ancient version": lambda content: content.update({"pytorch-lightning_version": "0.5.0"}),
    "a weight without a name": lambda content: content["state_dict"].update({3: torch.zeros(1)}),
    "weights that are text": lambda content: content.update(state_dict="x"),
    "settings that are text": lambda content: content.update(hyper_parameters="x"),
}


def change_checkpoint(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


@pytest.mark.parametrize("change", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_a_checkpoint_that_makes_no_sense_is_one_line(
    run: Path, dife: Dife, change: Callable[[dict[str, Any]], object]
) -> None:
    change_checkpoint(run, change)
    code, _, said = dife("fit", "--ckpt_path", str(run / "checkpoints/last.ckpt"), "--trainer.max_steps", "8")
    assert code == 1
    assert said.strip().splitlines()[-1].startswith("error: ")


def test_going_on_deletes_no_file_that_a_checkpoint_names(run: Path, dife: Dife) -> None:
    victim = Path("victim")
    victim.touch()
    folder = (run / "checkpoints").resolve()
    named = f"{folder}/../../../victim"

    def change(content: dict[str, Any]) -> None:
        state = next(value for name, value in content["callbacks"].items() if name.startswith("BestAndLast"))
        state.update(kth_best_model_path=named, best_model_path=named, best_k_models={named: torch.tensor(1e9)})
        state.update(kth_value=torch.tensor(1e9), best_model_score=torch.tensor(1e9), dirpath=str(folder))

    change_checkpoint(run, change)
    code, _, said = dife("fit", "--ckpt_path", str(run / "checkpoints/last.ckpt"), "--trainer.max_steps", "12")
    assert victim.exists()
    assert code == 1
    assert "outside its run" in said


def test_a_log_that_is_no_table_is_one_line(run: Path, dife: Dife) -> None:
    (run / "metrics.csv").write_bytes(b"step,loss\n" + b"9" * 200_000 + b"\n\xff\xfe\n")
    code, _, said = dife("fit", "--ckpt_path", str(run), "--trainer.max_steps", "8")
    assert code == 1
    assert "metrics.csv is not a table" in said.strip().splitlines()[-1]


def test_a_record_that_is_no_mapping_is_one_line_beside_settings_of_the_user(run: Path, dife: Dife) -> None:
    (run / "resolved.yaml").write_text("[1]")
    words = ("--config", "tiny.yaml", "--trainer.precision", "auto", "--trainer.max_steps", "8")
    code, _, said = dife("fit", "--ckpt_path", str(run), *words)
    assert code == 2
    assert "resolved.yaml: expected keys" in said.strip().splitlines()[-1]
