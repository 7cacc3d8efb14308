from __future__ import annotations

from dife_lightning.running.reconcile import reconcile

PRESENT = {"lr": 0.1, "width": 4, "domains": ["human", "dog"]}


def test_what_the_user_left_open_comes_from_the_checkpoint():
    result = reconcile({"_class_path": "m.A", "lr": 0.5, "width": 4}, {}, PRESENT, "m.A")
    assert result.updates == {"lr": 0.5}
    assert result.notes == []


def test_what_the_user_said_stays_and_is_noted():
    result = reconcile({"lr": 0.5}, {"lr": 0.1}, PRESENT, "m.A")
    assert result.updates == {}
    assert result.notes == ["model.lr: the checkpoint has 0.5, kept the given 0.1"]


def test_equal_values_are_not_worth_a_line():
    assert reconcile({"domains": ("human", "dog")}, {"domains": ["human", "dog"]}, PRESENT, "m.A") == ({}, [])


def test_nothing_is_taken_from_another_class():
    result = reconcile({"_class_path": "m.B", "lr": 0.5}, {}, PRESENT, "m.A")
    assert result.updates == {}
    assert "written by m.B, kept the given m.A" in result.notes[0]


def test_a_setting_that_no_longer_exists_is_noted():
    result = reconcile({"old": 1, "_instantiator": "x", "method": "a"}, {}, PRESENT, "m.A")
    assert result.updates == {}
    assert len(result.notes) == 1
    assert "model.old" in result.notes[0]
