from __future__ import annotations

import pytest

from dife_lightning.errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("one"), "ValueError: one"),
        (OSError("\n  one \ntwo\n"), "OSError: one"),
        (ValueError(), "ValueError"),
        (ImportError("\n"), "ImportError"),
    ],
)
def test_a_reason_is_the_kind_and_the_first_line_that_says_something(error: Exception, reason: str) -> None:
    assert reason_of(error).rstrip() == reason


def test_a_long_reason_is_cut() -> None:
    assert reason_of(KeyError("x" * 1000)) == "KeyError: '" + "x" * 129
