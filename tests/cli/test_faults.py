"""What the machine does to a run: one line each, an exit code, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dife_lightning.cli.errors import user_error
from dife_lightning.errors import DifeError
from dife_lightning.weights.checkpoints import read_checkpoint

ROOT = Path(__file__).parents[2]
LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
import tests.cli.dummies
from dife_lightning.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def limited(workdir: Path, size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose files may not grow beyond ``size`` bytes: a full disk."""
    script = LIMITED.format(root=str(ROOT), size=size)
    command = [sys.executable, "-B", "-c", script, *words]  # compiled modules would be cut off, too
    return subprocess.run(command, cwd=workdir, capture_output=True, text=True, check=False)


@pytest.mark.filterwarnings("ignore:Total length of:UserWarning")
def test_a_loader_process_that_dies_is_told_in_one_line(dife, workdir):
    code, out, error = dife("fit", "-c", "tiny.yaml", "--data", "DeadlyData", "--run", "deadly")
    assert code == 1
    assert error.splitlines()[-1].startswith(
        "error: a DataLoader worker was killed (out of memory?); resume with --ckpt_path last"
    )
    assert "Traceback" not in out + error


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_checkpoint_and_the_run_goes_on_later(dife, workdir):
    wide = ("--model.width", "20000", "--data.width", "20000")  # a checkpoint of 80 kB
    assert dife("fit", "-c", "tiny.yaml", "--run", "full", "--trainer.max_steps", "4", *wide)[0] == 0
    last = workdir / "runs/full/checkpoints/last.ckpt"
    before = last.read_bytes()
    place = ("fit", "--run", "full", "--ckpt_path", "last", "--trainer.max_steps", "8")
    done = limited(workdir, 50_000, *place)
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: cannot write")
    assert "existing files are unchanged. Free some space, then resume with `dife fit --ckpt_path" in line
    assert last.read_bytes() == before
    assert not [path for path in workdir.rglob("*") if path.name.startswith(".")]
    assert dife(*place)[0] == 0
    assert read_checkpoint(last)["global_step"] == 8


def test_a_folder_that_cannot_be_made_is_named(dife, workdir):
    (workdir / "file").touch()
    code, _, error = dife("fit", "-c", "tiny.yaml", "--runs_root", "file/runs", "--run", "x")
    assert code == 1
    assert "file/runs/x: not a directory. A part of this path is a file; choose another one." in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(dife, workdir):
    (workdir / "mine").mkdir(mode=0o500)
    code, _, error = dife("fit", "-c", "tiny.yaml", "--runs_root", "mine", "--run", "x")
    assert code == 1
    assert "permission denied. Choose a folder of your own" in error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "runs/x"), "runs/x: permission denied. Choose a folder of your own"),
        (FileExistsError(17, "File exists", "a/b"), "a/b: file exists. It is in the way of a folder or file"),
        (IsADirectoryError(21, "Is a directory", "a"), "a: is a directory. It is a folder; expected the name of a f"),
        (OSError(30, "Read-only file system", "runs/x"), "runs/x: read-only file system. Choose a folder that can be"),
        (
            OSError(28, "No space left on device"),
            "a file could not be written: no space left on device. Free some space",
        ),
    ],
)
def test_what_the_system_refuses_is_told_with_what_to_do(error, says):
    told = user_error(error)
    assert isinstance(told, DifeError)
    assert str(told).startswith(says)


@pytest.mark.parametrize(
    "words",
    [
        ["match", "a.png", "b.png"],
        ["transfer", "a.png", "b.png", "--points", "points.csv"],
        ["dense", "a.png", "b.png"],
        ["parse", "a.png"],
        ["overlay", "glasses", "a.png"],
        ["embed", "a.png"],
        ["pairs", "photos/dife"],
        ["generate", "photos/human"],
    ],
)
@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_the_place_of_the_results_is_said_at_once(dife, workdir, words, out):
    (workdir / "file").touch()
    code, _, error = dife(*words, "--out", out)
    assert code == 2
    assert "argument --out: " in error
    assert "file is a file; expected a folder for the results" in error


def test_a_value_that_begins_with_a_minus_is_explained(dife, workdir):
    code, _, error = dife("match", "a.png", "b.png", "--face_b", "-40,-10,300,300")
    assert code == 2
    assert "--face_b: expected one argument (a value that begins with - is written as --name=-1,2)" in error


def test_a_bug_stays_a_bug():
    assert user_error(OSError(2, "No such file", "x")) is None
    assert user_error(RuntimeError("shape mismatch")) is None
