"""The options of DIFE in groups. What the paper leaves open is named here with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.losses.matching import WEIGHTS

T = TypeVar("T")


@dataclass(frozen=True)
class EncoderOptions:
    """Size of the hourglass Φ; the defaults are the paper's 12,597,136 parameters (see ``HourglassEncoder``)."""

    planes: tuple[int, int, int] = (64, 128, 128)
    blocks: int = 4
    depth: int = 4
    groups: int = 16


@dataclass(frozen=True)
class ConverterOptions:
    """Form of the converters Ψ^d (see ``Converter``).

    Attributes:
        kind: ``official`` (7x7, 7x7, 1x1) or ``paper`` (three 7x7).
        hidden: channels inside.
        groups: of the group normalisation.
        kernel: side of the large kernels.
        side: the embedding is brought to this side before it is converted; None converts at its own size, as the
            official code does (which brings the features up to it instead).
    """

    kind: Literal["official", "paper"] = "official"
    hidden: int = 64
    groups: int = 16
    kernel: int = 7
    side: int | None = None


@dataclass(frozen=True)
class DistillationOptions:
    """Warm-up: equations 1 and 2.

    Attributes:
        reduction: ``mean`` per pixel, or ``sum`` as printed. With Adam only the ratio to the matching losses counts.
        teacher_view: what the surface teacher looks at: ``warped`` images (as the official code does), or
            ``original`` ones, its answer then being warped like the image.
        teacher_norm: ``unit`` scales the surface teacher's vectors to length 1, as those of the mesh are with which
            CSE compares them; ``none`` takes them as they come.
        mask: leave out pixels that the warp moved in.
        normalize_features: ``channel`` gives each feature channel mean 0 and deviation 1 over generator samples;
            ``none`` leaves the scale of the generator.
        statistics_samples: generator samples behind the channel statistics.
        detach_features: equation 2 trains the converters alone, no gradient of it reaches Φ: the ablation without K2,
            whose pseudo-pairs need converters all the same.
        matching_images: images per domain that are distilled in a step of the matching stage (official code: 1, so that
            a step has 12 images in all); None distils the whole batch.
    """

    reduction: Literal["mean", "sum"] = "mean"
    teacher_view: Literal["warped", "original"] = "warped"
    teacher_norm: Literal["none", "unit"] = "none"
    mask: bool = True
    normalize_features: Literal["channel", "none"] = "channel"
    statistics_samples: int = 256
    detach_features: bool = False
    matching_images: int | None = None

    def __post_init__(self) -> None:
        if self.matching_images is not None and self.matching_images < 1:
            raise ConfigError(f"distillation.matching_images is {self.matching_images}; expected 1 or more, or null")


@dataclass(frozen=True)
class MatchingLossOptions:
    """Semantic matching: equations 4 to 6 (see ``semantic_matching_loss``).

    Attributes:
        weights: ``softmax``, ``windowed``, ``dve`` or ``literal``.
        temperature: of the softmax over cosines.
        window: side of the window in cells (``windowed``).
        power: exponent of the distance (``dve``).
        side: side of the maps that are matched (official code: 48 for 96 px images).
        reduction: as in ``DistillationOptions``.
        queries: source cells drawn per step; None takes all.
        chunk: source cells per slice, to bound memory; None takes all at once.
        stop_gradient: ``original`` lets no gradient into the original's embedding (official code), ``none`` trains
            both.
        symmetric: match partner -> original as well.
        independent_warps: warp both images of a pair for themselves instead of by one affine.
        reliable: share of a pair's cells that are matched, those first where the partner's features came out as wanted;
            1 takes all. Backgrounds share no geometry, and nothing says where the face is.
        agree: match only the cells that the encoder, when the pair was made, already found within so many cells of
            their place; None matches all. Species whose faces have other proportions have no pairs that fit everywhere.
    """

    weights: Literal["softmax", "windowed", "dve", "literal"] = "softmax"
    temperature: float = 0.02
    window: int = 11
    power: float = 0.5
    side: int = 48
    reduction: Literal["mean", "sum"] = "mean"
    queries: int | None = None
    chunk: int | None = None
    stop_gradient: Literal["original", "none"] = "original"
    symmetric: bool = False
    independent_warps: bool = False
    reliable: float = 1.0
    agree: float | None = None

    def __post_init__(self) -> None:
        if self.agree is not None and self.agree < 0:
            raise ConfigError(f"matching_loss.agree is {self.agree}; expected 0 cells or more, or null")
        if not 0 < self.reliable <= 1:
            raise ConfigError(f"matching_loss.reliable is {self.reliable}; expected a share above 0 and up to 1")
        if self.weights not in WEIGHTS:
            raise ConfigError(f"matching_loss.weights '{self.weights}': {did_you_mean(self.weights, WEIGHTS)}")


@dataclass(frozen=True)
class PairOptions:
    """When and how many pseudo-pairs are synthesised.

    Attributes:
        refresh_every: matching steps between two syntheses.
        per_refresh: originals per domain and synthesis (the first one, too).
        bank_size: pairs kept per ordered pair of domains.
        first: originals per domain of the first synthesis; None is ``per_refresh``.
        keep: share of the pairs of a synthesis that stays, smallest feature distance first.
        batch_size: pairs per step over all ordered pairs of domains.
        chunk: samples explored at a time, to bound memory.
        start: exploration starts at the ``same-z`` style of the partner's domain (official code) or at the ``mean`` w.
        truncation: psi of the originals and of the same-z start.
    """

    refresh_every: int = 50
    per_refresh: int = 8
    bank_size: int = 256
    first: int | None = None
    keep: float = 1.0
    batch_size: int = 8
    chunk: int = 32
    start: Literal["same-z", "mean"] = "same-z"
    truncation: float = 0.7

    def __post_init__(self) -> None:
        if self.refresh_every < 1 or self.per_refresh < 1 or self.bank_size < 1 or not 0 < self.keep <= 1:
            raise ConfigError("pairs: refresh_every, per_refresh and bank_size must be at least 1 and 0 < keep <= 1")


@dataclass(frozen=True)
class OptimizerOptions:
    """Adam and its schedule.

    Attributes:
        lr: step size (paper: 1e-3).
        betas: of Adam.
        schedule: ``plateau`` cuts the rate when the validation error stops falling (official code), ``cosine`` keeps it
            during the warm-up and lets it fall to ``final`` until the last step, ``constant`` keeps it. Counters of
            the plateau start with the matching stage.
        factor: of a plateau's cut.
        patience: validations without a gain before a cut.
        final: share of ``lr`` at the end of ``cosine``.
        rise: steps over which the rate rises from 0 at the very start.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    factor: float = 0.1
    patience: int = 10
    final: float = 0.02
    rise: int = 0


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


def plain(value: Any) -> Any:
    """Return options as plain values, which is all that a checkpoint may hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def check_settings(
    domains: dict[str, int], generators: dict[str, str], weights: dict[str, float], warmup_steps: int
) -> None:
    """Refuse settings that make no sense, in one line each."""
    if not domains:
        raise ConfigError("domains is empty; name at least one, for example {human: 64, dog: 64}")
    missing = [d for d in domains if d not in generators]
    if missing:
        raise ConfigError(f"domain '{missing[0]}' has no generator; add generators.{missing[0]}: a name or file")
    for name, value in weights.items():
        if not value >= 0:
            raise ConfigError(f"{name} is {value}; a weight must be 0 (leave the loss out) or above")
    if not any(weights.values()):
        raise ConfigError("all lambdas are 0, so there is nothing to learn; set at least one above 0")
    if not weights["lambda_k2"] and (weights["lambda_m1"] or weights["lambda_m2"]):
        raise ConfigError("lambda_k2 is 0: pseudo-pairs need trained converters; set lambda_m1 and lambda_m2 to 0 too")
    if warmup_steps < 0:
        raise ConfigError(f"warmup_steps is {warmup_steps}; expected 0 or more")
