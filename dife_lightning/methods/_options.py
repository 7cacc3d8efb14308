"""Options that several methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dife_lightning.utils.checks import require, require_choices


@dataclass(frozen=True)
class OptimizerOptions:
    """Adam and its learning-rate schedule.

    Attributes:
        lr: learning rate (paper: 1e-3).
        betas: of Adam.
        schedule: ``plateau`` lowers the rate when the validation error stops falling (official code), ``cosine`` keeps
            it during the warm-up stage and then lowers it to ``final`` of it until the last step, ``constant`` keeps
            it. A plateau counts validations from the start of the matching stage, and never during the rise.
        factor: the plateau multiplies the rate by this.
        patience: validations without a gain before a plateau lowers the rate.
        final: share of ``lr`` that is left at the end of ``cosine``.
        rise: steps over which the rate rises linearly to ``lr`` at the very start, under every schedule.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    factor: float = 0.1
    patience: int = 10
    final: float = 0.02
    rise: int = 0

    def __post_init__(self) -> None:
        require("optimizer.", above=0, lr=self.lr)
        require("optimizer.", at_least=0, below=1, betas=self.betas)
        require("optimizer.", above=0, below=1, factor=self.factor)
        require("optimizer.", at_least=0, patience=self.patience, rise=self.rise)
        require("optimizer.", at_least=0, at_most=1, final=self.final)
        require_choices("optimizer.", self)
