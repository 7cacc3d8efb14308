"""Notes: once in a command, always outside one."""

from __future__ import annotations

from dife_lightning.utils.notes import each_once, note


def test_a_command_prints_equal_notes_once(capsys):
    for _ in range(2):
        with each_once():
            note("left is the viewer's")
            note("left is the viewer's")
            note("right is the viewer's")
    note("left is the viewer's")
    note("left is the viewer's")
    left, right = "note: left is the viewer's", "note: right is the viewer's"
    assert capsys.readouterr().err.splitlines() == [left, right, left, right, left, left]
