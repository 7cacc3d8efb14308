"""What the tables claim: which rows are compared, on which pairs, and how large DIFE's error may be."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

#: Keys that every row of results has.
ROW_KEYS = ("method", "pair", "protocol", "framing", "pixel_error", "ci95", "pairs", "points")
FLOORS = ("random", "copy-xy", "mean-shape")
#: Protocol, framing and list of the claims.
CLAIM_PROTOCOL, CLAIM_FRAMING, CLAIM_LIST = "9-point", "jittered", "long"
#: (worse, better) that the method promises.
COMPARISONS = (("surface-teacher", "dife-warmup"), ("dife-warmup", "dife"), ("mean-shape", "dife"))
#: Largest ratio of DIFE's error to that of another method: the paper's ratio on 9 points, and 10 % below a floor.
RATIO_LIMITS = {"surface-teacher": 0.83, **dict.fromkeys(FLOORS, 0.9)}
