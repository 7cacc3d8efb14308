"""What the tables claim: which rows are compared, on which pairs, and when a claim holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Row = dict[str, Any]

#: What a row of results says at least.
ROW_KEYS = ("method", "pair", "protocol", "framing", "pixel_error", "ci95", "pairs", "points")
FLOORS = ("random", "copy-xy", "mean-shape")
#: Claims are made here.
CLAIM_PROTOCOL, CLAIM_FRAMING, CLAIM_LIST = "9-point", "jittered", "long"
#: (worse, better) that the method promises.
COMPARISONS = (("surface-teacher", "dife-warmup"), ("dife-warmup", "dife"), ("mean-shape", "dife"))
#: DIFE's error may be this share of the other method's at most: the paper's ratio on 9 points, and 10 % below a floor.
RATIO_LIMITS = {"surface-teacher": 0.83, **dict.fromkeys(FLOORS, 0.9)}


@dataclass(frozen=True)
class Comparison:
    """Error of ``worse`` minus that of ``better`` on the same points, in pixels of a 70-px crop."""

    worse: str
    better: str
    pair: str
    difference: float
    ci95: tuple[float, float]
    protocol: str = CLAIM_PROTOCOL
    framing: str = CLAIM_FRAMING

    @property
    def holds(self) -> bool:
        """Whether the interval lies above zero."""
        return self.ci95[0] > 0


@dataclass(frozen=True)
class Ratio:
    """Error of DIFE divided by that of another method, and the most that it may be."""

    other: str
    pair: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.value <= self.limit


def plain(items: Sequence[Comparison | Ratio]) -> list[dict[str, Any]]:
    """Return comparisons or ratios as entries of a JSON file."""
    return [{**asdict(item), "holds": item.holds} for item in items]
