from __future__ import annotations

import numpy as np
import pytest
import torch

from dife_lightning.faces.schemes import get_protocol
from dife_lightning.metrics.keypoint_transfer import keypoint_transfer_scores
from dife_lightning.metrics.swaps import swap_events
from tests.metrics.tables import random_table, table_of

FLIPS = get_protocol("3-point").flip_pairs
TRUTH = [[[20.0, 30.0], [40.0, 30.0], [30.0, 50.0]]]


def swapped(predicted, visible=None):
    events, counted = swap_events(table_of(TRUTH, [predicted], visible), FLIPS)
    return events[0].tolist(), counted[0].tolist()


def test_an_exchanged_pair_is_two_swaps_and_a_nose_is_none():
    assert swapped([[40, 30], [20, 30], [31, 12]]) == ([1, 1, 0], [True, True, False])


def test_a_point_in_the_middle_is_no_swap_and_one_just_past_it_is():
    assert swapped([[30, 44], [40, 30], [30, 50]])[0] == [0, 0, 0]
    assert swapped([[30.1, 44], [29.9, 0], [30, 50]])[0] == [1, 1, 0]


def test_a_point_whose_partner_cannot_be_seen_does_not_count():
    assert swapped([[40, 30], [20, 30], [30, 50]], [[True, False, True]]) == ([0, 0, 0], [False] * 3)


def test_a_mirrored_face_swaps_every_paired_point():
    table = random_table(0)
    order = [3, 2, 1, 0, 4, 6, 5, 7, 8]
    mirrored = table_of(table.truth, table.truth[:, order], table.visible)
    events, counted = swap_events(mirrored, get_protocol("9-point").flip_pairs)
    assert counted[:, [4, 7, 8]].sum() == 0
    np.testing.assert_array_equal(events == 1, counted)


@pytest.mark.parametrize("points", [3, 9])
def test_the_rate_is_the_one_that_a_test_reports(points):
    table = random_table(1, pairs=200, points=points, spread=20)
    events, counted = swap_events(table, get_protocol(f"{points}-point").flip_pairs)
    arrays = (torch.from_numpy(array) for array in (table.predicted, table.truth, table.visible))
    scores = keypoint_transfer_scores(*arrays, torch.full((200,), 64.0), f"{points}-point")
    assert 0.1 < scores.swap_rate < 0.6
    assert events.sum() / counted.sum() == pytest.approx(scores.swap_rate, abs=1e-12)
