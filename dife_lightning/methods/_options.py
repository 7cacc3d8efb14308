"""Options that several methods share, and how options are built from plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.pretrained.imagenet import imagenet_file
from dife_lightning.utils.checks import require, require_choices

T = TypeVar("T")


@dataclass(frozen=True)
class EncoderOptions:
    """The encoder Φ: an hourglass, or a network that was trained on ImageNet.

    The defaults give the paper's hourglass of 12,597,136 parameters.

    Attributes:
        planes: see :class:`~dife_lightning.nn.hourglass.HourglassEncoder`; also for ``blocks``, ``depth``, ``groups``.
        blocks: of the hourglass.
        depth: of the hourglass.
        groups: of the hourglass.
        backbone: ``imagenet/mobilenet_v2`` or ``imagenet/efficientnet_lite0``, which is fine-tuned under a feature
            pyramid in place of the hourglass (an option of this package, not of the paper). A fit needs its
            weights (docs/backbones.md); a checkpoint holds all of them.
        backbone_rate: learning rate of the pretrained network, as a share of ``optimizer.lr``.
        side: the shorter side of the images that the pretrained network sees, in pixels.
    """

    planes: tuple[int, int, int] = (64, 128, 128)
    blocks: int = 4
    depth: int = 4
    groups: int = 16
    backbone: str | None = None
    backbone_rate: float = 0.15
    side: int = 128

    def __post_init__(self) -> None:
        require("encoder.", at_least=1, planes=self.planes, blocks=self.blocks, depth=self.depth, groups=self.groups)
        require("encoder.", at_least=0, backbone_rate=self.backbone_rate)
        require("encoder.", at_least=32, side=self.side)

    def build(
        self, dim: int, norm: Literal["group", "batch"] = "group", keep_size: bool = True
    ) -> HourglassEncoder | PyramidEncoder:
        """Return an untrained encoder with ``dim`` output channels.

        Raises:
            ConfigError: an unknown network, or a network for a method that needs an hourglass.
        """
        if self.backbone is not None:
            if not keep_size:
                raise ConfigError("encoder.backbone is set, but this method needs an hourglass, which halves the side")
            known = imagenet_file(self.backbone)
            return PyramidEncoder(known.options, known.pixels, dim, side=self.side)
        return HourglassEncoder(
            dim, self.planes, self.blocks, self.depth, norm=norm, groups=self.groups, keep_size=keep_size
        )


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


def as_options(kind: type[T], value: Any) -> T:
    """Return ``value`` as ``kind``: itself, or built from a plain dict (as a checkpoint stores it)."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"{kind.__name__}: expected its options as a dict, found {type(value).__name__}")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise ConfigError(f"{kind.__name__} has no option '{key}'. {did_you_mean(key, known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})
