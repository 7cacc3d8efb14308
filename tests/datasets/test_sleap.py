"""The reader of SLEAP on a file that sleap-io writes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.schemes import get_scheme
from tests.datasets.labelled import faces_of, notes_of


def write(root, videos=None) -> None:
    sio = pytest.importorskip("sleap_io", reason="the extra 'sleap' is not installed")
    skeleton = sio.Skeleton(["one", "other", "snout"], symmetries=[("one", "other")])
    video = sio.Video.from_filename(videos or [str(root / "a.png"), str(root / "b.png")])

    def instance(cls, values, **more):
        return cls.from_numpy(np.array(values, float), skeleton=skeleton, **more)

    nan = [np.nan, np.nan]
    people = [
        instance(sio.Instance, [[1.5, 2], nan, [3, 4]], track=sio.Track("m1")),
        instance(sio.Instance, [[5, 6], [7, 8], nan]),
    ]
    frames = [
        sio.LabeledFrame(video=video, frame_idx=0, instances=people),
        sio.LabeledFrame(video=video, frame_idx=1, instances=[instance(sio.PredictedInstance, [nan, nan, [9, 9]])]),
    ]
    sio.save_slp(sio.Labels(frames), str(root / "labels.slp"))


def test_sleap_instances_are_faces_and_symmetries_are_mirror_pairs(root, capsys):
    write(root)
    dataset = load_dataset("sleap", root)
    assert faces_of(dataset) == [
        ("a.png#m1", {"one": [1.5, 2], "snout": [3, 4]}), ("a.png#2", {"one": [5, 6], "other": [7, 8]}),
    ]  # fmt: skip
    assert get_scheme(dataset.scheme).flip_pairs == ((0, 1),)
    assert notes_of(capsys) == ["pictures with predictions alone passed over (--predictions true): 1"]
    assert faces_of(load_dataset("sleap", root, predictions=True))[2] == ("b.png", {"snout": [9, 9]})
    assert dataset[0]["image"].shape == (40, 50, 3)


def test_sleap_pictures_that_have_moved_are_found(root):
    write(root, ["C:\\elsewhere\\a.png", "C:\\elsewhere\\b.png"])
    assert load_dataset("sleap", root).annotations[0].image == root / "a.png"


def test_sleap_frames_of_a_video_say_how_to_get_pictures(root):
    write(root, "film.mp4")
    with pytest.raises(DataError, match=r"frame 0 is in film\.mp4, expected a picture file; write pictures with `sio"):
        load_dataset("sleap", root)


def test_sleap_says_what_is_wrong(root):
    write(root)
    (root / "labels.slp").write_text("nothing")
    with pytest.raises(DataError, match=r"labels\.slp cannot be read as a file of SLEAP"):
        load_dataset("sleap", root)


def test_without_the_extra_the_command_says_what_to_type(root, monkeypatch):
    (root / "labels.slp").write_text("x")
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    with pytest.raises(ConfigError, match=r"type: pip install 'dife-lightning\[sleap\]'"):
        load_dataset("sleap", root)
