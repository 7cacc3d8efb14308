from __future__ import annotations

import pytest
import torch

from dife_lightning.errors import CheckpointError
from dife_lightning.weights.shapes import Shapes

TENSORS = {
    "a.weight": torch.zeros(8, 3, 1, 1),
    "a.bias": torch.zeros(8),
    "b.weight": torch.zeros(8, 8, 3, 3),
    "b.bias": torch.zeros(8),
}
PLACES = (("a.weight", 0, 4), ("a.bias", 0, 1), ("b.weight", 1, 4))


def shapes(**changes: torch.Tensor | None) -> Shapes:
    changed = {**TENSORS, **{name.replace("_", "."): value for name, value in changes.items()}}
    given = {name: value for name, value in changed.items() if value is not None}
    return Shapes(given, "x.pth", "Net", lambda name: f"hg.{name}")


@pytest.mark.parametrize(
    "changes",
    [{}, {"a_weight": torch.zeros(9, 3, 1, 1)}, {"a_weight": None}, {"a_weight": torch.zeros(9)}, {"b_weight": None}],
)
def test_one_wrong_tensor_does_not_change_a_size(changes: dict[str, torch.Tensor | None]) -> None:
    assert shapes(**changes).size(*PLACES) == 8


def test_the_first_place_decides_at_a_tie() -> None:
    assert shapes(a_weight=torch.zeros(9, 3, 1, 1)).size(*PLACES[:2]) == 9


def test_a_size_that_no_tensor_tells_is_an_error_that_names_the_first_place() -> None:
    with pytest.raises(CheckpointError, match=r"x\.pth has no tensor 'hg\.c\.weight', which every Net has"):
        shapes().size(("c.weight", 0, 4), ("c.bias", 0, 1))
    with pytest.raises(CheckpointError, match=r"x\.pth: 'hg\.a\.bias' is \(8,\), Net expects 4 axes"):
        shapes().size(("a.bias", 0, 4))


def test_sizes_that_cannot_be_are_errors() -> None:
    with pytest.raises(CheckpointError, match=r"'hg\.a\.bias' is \(0,\), Net expects at least 1 along axis 0"):
        shapes(a_bias=torch.zeros(0)).size(("a.bias", 0, 1))
    with pytest.raises(CheckpointError, match=r"'hg\.a\.bias' is \(8,\), Net expects a multiple of 3 along axis 0"):
        shapes().size(("a.bias", 0, 1), multiple=3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("res.0.x res.1.x res.2.x", 3),
        ("res.0.x res.2.x", 3),  # the one left out is missed when all are loaded
        ("res.7_1.x", 8),
        ("res.100.x res.1.x", 2),
        ("res.x.1 other.5.x", 0),
        ("", 0),
    ],
)
def test_parts_are_counted_by_their_largest_number(names: str, expected: int) -> None:
    found = Shapes(dict.fromkeys(names.split(), torch.zeros(1)), "x.pth", "Net")
    assert found.count("res.") == expected
    assert found.count("res.", first=1) == max(0, expected - 1)
