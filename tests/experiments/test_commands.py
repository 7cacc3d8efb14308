from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dife_lightning.errors import DataError
from dife_lightning.utils.run_folder import RunFolder
from experiments.common import commands
from experiments.common.jobs import control_settings, control_steps, fit_words, from_warmup_words
from experiments.demo import __main__ as demo

STAGES = {"warmup": {"steps": 900, "seconds": 90.0}, "matching": {"steps": 300, "seconds": 61.0}}

WAIT = commands._wait


@pytest.mark.parametrize(("seconds", "last"), [(61.0, 1600), (60.0, 1500), (0.01, 1000), (70.0, 1600)])
def test_the_control_trains_as_long_as_matching_took_up_to_the_next_validation(seconds, last):
    stages = {**STAGES, "matching": {"steps": 300, "seconds": seconds}}
    assert control_steps(stages, 100) == last


def test_the_control_is_never_cut_short_and_at_most_one_validation_longer():
    for seconds in range(1, 200, 7):
        stages = {**STAGES, "matching": {"steps": 300, "seconds": float(seconds)}}
        steps = control_steps(stages, 50)
        assert 900 + seconds / 0.1 <= steps + 1e-9 < 900 + seconds / 0.1 + 50


@pytest.mark.parametrize("stages", [{}, {"warmup": STAGES["warmup"]}, {"matching": STAGES["matching"]}])
def test_a_run_without_both_stages_has_no_control(stages):
    with pytest.raises(DataError, match="needs a run of both stages"):
        control_steps(stages, 100)


def test_the_control_differs_from_its_run_in_matching_and_length_alone(tmp_path):
    run = RunFolder(tmp_path, "x")
    run.path.mkdir()
    (run.path / "stages.json").write_text(json.dumps(STAGES))
    run.resolved.write_text("trainer: {val_check_interval: 100}")
    words = from_warmup_words(run, control_settings(run))
    assert words[:3] == ["fit", "--ckpt_path", f"{tmp_path}/x/checkpoints/warmup.ckpt"]
    assert set(words[3:]) == {
        "--model.init_args.lambda_m1=0", "--model.init_args.lambda_m2=0", "--trainer.max_steps=1600",
    }  # fmt: skip


def test_one_seed_reaches_trainer_method_and_stream():
    words = fit_words("world/human_dog", 3)
    assert {"--seed_everything=3", "--model.init_args.seed=3", "--data.init_args.seed=3"} <= set(words)


def test_a_run_that_is_not_complete_is_said(tmp_path):
    with pytest.raises(DataError, match="not complete"):
        RunFolder(tmp_path, "x").stages()


def in_process(monkeypatch, code: str) -> None:
    """Let ``call`` run Python code instead of `dife`."""
    monkeypatch.setattr(commands, "_wait", lambda _command: WAIT([sys.executable, "-S", "-c", code]))


def test_a_command_is_printed_before_its_output(monkeypatch, capfd):
    in_process(monkeypatch, "print('inside')")
    seconds = commands.call(["fit", "--run", "a b"])
    assert capfd.readouterr().out == "$ dife fit --run 'a b'\ninside\n"
    assert 0 < seconds < 20


def test_a_command_that_fails_is_an_error(monkeypatch):
    in_process(monkeypatch, "raise SystemExit(3)")
    with pytest.raises(commands.CommandError, match="`dife test` ended with exit code 3"):
        commands.call(["test"])


def test_an_interrupted_command_interrupts_the_demo(monkeypatch, capsys, tmp_path):
    in_process(monkeypatch, "raise SystemExit(130)")
    assert demo.main(["--fast", "--runs_root", str(tmp_path), "--out", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_failing_command_is_one_line_and_exit_code_1(monkeypatch, capsys, tmp_path):
    in_process(monkeypatch, "raise SystemExit(2)")
    assert demo.main(["--fast", "--runs_root", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: `dife fit` ended with exit code 2; its message is above\n"


@pytest.mark.skipif(os.name != "posix", reason="signals to a single process")
def test_an_interrupt_of_the_demo_alone_also_ends_its_command(monkeypatch, request):
    monkeypatch.setattr(commands, "GRACE", 1.0)
    # a shell starts its background jobs with SIGINT ignored, and the handler is inherited
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def remember(*words, **options):
        started.append(real(*words, **options))
        return started[-1]

    monkeypatch.setattr(commands.subprocess, "Popen", remember)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        commands._wait([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    assert started[0].poll() is not None
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ([], "results/demo"),
        (["--seed", "1"], "results/demo-human_dog-1"),
        (["--pair", "human+cat"], "results/demo-human_cat-0"),
        (["--pair", "dog+cat", "--out", "x"], "x"),
    ],
)
def test_results_of_other_pairs_and_seeds_have_folders_of_their_own(words, out):
    assert demo.parse(words).out == Path(out)


def test_the_model_of_human_and_cat_is_tested_on_the_unseen_species_too():
    assert demo.demo_plan(demo.parse(["--pair", "human+cat"])).pairs() == ["human+cat", "human+wild"]
