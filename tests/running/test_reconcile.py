from __future__ import annotations

from dataclasses import dataclass

import pytest

from dife_lightning.running.reconcile import differences, saved_settings


@dataclass(frozen=True)
class Group:
    side: int = 48
    power: float = 0.5


class A:
    def __init__(self, lr: float = 0.1, domains: dict[str, int] = {}, group: Group = Group()) -> None: ...  # noqa: B006


PLACE = f"{A.__module__}.A"


def test_what_the_checkpoint_says_is_known_without_bookkeeping():
    saved = {"_class_path": PLACE, "_instantiator": "x", "method": "a", "lr": 0.5, "group": {"side": 8}}
    assert saved_settings(saved, A) == ({"lr": 0.5, "group": {"side": 8}}, [])


def test_nothing_is_taken_from_another_class():
    known, notes = saved_settings({"_class_path": "m.B", "lr": 0.5}, A)
    assert known == {}
    assert notes == [f"model: the checkpoint was written by m.B, kept the given {PLACE}"]


@pytest.mark.parametrize(("saved", "place"), [({"old": 1}, "model.old"), ({"group": {"old": 1}}, "model.group.old")])
def test_a_setting_that_no_longer_exists_is_noted(saved, place):
    known, notes = saved_settings({**saved, "lr": 0.5}, A)
    assert known["lr"] == 0.5
    assert notes == [f"{place}: the checkpoint has 1, this version has no such setting"]


def test_what_the_user_said_is_noted_at_every_level():
    notes = differences({"lr": 0.5, "group": {"side": 8, "power": 2}}, {"lr": 0.1, "group": {"side": 16, "power": 2}})
    assert notes == [
        "model.lr: the checkpoint has 0.5, kept the given 0.1",
        "model.group.side: the checkpoint has 8, kept the given 16",
    ]


def test_equal_values_are_not_worth_a_line():
    assert differences({"domains": ("human", "dog")}, {"domains": ["human", "dog"]}) == []
