"""Processes of trials: their signals, their output, and what becomes of them when the sweep dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dife_lightning.errors import Interrupted
from dife_lightning.sweeps import launch
from dife_lightning.sweeps.launch import launch_fit, stop, stopped_by_signals

ROOT = Path(__file__).parents[2]
#: Answers the first SIGTERM a little later and says so; a second one ends it at once.
POLITE = """
import signal, sys, time
def answer(number, frame):
    global told
    if told: sys.exit(9)
    told = True
told = False
signal.signal(signal.SIGTERM, answer)
print("ready", flush=True)
while not told: time.sleep(0.01)
time.sleep(0.3)
print("saved", flush=True)
sys.exit(143)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


#: As a trial begins.
CHILD = "import os; from dife_lightning.sweeps.launch import end_with; end_with(os.getppid())"


def start(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_each_trial_is_told_once_and_waited_for():
    trials = [start(POLITE), start(POLITE)]
    stop(trials, 0.01)
    assert [trial.communicate()[0] for trial in trials] == ["saved\n"] * 2
    assert [trial.returncode for trial in trials] == [143, 143]


def test_one_that_does_not_listen_is_killed_in_the_end(monkeypatch):
    monkeypatch.setattr(launch, "PATIENCE", 0.2)
    monkeypatch.setattr(launch, "GRACE", 0.2)
    trial = start(STUBBORN)
    stop([trial], 0.01)
    trial.communicate()
    assert trial.returncode == -signal.SIGKILL


def test_a_second_ctrl_c_ends_the_patience():
    trial = start(POLITE.replace("0.3", "60"))
    begin = time.monotonic()
    with stopped_by_signals():
        user = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        user.start()
        stop([trial], 0.01)
    user.join()
    trial.communicate()
    assert trial.returncode == 9
    assert time.monotonic() - begin < launch.PATIENCE / 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_become_an_interruption_with_their_exit_code_and_are_given_back(number):
    before = signal.getsignal(number)

    def strike() -> None:
        with stopped_by_signals():
            os.kill(os.getpid(), number)
            time.sleep(1)

    with pytest.raises(Interrupted, match="the same command resumes the sweep") as error:
        strike()
    assert error.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_a_trial_is_dife_in_a_session_of_its_own_with_its_output_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    log = tmp_path / "logs/0000.txt"
    log.parent.mkdir()
    log.write_text("of before\n")
    trial = launch_fit(["--version"], log, {"OMP_NUM_THREADS": "1"})
    session = os.getsid(trial.pid)  # type: ignore[attr-defined]
    while trial.poll() is None:
        time.sleep(0.01)
    assert trial.poll() == 0
    assert session != os.getsid(0)
    assert log.read_text().startswith("of before\ndife-lightning ")


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")


@ON_LINUX
def test_a_trial_ends_politely_when_the_sweep_is_killed(tmp_path):
    (tmp_path / "child.py").write_text(CHILD + POLITE)
    parent = f"""
import subprocess, sys, threading, time
for _ in range(4): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # as torch has some
subprocess.Popen([sys.executable, {str(tmp_path / "child.py")!r}])
time.sleep(60)
"""
    process = start(parent)
    process.kill()
    assert process.communicate()[0] == "saved\n"  # read to the end of the child, which has the pipe as well


@ON_LINUX
def test_a_trial_that_is_told_by_several_threads_of_the_sweep_hears_it_once():
    process = start(CHILD + POLITE)
    for _ in range(3):
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.05)
    assert process.communicate()[0] == "saved\n"
    assert process.returncode == 143


def test_a_trial_whose_sweep_is_dead_already_does_not_start():
    process = subprocess.Popen(
        [sys.executable, "-c", f"{CHILD.replace('os.getppid()', '1234567')}; print('up')"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.communicate()[0] == ""
    assert process.returncode == 143


#: Windows as seen from these modules: no SIGKILL, Ctrl-Break, and a launcher between the sweep and its trial.
WINDOWS = """
import importlib, os, signal, subprocess, sys, time
import experiments.checks.kills as kills
import experiments.common.commands as commands
from dife_lightning.sweeps import launch
sys.platform = "win32"
del signal.SIGKILL
signal.CTRL_BREAK_EVENT, signal.SIGBREAK, subprocess.CREATE_NEW_PROCESS_GROUP = 1, signal.SIGUSR1, 512
launch, kills, commands = (importlib.reload(module) for module in (launch, kills, commands))
"""


def as_on_windows(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WINDOWS + code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


ELSEWHERE = pytest.mark.skipif(sys.platform == "win32", reason="stands in for Windows")


@ELSEWHERE
def test_on_windows_trials_are_asked_by_ctrl_break_and_then_terminated():
    said = as_on_windows("""
class Deaf:
    code = None
    def poll(self): return self.code
    def send_signal(self, number):
        print(int(number))
        if number == signal.SIGTERM: self.code = 1
launch.PATIENCE = launch.GRACE = 0.05
launch.stop([Deaf()], 0.01)
""")
    assert said == ["1", "1", "15"]


@ELSEWHERE
def test_on_windows_a_trial_starts_behind_a_launcher_and_takes_ctrl_break_as_sigterm():
    said = as_on_windows("""
launch.end_with(1234567)
signal.signal(signal.SIGTERM, lambda number, frame: print("asked", int(number)))
print("up", launch._GROUP_FLAG)
os.kill(os.getpid(), signal.SIGBREAK)
time.sleep(0.05)
""")
    assert said == ["up 512", "asked 15"]


@ELSEWHERE
def test_on_windows_interrupted_commands_and_kills_use_only_signals_that_are_there():
    said = as_on_windows("""
class Deaf:
    code = None
    def poll(self): return self.code
    def wait(self, seconds):
        if self.code is None: raise subprocess.TimeoutExpired("x", seconds)
    def send_signal(self, number): raise ValueError(f"Unsupported signal: {number}")
    def terminate(self): print("terminated"); self.code = 1
    def kill(self): print("killed")
commands._stop(Deaf())
print([one.name for one in kills.SIGNALS])
""")
    assert said == ["terminated", "['SIGTERM']"]
