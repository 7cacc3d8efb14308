"""Single faces of the world as landmark models get them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dife_lightning.data.face_sets import face_set_of
from dife_lightning.data.world.face_sets import WorldFaceSets
from dife_lightning.errors import ConfigError
from dife_lightning.world import framing_for, render


def make(**options):
    return WorldFaceSets(**{"species": ["dog", "sheep"], "count": 5, "val_count": 3, "size": 32, **options})


def ready(stage, **options):
    data = make(batch_size=2, **options)
    data.setup(stage)
    return data


def test_each_species_has_its_loader_and_a_batch_has_the_renders_and_their_truth():
    loaders = ready("test").test_dataloader()
    assert [face_set_of(loader).name for loader in loaders] == ["dog/test/jittered", "sheep/test/jittered"]
    batches = list(loaders[1])
    assert [len(batch) for batch in batches] == [2, 2, 1]
    batch = batches[1]
    assert (batch.domain, batch.list_name, batch.index.tolist()) == ("sheep", "test", [2, 3])
    assert batch.names == ["world/sheep/test/2", "world/sheep/test/3"]
    for row, index in enumerate((2, 3)):
        truth = render("sheep", "test", index, size=32, framing=framing_for("jittered", 0, index))
        shown = ((batch.images[row] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown, truth.image)
        np.testing.assert_array_equal(batch.points[row], truth.points)
        np.testing.assert_array_equal(batch.visible[row], truth.visible)
        seen = truth.points[truth.visible]
        assert (seen >= batch.boxes[row, :2].numpy()).all()
        assert (seen <= batch.boxes[row, 2:].numpy()).all()
        np.testing.assert_array_equal(batch.crops[row].to_picture, np.eye(2, 3))
    assert batch.boxes.dtype == batch.points.dtype == torch.float32


def test_validation_and_test_share_no_face():
    data = ready("validate")
    data.setup("test")
    found = [{face.name for sets in split for face in map(sets.__getitem__, range(len(sets)))}
             for split in (data.val_sets, data.test_sets)]  # fmt: skip
    assert [len(names) for names in found] == [6, 10]
    assert not found[0] & found[1]
    assert not any("train" in name for name in found[0] | found[1])


def test_workers_and_kept_faces_change_nothing():
    (alone, _), (several, _) = ready("test").test_dataloader(), ready("test", num_workers=1).test_dataloader()
    for one, other in zip(alone, several, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.boxes, other.boxes)
    kept = ready("validate").val_sets[0]
    assert kept[1] is kept[1]


def test_hashes_name_the_faces():
    first, same, more, plain = make(), make(size=64), make(count=6), make(framing="plain")
    assert first.list_hashes() == same.list_hashes()
    assert first.list_hashes()["test"]["dog"] != first.list_hashes()["test"]["sheep"]
    assert first.list_hashes()["val"] == more.list_hashes()["val"]
    assert first.list_hashes()["test"]["dog"] != more.list_hashes()["test"]["dog"]
    assert first.list_hashes()["val"]["dog"] != plain.list_hashes()["val"]["dog"]
    assert make(framing="plain", seed=3).list_hashes() == plain.list_hashes()


def test_groups_are_those_of_the_species():
    data = make(groups={"known": ["dog"], "unknown": ["sheep"], "farm": ["sheep"]})
    assert [faces.groups for faces in data._make_sets("val")] == [("known",), ("unknown", "farm")]


def test_a_fit_on_them_alone_is_refused_but_not_beside_a_training_set():
    data = make(val_count=1)
    data.trainer = SimpleNamespace(datamodule=data)
    with pytest.raises(ConfigError, match="WorldFaceSets has no faces to train on; give it as `evaluation`"):
        data.setup("fit")
    data.trainer = SimpleNamespace(datamodule=object())
    data.setup("fit")
    assert len(data.val_sets) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"species": ["unicorn"]}, "unknown 'unicorn'"),
        ({"species": ["dog", "dog"]}, "expected each once"),
        ({"species": []}, "species is empty"),
        ({"count": 0}, "count is 0"),
        ({"framing": "tilted"}, "framing 'tilted'"),
        ({"groups": {"known": ["cat"]}}, "'known' has 'cat', which is not in domains"),
        ({"groups": {"known": []}}, "'known' is empty"),
        ({"groups": {"dog": ["dog"]}}, "choose another one"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_other_loaders_have_no_faces():
    with pytest.raises(ConfigError, match="a loader of list has no single faces"):
        face_set_of(DataLoader([1]))


def test_faces_of_the_cache_are_those_that_were_rendered(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path))
    fresh = [ready("test", cache=False).test_sets[1][k] for k in range(5)]
    ready("test")
    files = sorted(tmp_path.rglob("faces/*.npz"))
    assert len(files) == 2
    with monkeypatch.context() as patch:
        patch.setattr("dife_lightning.world.face_box", None)  # nothing is rendered again
        again = [ready("test").test_sets[1][k] for k in range(5)]
    for one, other in zip(fresh, again, strict=True):
        for name in ("image", "points", "visible", "box"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.name, one.crop.file_name) == (other.name, other.crop.file_name)
    files[0].write_bytes(b"damaged")
    assert ready("test").test_sets[0][4].image.shape == (32, 32, 3)
    assert len(sorted(tmp_path.rglob("faces/*.npz"))) == 2
