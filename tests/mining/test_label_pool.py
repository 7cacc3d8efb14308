from __future__ import annotations

import io
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from dife_lightning.errors import CheckpointError, ConfigError, DataError, TrainingError
from dife_lightning.mining.label_pool import LabelPool, LabelSnapshot, PoolEntry, merge_entries


def labelled(count: int = 2):
    points = np.arange(count * 6, dtype=np.float32).reshape(count, 3, 2)
    visible = np.ones((count, 3), bool)
    visible[0, 1] = False
    return LabelSnapshot(tuple(f"true {i}" for i in range(count)), points, visible)


def batch(*values: float):
    return torch.tensor(values)[:, None, None].expand(-1, 3, 2)


def pool_of(every: int = 600, positives=("x", "y", "z")) -> LabelPool:
    return LabelPool(labelled(), positives, every)


def content(pool: LabelPool) -> dict[str, tuple[float, int]]:
    return {name: (float(entry.points[0, 0]), entry.step) for name, entry in pool.entries.items()}


def test_points_of_positives_alone_are_stored_and_later_ones_overwrite_them():
    pool = pool_of()
    assert pool.store(["y", "semi-hard", "x"], batch(1.0, 2.0, 3.0), step=1) == 2
    assert pool.store(["semi-hard"], batch(9.0), step=2) == 0
    assert pool.store(["x"], batch(4.0), step=5) == 1
    pool.store(["x"], batch(5.0), step=3)  # earlier than what is there
    assert content(pool) == {"y": (1.0, 1), "x": (4.0, 5)}
    assert len(pool) == 2


def test_what_is_stored_does_not_follow_the_batch():
    pool, points = pool_of(), batch(1.0).clone()
    pool.store(["x"], points.requires_grad_(), step=1)
    with torch.no_grad():
        points.fill_(7.0)
    assert content(pool) == {"x": (1.0, 1)}
    with pytest.raises(ValueError, match="read-only"):
        pool.entries["x"].points[0] = 7.0


def test_the_snapshot_changes_at_a_refresh_alone():
    pool = pool_of()
    pool.store(["z", "x"], batch(1.0, 2.0), step=1)
    assert pool.current.names == ("true 0", "true 1")
    snapshot = pool.refresh()
    assert snapshot.names == ("true 0", "true 1", "x", "z")
    assert (len(snapshot), snapshot.pooled) == (4, 2)
    np.testing.assert_array_equal(snapshot.points[:2], labelled().points)
    np.testing.assert_array_equal(snapshot.points[2:, 0, 0], [2.0, 1.0])
    np.testing.assert_array_equal(snapshot.visible[1:], True)
    assert snapshot.visible[0].tolist() == [True, False, True]
    pool.store(["x", "y"], batch(8.0, 9.0), step=2)
    np.testing.assert_array_equal(pool.current.points, snapshot.points)
    assert pool.refresh().names == ("true 0", "true 1", "x", "y", "z")


def test_a_snapshot_cannot_be_changed():
    pool = pool_of()
    pool.store(["x"], batch(1.0), step=1)
    snapshot = pool.refresh()
    with pytest.raises(FrozenInstanceError):
        snapshot.names = ()
    for array in (snapshot.points, snapshot.visible):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_labelled_face_keeps_its_true_label():
    pool = pool_of(positives=["true 1", "x"])
    assert pool.store(["true 1", "x"], batch(5.0, 6.0), step=1) == 1
    assert pool.refresh().names == ("true 0", "true 1", "x")


def test_a_refresh_is_due_after_every_so_many_steps():
    assert [step for step in range(2000) if pool_of().due(step)] == [600, 1200, 1800]
    assert [step for step in range(8) if pool_of(every=3).due(step)] == [3, 6]


def test_a_resumed_pool_goes_on_as_one_without_interruption():
    def steps(pool: LabelPool, first: int, last: int) -> None:
        for step in range(first, last):
            pool.store(["x", "y", "z"][step % 3 : step % 3 + 2], batch(step, step + 0.5)[: 3 - step % 3], step)
            if pool.due(step):
                pool.refresh()

    whole, start, resumed = (pool_of(every=4) for _ in range(3))
    steps(whole, 0, 11)
    steps(start, 0, 7)
    file = io.BytesIO()
    torch.save(start.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert content(resumed) == content(start)
    np.testing.assert_array_equal(resumed.current.points, start.current.points)
    steps(resumed, 7, 11)
    assert content(resumed) == content(whole)
    assert resumed.current.names == whole.current.names
    np.testing.assert_array_equal(resumed.current.points, whole.current.points)


def test_an_empty_pool_can_be_stored_and_restored():
    pool = pool_of()
    pool.load_state_dict(pool_of().state_dict())
    assert len(pool) == pool.refresh().pooled == 0


def test_a_merge_is_the_union_and_the_latest_step_wins():
    def entry(value: float, step: int) -> PoolEntry:
        return PoolEntry(np.full((3, 2), value, np.float32), step)

    first, second = {"b": entry(1, 5), "c": entry(2, 5)}, {"c": entry(3, 6), "b": entry(4, 5), "a": entry(5, 1)}
    merged = merge_entries([first, second])
    assert list(merged) == ["a", "b", "c"]
    assert [entry.points[0, 0] for entry in merged.values()] == [5, 1, 3]  # of equal steps the first process
    assert merge_entries([merged, first, second]) == merged
    assert merge_entries([]) == {}


def test_two_processes_that_share_have_the_pool_of_one_that_saw_all_batches():
    one, ranks = pool_of(), [pool_of(), pool_of()]
    for step, (left, right) in enumerate([("x", "y"), ("y", "z"), ("z", "y")]):
        for rank, name in zip(ranks, (left, right), strict=True):
            value = batch(10 * step + ord(name))
            rank.store([name], value, step)
            one.store([name], value, step)
    tables = [rank.entries for rank in ranks]
    for rank in ranks:
        rank.share(tables)
        np.testing.assert_array_equal(rank.refresh().points, one.refresh().points)
        assert content(rank) == content(one)


def test_points_that_do_not_fit_or_are_not_finite_are_refused():
    pool = pool_of()
    with pytest.raises(DataError, match=r"points of shape \(1, 4, 2\); expected \(1, 3, 2\)"):
        pool.store(["x"], torch.zeros(1, 4, 2), step=1)
    with pytest.raises(DataError, match=r"expected \(2, 3, 2\)"):
        pool.store(["x", "y"], batch(1.0), step=1)
    with pytest.raises(TrainingError, match="points of y are not finite at step 4"):
        pool.store(["x", "y", "other"], batch(1.0, float("nan"), float("nan")), step=4)
    assert len(pool) == 0
    with pytest.raises(ConfigError, match="label pool: every is 0; expected at least 1"):
        pool_of(every=0)
    with pytest.raises(DataError, match="labelled faces: 1 names"):
        LabelSnapshot(("a",), np.zeros((2, 3, 2)), np.ones((2, 3)))


def damaged(**changes):
    pool = pool_of()
    pool.store(["x", "y"], batch(1.0, 2.0), step=1)
    state = pool.state_dict()
    return {**state, "entries": {**state["entries"], **changes}}


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"entries": 3, "snapshot": None},
        damaged(points=torch.zeros(2, 4, 2)),
        damaged(points=None),
        damaged(steps=torch.zeros(3)),
        damaged(names=["x"]),
        damaged(names=["x", "x"]),
        damaged(names=[1, 2]),
    ],
)
def test_states_of_another_form_are_refused(state):
    with pytest.raises(CheckpointError, match="label pool: 'entries' of the checkpoint does not fit"):
        pool_of().load_state_dict(state)


def test_a_state_with_other_positives_is_refused_and_changes_nothing():
    pool = pool_of(positives=["x"])
    with pytest.raises(CheckpointError, match="label pool: y of the checkpoint are no positives here"):
        pool.load_state_dict(damaged())
    assert len(pool) == 0
