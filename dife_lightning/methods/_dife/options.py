"""The options of DIFE in groups. What the paper leaves open is named here, with the reason for the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dife_lightning.errors import ConfigError
from dife_lightning.nn.converter import ConverterKind
from dife_lightning.utils.checks import require, require_choices


@dataclass(frozen=True)
class ConverterOptions:
    """Form of the converters Ψ^d (see ``Converter``).

    Attributes:
        kind: ``official`` (7x7, 7x7, 1x1) or ``paper`` (three 7x7).
        hidden: channels between the layers.
        groups: groups of the group normalisation.
        kernel: side of the large kernels, an odd number.
        side: the embedding is resized to this side before it is converted. None converts it at its own size and
            resizes the generator's features to it, as the official code does.
    """

    kind: ConverterKind = "official"
    hidden: int = 64
    groups: int = 16
    kernel: int = 7
    side: int | None = None

    def __post_init__(self) -> None:
        require("converter.", at_least=1, hidden=self.hidden, groups=self.groups, kernel=self.kernel, side=self.side)
        require_odd("converter.kernel", self.kernel)
        require_choices("converter.", self)


@dataclass(frozen=True)
class DistillationOptions:
    """Distillation losses of the warm-up: equations 1 and 2.

    Attributes:
        reduction: ``mean`` over pixels, or ``sum`` as printed. With Adam only the ratio to the matching losses matters.
        teacher_view: which images the surface teacher sees: the ``warped`` ones (as in the official code), or the
            ``original`` ones, and its embedding is then warped like the image.
        teacher_views: views of an original whose embeddings the teacher averages: the original alone, or also up to
            eight rotated, scaled and moved ones, mapped back. Its errors that depend on the framing cancel (ours).
        teacher_norm: ``unit`` scales the surface teacher's vectors to length 1, like the vertex embeddings that CSE
            compares them with; ``none`` leaves them as they are.
        normalize_features: ``channel`` gives each feature channel mean 0 and deviation 1 over generator samples;
            ``none`` keeps the generator's scale.
        statistics_samples: number of generator samples that the channel statistics are computed from.
        detach_features: equation 2 trains only the converters; its gradient does not reach Φ. This is the ablation
            without K2, whose pseudo-pairs still need converters.
        matching_images: images per domain that are distilled in a step of the matching stage (official code: 1, so that
            a step has 12 images in all); None distils the whole batch.
        photo_stages: stages in which unlabelled photos, where the stream has them (``StreamPhotos``), count in
            equation 1 beside the samples: ``both``, as equation 1 itself, or the ``warmup`` alone.
    """

    reduction: Literal["mean", "sum"] = "mean"
    teacher_view: Literal["warped", "original"] = "warped"
    teacher_views: int = 1
    teacher_norm: Literal["none", "unit"] = "none"
    normalize_features: Literal["channel", "none"] = "channel"
    statistics_samples: int = 256
    detach_features: bool = False
    matching_images: int | None = None
    photo_stages: Literal["both", "warmup"] = "both"

    def __post_init__(self) -> None:
        require("distillation.", at_least=1, statistics_samples=self.statistics_samples)
        require("distillation.", at_least=1, matching_images=self.matching_images)
        require("distillation.", at_least=1, at_most=9, teacher_views=self.teacher_views)
        if self.teacher_views > 1 and self.teacher_view != "original":
            raise ConfigError(
                f"distillation.teacher_views is {self.teacher_views}, but the teacher sees the warped images alone; "
                "set distillation.teacher_view to original, or teacher_views to 1"
            )
        require_choices("distillation.", self)


@dataclass(frozen=True)
class MatchingLossOptions:
    """Semantic matching loss: equations 4 to 6 (see ``semantic_matching_loss``).

    Attributes:
        weights: ``softmax``, ``dve`` or ``literal``.
        temperature: of the softmax over cosines.
        power: exponent of the distance (``dve`` only).
        side: side of the maps that are matched (official code: 48 for 96-px images).
        reduction: as in ``DistillationOptions``.
        queries: source cells drawn per step; None uses all.
        stop_gradient: ``original`` stops the gradient into the original's embedding (official code), ``none`` trains
            both sides.
        symmetric: also match from the partner to the original.
        independent_warps: warp the two images of a pair by different affine maps instead of by the same one.
        agree: match only the cells that the encoder, when the pair was made, found within this many cells of the right
            place; None matches all. Faces of different proportions have no pairs that fit everywhere.
    """

    weights: Literal["softmax", "dve", "literal"] = "softmax"
    temperature: float = 0.02
    power: float = 0.5
    side: int = 48
    reduction: Literal["mean", "sum"] = "mean"
    queries: int | None = None
    stop_gradient: Literal["original", "none"] = "original"
    symmetric: bool = False
    independent_warps: bool = False
    agree: float | None = None

    def __post_init__(self) -> None:
        require("matching_loss.", at_least=1, side=self.side, queries=self.queries)
        require("matching_loss.", above=0, temperature=self.temperature, power=self.power)
        require("matching_loss.", at_least=0, agree=self.agree)
        require_choices("matching_loss.", self)


@dataclass(frozen=True)
class PairOptions:
    """When pseudo-pairs are synthesised, and how many.

    Attributes:
        refresh_every: steps of the matching stage between two syntheses.
        per_refresh: originals per ordered pair of domains in each synthesis.
        bank_size: pairs kept per ordered pair of domains; the oldest are dropped.
        first: originals of the first synthesis; None is ``per_refresh``.
        batch_size: pairs per step over all ordered pairs of domains.
        start: exploration starts at the ``same-z`` style of the partner's domain (official code) or at the ``mean`` w.
        truncation: psi of the originals and of the same-z start.
    """

    refresh_every: int = 50
    per_refresh: int = 8
    bank_size: int = 256
    first: int | None = None
    batch_size: int = 8
    start: Literal["same-z", "mean"] = "same-z"
    truncation: float = 0.7

    def __post_init__(self) -> None:
        names = ("refresh_every", "per_refresh", "bank_size", "first", "batch_size")
        require("pairs.", at_least=1, **{name: getattr(self, name) for name in names})
        require("pairs.", at_least=0, at_most=1, truncation=self.truncation)
        require_choices("pairs.", self)


def require_odd(name: str, value: int) -> None:
    """Raise ConfigError if ``value`` is even."""
    if value % 2 == 0:
        raise ConfigError(f"{name} is {value}; expected an odd number, for example {value + 1}")


def check_losses(domains: dict[str, int], generators: dict[str, str], weights: dict[str, float]) -> None:
    """Raise ConfigError for domains and loss weights that do not fit each other."""
    if not domains:
        raise ConfigError("domains is empty; name at least one, for example {human: 64, dog: 64}")
    missing = [d for d in domains if d not in generators]
    if missing:
        raise ConfigError(f"domain '{missing[0]}' has no generator; add generators.{missing[0]}: a name or file")
    for name in domains:
        if not name or "." in name:
            raise ConfigError(f"domain '{name}': expected a name without a dot, since weights are stored under it")
    require("domains.", at_least=1, **domains)
    require("lambda_", at_least=0, **weights)
    if not any(weights.values()):
        raise ConfigError("all lambdas are 0, so there is nothing to learn; set at least one above 0")
    if not weights["k2"] and (weights["m1"] or weights["m2"]):
        raise ConfigError("lambda_k2 is 0: pseudo-pairs need trained converters; set lambda_m1 and lambda_m2 to 0 too")
    if len(domains) == 1 and weights["m2"] and not weights["m1"]:
        raise ConfigError(
            f"lambda_m2 is {weights['m2']:g}, but '{next(iter(domains))}' is the only domain, so there is no pair of "
            "two species to match; add a domain, or set lambda_m1 above 0, or lambda_m2 to 0"
        )
