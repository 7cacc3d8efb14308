"""Few labelled and many unlabelled faces: what a batch holds, and that it depends on its number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.data.few_labels import FewLabelFaces, FewLabelStream, PointNoise
from dife_lightning.data.training import StreamStart
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.own_schemes import scheme_from_names
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.coordinates import apply_affine
from dife_lightning.mining import LabelPool
from tests.few_faces import NAMES, NoiseFaces, face


def draw(data: NoiseFaces, number: int = 0, start: StreamStart = StreamStart()):  # noqa: B008 - immutable
    counts = data.labelled_batch, data.pooled_batch or 0, data.unlabelled_batch
    return FewLabelStream(data.faces().pool, *counts, data.size, data.seed, start).batch(number)


def test_without_augmentation_the_faces_are_those_that_were_read():
    data = NoiseFaces()
    batch = data.compose(draw(data))
    few = {tuple(one.points.ravel()): one for one in data.faces().labelled}
    for image, points, visible in zip(batch.labelled, batch.points, batch.visible, strict=True):
        same = few[tuple(points.numpy().ravel())]
        np.testing.assert_allclose(image.numpy(), same.image.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
        assert visible.all()
    for image, name in zip(batch.unlabelled, batch.names, strict=True):
        expected = face(name, 100 + int(name.split()[1])).image
        np.testing.assert_allclose(image.numpy(), expected.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    assert (len(batch), batch.pooled.tolist()) == (6, [False, False])
    torch.testing.assert_close(batch.affine, torch.eye(2, 3).expand(4, 2, 3))


def test_some_landmarks_of_labelled_faces_are_moved_and_no_others():
    """Meta-CSKT's authors move each landmark of the mouth with probability 1/2, by up to 1 % of the crop's side."""
    noise = PointNoise((NAMES[2], NAMES[0]), 0.5, 0.1)
    data = NoiseFaces(labelled_batch=200, point_noise=noise)
    drawn = FewLabelStream(data.faces().pool, 200, 0, 0, data.size, data.seed, moved=2).batch(3)
    plain = NoiseFaces(labelled_batch=200)
    moved = (data.compose(drawn).points - plain.compose(drawn).points).numpy()
    assert not moved[:, 1].any()
    for row in (0, 2):
        shifted = moved[:, row][moved[:, row].any(axis=-1)]
        assert 75 < len(shifted) < 125
        limit = 0.1 * data.size
        assert np.abs(shifted).max() <= limit < 1.1 * np.abs(shifted).max()
        assert np.abs(shifted.mean(axis=0)).max() < 0.2 * limit
    with pytest.raises(ConfigError, match="no landmark 'mout'"):
        NoiseFaces(point_noise=PointNoise(("mout",))).compose(draw(data))
    with pytest.raises(ConfigError, match=r"point_noise\.probability is 2"):
        PointNoise((NAMES[0],), 2)


def test_each_pass_shows_every_unlabelled_face_once_and_two_processes_share_it():
    data = NoiseFaces(pool=8)
    names = data.faces().names
    alone = [names[row] for number in range(4) for row in draw(data, number).rows.tolist()]
    assert sorted(alone[:8]) == sorted(alone[8:]) == sorted(names)
    assert alone[:8] != alone[8:]
    both = [draw(data, 0, StreamStart(0, rank, 2)).rows.tolist() for rank in (0, 1)]
    assert [names[row] for part in both for row in part] == alone[:8]


def test_labels_that_were_found_are_drawn_as_often_as_true_ones():
    data = NoiseFaces(labelled=2, pool=6, labelled_batch=64)
    pool = LabelPool(data.true_labels(), data.faces().names)
    pool.store(["pool 1", "pool 4"], torch.tensor([[[1.0, 2.0]] * 3, [[3.0, 4.0]] * 3]), 1)
    data.labels = pool.refresh()
    counts, shown = np.zeros(2), set[float]()
    for number in range(10):
        batch = data.compose(draw(data, number))
        counts += [int((~batch.pooled).sum()), int(batch.pooled.sum())]
        shown |= set(batch.points[batch.pooled][:, 0, 0].tolist())
    assert abs(counts[0] / 640 - 0.5) < 0.07
    assert shown == {1.0, 3.0}
    first = batch.pooled.nonzero()[0, 0]
    name = "pool 1" if batch.points[first, 0, 0] == 1 else "pool 4"
    expected = face(name, 100 + int(name[-1])).image.transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(batch.labelled[first].numpy(), expected, atol=1e-6)


def test_found_labels_can_have_places_of_their_own():
    alone = NoiseFaces(labelled=2, labelled_batch=5)
    data = NoiseFaces(labelled=2, labelled_batch=5, pooled_batch=3)
    first = data.compose(draw(data))
    assert torch.equal(first.labelled, alone.compose(draw(alone)).labelled)  # nothing was found yet
    assert not first.pooled.any()
    pool = LabelPool(data.true_labels(), data.faces().names)
    pool.store(["pool 1", "pool 4"], torch.tensor([[[1.0, 2.0]] * 3, [[3.0, 4.0]] * 3]), 1)
    data.labels = pool.refresh()
    batches = [data.compose(draw(data, number)) for number in range(10)]
    assert all(one.pooled.tolist() == [False] * 5 + [True] * 3 for one in batches)
    assert torch.equal(batches[0].labelled[:5], first.labelled)
    assert {float(x) for one in batches for x in one.points[5:, 0, 0]} == {1.0, 3.0}
    with pytest.raises(ConfigError, match="pooled_batch"):
        NoiseFaces(pooled_batch=0)


def test_other_faces_stand_in_for_those_left_out():
    data = NoiseFaces(pool=8, unlabelled_batch=6)
    names = data.faces().names
    before = [data.compose(draw(data, number)) for number in range(20)]
    data.dropped = frozenset(names[:5])
    after = [data.compose(draw(data, number)) for number in range(20)]
    assert {len(one.names) for one in after} == {6}
    assert {name for one in after for name in one.names} == set(names[5:])
    for old, new in zip(before, after, strict=True):
        kept = [k for k, name in enumerate(old.names) if name in names[5:]]
        assert [new.names[k] for k in kept] == [old.names[k] for k in kept]
        for k, name in enumerate(new.names):
            expected = face(name, 100 + int(name[-1])).image.transpose(2, 0, 1) / 127.5 - 1
            np.testing.assert_allclose(new.unlabelled[k].numpy(), expected, atol=1e-6)
    again = NoiseFaces(pool=8, unlabelled_batch=6)
    again.dropped = frozenset(names[:5])
    assert [again.compose(draw(again, number)).names for number in range(20)] == [one.names for one in after]
    data.dropped = frozenset()
    assert data.compose(draw(data)).names == before[0].names


def test_points_follow_the_augmentation_and_the_mirror():
    options = AugmentOptions(rotation=25, shift=0.1, color_probability=0, padding="zeros")
    data = NoiseFaces(labelled=1, labelled_batch=24, flip=True, augment=options, augment_unlabelled=options)
    few = data.faces().labelled[0]
    few.image[:] = 0
    for k, (x, y) in enumerate([(10, 12), (22, 12), (16, 20)]):
        few.points[k] = x, y
        few.image[y - 1 : y + 2, x - 1 : x + 2, k] = 255
    batch = data.compose(draw(data))
    order, seen = {0: 1, 1: 0, 2: 2}, set[bool]()
    for image, points, visible in zip(batch.labelled, batch.points, batch.visible, strict=True):
        brightest = [np.unravel_index(int(channel.argmax()), channel.shape)[::-1] for channel in image]
        straight = all(np.hypot(*(points[k].numpy() - brightest[k])) < 4 for k in range(3) if visible[k])
        mirrored = all(np.hypot(*(points[k].numpy() - brightest[order[k]])) < 4 for k in range(3) if visible[k])
        assert straight != mirrored  # in a mirrored face the left eye is what was the right one
        seen.add(mirrored)
    assert seen == {True, False}
    corner = apply_affine(batch.affine, torch.tensor([[[5.0, 6.0]]]).expand(4, 1, 2))
    assert not torch.allclose(corner, torch.tensor([5.0, 6.0]))


def test_points_that_leave_the_image_are_not_visible():
    options = AugmentOptions(rotation=0, scale_min=2.5, scale_max=2.5, shift=0, color_probability=0)
    data = NoiseFaces(labelled_batch=16, augment=options)
    batch = data.compose(draw(data))
    inside = ((batch.points >= -0.5) & (batch.points <= 31.5)).all(-1)
    assert torch.equal(batch.visible, inside)
    assert not batch.visible.all()


def test_batches_do_not_depend_on_workers_and_continue_after_a_resume():
    data = NoiseFaces(num_workers=2, seed=3)
    several = [rows.rows.tolist() for rows, _ in zip(data.train_dataloader(), range(5), strict=False)]
    assert several == [draw(data, number).rows.tolist() for number in range(5)]
    data.load_state_dict({"next_batch": 3})
    data.num_workers = 0
    assert next(iter(data.train_dataloader())).rows.tolist() == several[3]


def test_parts_hold_every_face_once():
    data = NoiseFaces(labelled_batch=3, unlabelled_batch=5)
    batch = data.compose(draw(data))
    parts = batch.parts(2)
    assert [(len(one.labelled), len(one.names)) for one in parts] == [(1, 2), (2, 3)]
    assert torch.equal(torch.cat([one.labelled for one in parts]), batch.labelled)
    assert [name for one in parts for name in one.names] == batch.names
    assert len(batch.parts(9)) == 3  # each part has a labelled face


def test_faces_that_cannot_be_used_are_named():
    one = face("a", 0)
    scheme = scheme_from_names(NAMES)
    with pytest.raises(DataError, match="1 labelled face listed twice: a; expected each once"):
        FewLabelFaces([one, one], None, (), scheme, {})
    with pytest.raises(DataError, match="1 unlabelled face listed twice: b"):
        FewLabelFaces([one], [one, one], ("b", "b"), scheme, {})
    with pytest.raises(DataError, match="no labelled face"):
        FewLabelFaces([], None, (), scheme, {})
    with pytest.raises(ConfigError, match="labelled_batch"):
        NoiseFaces(labelled_batch=0)
    data = NoiseFaces()
    with pytest.raises(ConfigError, match="true ones must come first"):
        data.labels = LabelPool(NoiseFaces(labelled=2).true_labels(), ()).current


def test_a_scheme_without_pairs_is_not_mirrored_and_that_is_said(capsys):
    data = NoiseFaces(names=["a", "b", "c"], flip=True)
    data.faces()
    assert "scheme 'own' has no left/right pairs: labelled faces are not mirrored" in capsys.readouterr().err
    batch = data.compose(draw(data))
    known = {tuple(one.points.ravel()) for one in data.faces().labelled}
    assert {tuple(points.numpy().ravel()) for points in batch.points} <= known
