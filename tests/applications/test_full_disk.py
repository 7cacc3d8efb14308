"""A full disk: each verb says so in one line that names the file, and leaves no part of a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.utils.files import atomic_buffer
from dife_lightning.world.dataset import WorldFaces

LIMIT = 2000
LIMITED = f"""
import resource, sys
from dife_lightning.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, resource.RLIM_INFINITY))
sys.exit(max(main(line.split()) == 1 for line in sys.stdin))
"""
#: A command, and the first file of it that is larger than the limit.
COMMANDS = {
    "match human.png dog.png --out match": "match/match.png",
    "transfer human.png dog.png --points points.csv --out transfer": "transfer/pictures/dog.png.jpg",
    "dense human.png dog.png --out dense": "dense/dense.json",
    "parse dog.png human.png --parts 3 --out parse": "parse/parts.png",
    "overlay glasses human.png --out overlay": "overlay/human.png",
    "embed dog.png --out embed": "embed/embeddings.npz",
    "generate world/human --count 2 --out generate": "generate/images/world-human-0.7-0.png",
    "export world/human-landmarks --to pt2 --out teacher.pt2": "teacher.pt2",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Run all commands in one process whose files may not grow; return the folder, and the last line of each."""
    folder = tmp_path_factory.mktemp("full")
    for species, number in (("human", 0), ("dog", 1)):
        Image.fromarray(WorldFaces(species, "test", 3, size=96)[number]["image"]).save(folder / f"{species}.png")
    (folder / "points.csv").write_text("name,x,y\nnose,48,58\n")
    done = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED],
        input="\n".join(COMMANDS),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return folder, [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_each_command_names_the_file(said):
    files = [line.split(": file too large.")[0].removeprefix("error: ") for line in said[1]]
    assert files == list(COMMANDS.values())


def test_nothing_is_half_written(said):
    folder, _ = said
    assert not any((folder / file).exists() for file in COMMANDS.values())
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), atomic_buffer(path) as buffer:
        Image.new("RGB", (4, 4)).save(buffer, format="NO")
    assert path.read_bytes() == b"old"
    with atomic_buffer(path) as buffer:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(buffer, format="PNG")
    with Image.open(path) as image:
        assert image.size == (4, 4)
