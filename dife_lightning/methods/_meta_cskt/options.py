"""Options of Meta-CSKT's mining, and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dife_lightning.mining.split import Threshold, check_threshold
from dife_lightning.utils.checks import require


@dataclass(frozen=True)
class MiningOptions:
    """How unlabelled faces are sorted into positives, semi-hard faces and hard negatives.

    Both shifts are read from files, or measured when the two networks start to teach each other.

    Attributes:
        t_neg: faces with this flip shift or a larger one are dropped (Meta-CSKT: 0.2); a quantile such as ``q0.9`` is
            that of the pool. None drops none.
        t_pos: faces with a smaller human shift are positives, which enter the pool of labels (Meta-CSKT: 0.05). None
            takes none.
        flip: CSV of the flip shifts in the published form ``img,nme``; None measures them.
        human: CSV of the human shifts; None measures them with ``network``.
        network: landmark model of human faces: a shipped name, a checkpoint, a run or a public HRNet.
        scheme: of its points, for a public HRNet, which does not state it.
        every: steps after which the shifts are measured again, with the network that is evaluated; None measures once.

    Raises:
        ConfigError: a threshold of another form, or ``every`` below 1.
    """

    t_neg: Threshold = 0.2
    t_pos: Threshold = 0.05
    flip: str | None = None
    human: str | None = None
    network: str | None = None
    scheme: str = "aflw-19"
    every: int | None = None

    def __post_init__(self) -> None:
        require("mining.", at_least=1, every=self.every)
        for name in ("t_neg", "t_pos"):
            if getattr(self, name) in ("None", "null"):  # what the parser makes of null where text is allowed, too
                object.__setattr__(self, name, None)
            check_threshold(f"mining.{name}", getattr(self, name))

    @property
    def needs_network(self) -> bool:
        """Whether a model of human faces is needed."""
        return self.t_pos is not None and self.human is None


def published_factor(step: int, wait: int, steps: int) -> float:
    """Return the share of the learning rate at a step: 0 before ``wait``, then a cosine that falls to 0 at ``steps``.

    Reference: Meta-CSKT's published training, whose cosine counts from step 0.
    """
    return 0.0 if step < wait else (1 + math.cos(math.pi * min(1.0, step / max(1, steps)))) / 2
