from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dife_lightning.errors import DataError
from experiments.common import runs
from experiments.common.runs import Run
from experiments.demo import __main__ as demo

STAGES = {"warmup": {"steps": 900, "seconds": 90.0}, "matching": {"steps": 300, "seconds": 61.0}}

WAIT = runs._wait


@pytest.mark.parametrize(("seconds", "last"), [(61.0, 1600), (60.0, 1500), (0.01, 1000), (70.0, 1600)])
def test_the_control_trains_as_long_as_matching_took_up_to_the_next_validation(seconds, last):
    stages = {**STAGES, "matching": {"steps": 300, "seconds": seconds}}
    assert runs.control_steps(stages, 100) == last


def test_the_control_is_never_cut_short_and_at_most_one_validation_longer():
    for seconds in range(1, 200, 7):
        stages = {**STAGES, "matching": {"steps": 300, "seconds": float(seconds)}}
        steps = runs.control_steps(stages, 50)
        assert 900 + seconds / 0.1 <= steps + 1e-9 < 900 + seconds / 0.1 + 50


@pytest.mark.parametrize("stages", [{}, {"warmup": STAGES["warmup"]}, {"matching": STAGES["matching"]}])
def test_a_run_without_both_stages_has_no_control(stages):
    with pytest.raises(DataError, match="needs a run of both stages"):
        runs.control_steps(stages, 100)


def test_the_control_differs_from_its_run_in_matching_and_length_alone():
    run, control = Run(Path("runs"), "x"), Run(Path("runs"), "x-warmup")
    words = runs.control_words(run, control, 1600)
    assert words[:3] == ["fit", "--ckpt_path", "runs/x/checkpoints/warmup.ckpt"]
    assert words[words.index("--run") + 1] == "x-warmup"
    changed = {word for word in words if word.startswith(("--model", "--data", "--trainer"))}
    assert changed == {
        "--model.init_args.lambda_m1=0", "--model.init_args.lambda_m2=0", "--trainer.max_steps=1600",
    }  # fmt: skip


def test_one_seed_reaches_trainer_method_and_stream():
    words = runs.fit_words("world/human_dog", Run(Path("runs"), "x"), 3)
    assert {"--seed_everything=3", "--model.init_args.seed=3", "--data.init_args.seed=3"} <= set(words)


def test_a_run_that_is_not_complete_is_said(tmp_path):
    with pytest.raises(DataError, match="not complete"):
        Run(tmp_path, "x").stages()


def in_process(monkeypatch, code: str) -> None:
    """Let ``call`` run Python code instead of `dife`."""
    monkeypatch.setattr(runs, "_wait", lambda _command, show: WAIT([sys.executable, "-S", "-c", code], show))


def test_a_command_is_printed_before_its_output(monkeypatch, capfd):
    in_process(monkeypatch, "print('inside')")
    seconds = runs.call(["fit", "--run", "a b"])
    assert capfd.readouterr().out == "$ dife fit --run 'a b'\ninside\n"
    assert 0 < seconds < 20


def test_hidden_output_is_shown_only_when_the_command_fails(monkeypatch, capfd):
    in_process(monkeypatch, "print('inside')")
    runs.call(["test"], show=False)
    assert "inside" not in capfd.readouterr().out
    in_process(monkeypatch, "print('inside'); raise SystemExit(3)")
    with pytest.raises(runs.CommandError, match="`dife test` ended with exit code 3"):
        runs.call(["test"], show=False)
    assert "inside" in capfd.readouterr().out


def test_an_interrupted_command_interrupts_the_demo(monkeypatch, capsys):
    in_process(monkeypatch, "raise SystemExit(130)")
    assert demo.main(["--fast", "--runs_root", "nowhere"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_failing_command_is_one_line_and_exit_code_1(monkeypatch, capsys):
    in_process(monkeypatch, "raise SystemExit(2)")
    assert demo.main(["--fast", "--runs_root", "nowhere"]) == 1
    assert capsys.readouterr().err == "error: `dife fit` ended with exit code 2; its message is above\n"


@pytest.mark.skipif(os.name != "posix", reason="signals to a single process")
def test_an_interrupt_of_the_demo_alone_also_ends_its_command(monkeypatch, request):
    monkeypatch.setattr(runs, "GRACE", 1.0)
    # a shell starts its background jobs with SIGINT ignored, and the handler is inherited
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def remember(*words, **options):
        started.append(real(*words, **options))
        return started[-1]

    monkeypatch.setattr(runs.subprocess, "Popen", remember)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        runs._wait([sys.executable, "-S", "-c", "import time; time.sleep(60)"], True)
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
    assert demo.TESTED["human+cat"] == ["human+cat", "human+wild"]
