from __future__ import annotations

import pytest

from dife_lightning.errors import UsageError
from dife_lightning.running.folders import drop_if_unused, new_run, run_of_checkpoint, stem_of
from dife_lightning.utils.run_folder import RESOLVED


def test_a_name_is_never_used_twice(tmp_path):
    new_run(tmp_path, "a", None)
    with pytest.raises(UsageError, match="a exists; resume it with --ckpt_path last"):
        new_run(tmp_path, "a", None)


def test_two_unnamed_runs_of_the_same_second_get_two_folders(tmp_path):
    assert len({new_run(tmp_path, None, "human_dog") for _ in range(3)}) == 3


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "/tmp"])
def test_a_run_name_is_no_path(tmp_path, name):
    with pytest.raises(UsageError, match="--runs_root"):
        new_run(tmp_path, name, None)


def test_overwrite_never_deletes_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").touch()
    with pytest.raises(UsageError, match="is not a run"):
        new_run(tmp_path, "photos", None, overwrite=True)
    assert (tmp_path / "photos/cat.png").exists()


def test_the_run_of_a_checkpoint_is_found_from_the_file_and_the_folder(tmp_path):
    run = new_run(tmp_path, "a", None)
    (run / "checkpoints").mkdir()
    (run / RESOLVED).touch()
    assert run_of_checkpoint(run / "checkpoints/best.ckpt") == run
    assert run_of_checkpoint(run) == run
    assert run_of_checkpoint(tmp_path / "elsewhere.ckpt") is None
    assert run_of_checkpoint(None) is None


def test_the_experiment_gives_the_name_not_the_presets():
    assert stem_of(["world/human_dog", "trainer/cpu", "debug/fast.yaml"]) == "human_dog"
    assert stem_of(["trainer/cpu"]) is None


def test_only_empty_folders_are_dropped(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    drop_if_unused(tmp_path / "empty")
    drop_if_unused(tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
