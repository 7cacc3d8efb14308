"""Records and checkpoints name classes by the module they lived in when they were written; classes move."""

import copy
import json
from pathlib import Path

from dife_lightning.methods.dife import DIFE
from dife_lightning.running.reconcile import saved_settings
from dife_lightning.utils.run_folder import RunFolder
from experiments.common.jobs import Job, state_path, write_state
from experiments.common.keys import changes

RECORDS = Path(__file__).parents[2] / "experiments" / "records" / "world" / "runs"


def _moved(value):
    """Return ``value`` with every class in another module."""
    if isinstance(value, dict):
        return {k: f"else.where.{v.rpartition('.')[2]}" if k == "class_path" else _moved(v) for k, v in value.items()}
    return [_moved(item) for item in value] if isinstance(value, list) else value


def test_a_recorded_training_is_unchanged_when_its_classes_move(tmp_path):
    key = json.loads((RECORDS / "dife-human_dog-seed0.json").read_text())["training_key"]
    moved = _moved(key)
    assert moved != key
    assert changes(key, moved) == []
    old, new = (Job(RunFolder(tmp_path, "run"), [], each) for each in (key, moved))
    old.run.path.mkdir()
    write_state(state_path(old.run), key, finished=True)
    assert new.state() == ("finished", "")


def test_another_class_is_a_change():
    key = json.loads((RECORDS / "dife-human_dog-seed0.json").read_text())["training_key"]
    other = copy.deepcopy(key)
    other["settings"]["model"]["class_path"] = "dife_lightning.methods.dife.DVE"
    assert changes(key, other) == ["settings.model.class_path"]


def test_settings_of_a_checkpoint_count_when_its_class_has_moved():
    saved = {"_class_path": "some.former.module.DIFE", "dim": 8}
    assert saved_settings(saved, DIFE).known == {"dim": 8}
