from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.utils.checks import require, require_choices


@pytest.mark.parametrize("value", [0, 0.5, 1, None, (0, 1), [0.25, 0.75], True])
def test_numbers_within_the_bounds_pass(value: Any) -> None:
    require("part.", at_least=0, at_most=1, share=value)


@pytest.mark.parametrize(
    ("bounds", "value", "text"),
    [
        ({"at_least": 1}, 0, "part.x is 0; expected at least 1"),
        ({"above": 0}, 0.0, "part.x is 0.0; expected above 0"),
        ({"at_least": 0, "below": 1}, 1, "part.x is 1; expected at least 0 and below 1"),
        ({"at_most": 1}, (0.5, 1.5), "part.x is (0.5, 1.5); expected at most 1"),
        ({"at_least": 0}, math.nan, "part.x is nan; expected a number at least 0"),
        ({"at_least": 0}, math.inf, "part.x is inf; expected a number at least 0"),
        ({"at_least": 0}, "3", "part.x is 3; expected a number at least 0"),
    ],
)
def test_other_numbers_are_refused_with_the_bounds(bounds: dict[str, float], value: Any, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        require("part.", **bounds, x=value)
    assert str(error.value) == text


@dataclass(frozen=True)
class Options:
    kind: Literal["soft", "hard"] = "soft"
    note: str = "anything"


def test_a_choice_of_another_name_gets_the_closest() -> None:
    require_choices("part.", Options("hard", "something"))
    with pytest.raises(ConfigError, match=r"part\.kind 'sotf' is unknown\. Did you mean 'soft'\?"):
        require_choices("part.", Options("sotf"))  # type: ignore[arg-type]
