from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dife_lightning.utils.files import atomic_write, sha256, write_json


def test_a_failed_write_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_appears_only_at_the_end_under_the_same_suffix(tmp_path):
    path = tmp_path / "deep/er/picture.png"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"x")
        assert temporary.suffix == ".png"
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_bytes() == b"x"


def test_a_block_that_writes_nothing_is_an_error_and_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass
    assert path.read_text() == "old"


def test_files_get_the_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a") as temporary:
        temporary.touch()
    plain = tmp_path / "b"
    plain.touch()
    assert os.stat(tmp_path / "a").st_mode == os.stat(plain).st_mode


@pytest.mark.parametrize("content", [b"", b"abc", bytes(3_000_000)])
def test_sha256_agrees_with_hashing_the_bytes(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_json_takes_the_values_that_results_are_made_of(tmp_path):
    value = {
        "array": np.arange(3, dtype=np.float32),
        "scalar": np.float64(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "tensor": torch.tensor([[1, 2]]),
        "loss": torch.tensor(float("nan")),
        "infinite": [float("inf"), -1.5],
        "path": Path("a/b"),
        "pair": ("x", None),
        3: "key",
    }
    write_json(tmp_path / "r.json", value)
    assert json.loads((tmp_path / "r.json").read_text()) == {
        "array": [0.0, 1.0, 2.0],
        "scalar": 0.5,
        "count": 3,
        "flag": True,
        "tensor": [[1, 2]],
        "loss": None,
        "infinite": [None, -1.5],
        "path": "a/b",
        "pair": ["x", None],
        "3": "key",
    }


def test_json_refuses_what_it_cannot_hold_and_writes_nothing(tmp_path):
    with pytest.raises(TypeError, match="object"):
        write_json(tmp_path / "r.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []
