"""One hyper-parameter of a sweep: the values that it may take, from the forms in which wandb writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dife_lightning.errors import UsageError, did_you_mean

Kind = Literal["choice", "int", "real", "log"]
#: More values than this are no grid any more.
LARGEST_GRID = 10_000
#: Significant digits of a drawn value: what is tried can be read and typed.
_DIGITS = 6
_KEYS = {"value", "values", "min", "max", "q", "distribution", "probabilities"}
#: Distribution -> (kind, keys that it needs, keys that it may have).
_DISTRIBUTIONS: dict[str, tuple[Kind, set[str], set[str]]] = {
    "constant": ("choice", {"value"}, set()),
    "categorical": ("choice", {"values"}, {"probabilities"}),
    "int_uniform": ("int", {"min", "max"}, set()),
    "uniform": ("real", {"min", "max"}, set()),
    "q_uniform": ("real", {"min", "max"}, {"q"}),
    "log_uniform_values": ("log", {"min", "max"}, set()),
    "q_log_uniform_values": ("log", {"min", "max"}, {"q"}),
}


@dataclass(frozen=True)
class Parameter:
    """A key of `dife fit` and the values that a sweep tries for it.

    Attributes:
        name: the dotted key, such as ``model.init_args.lambda_k1``.
        kind: ``choice`` of some values, ``int`` or ``real`` uniformly between two, or ``log`` for equal ratios.
        values: of a choice; one value is a constant.
        low: smallest value of a range.
        high: largest value of a range, which it may take.
        step: values are multiples of it (wandb's ``q``); None for all values between.
        probabilities: of the values of a choice, where they are not alike.
    """

    name: str
    kind: Kind
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    probabilities: tuple[float, ...] | None = None

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.values) > 1 if self.kind == "choice" else self.low < self.high

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers, so that they have an order."""
        return self.kind != "choice" or all(_is_number(value) for value in self.values)

    def draw(self, u: float) -> Any:
        """Return the value at the position ``u`` of [0, 1): equal parts of it are equally likely."""
        if self.kind == "choice":
            return self.values[self._index(u)]
        if self.kind == "int":
            return min(int(self.low) + int(u * (self.high - self.low + 1)), int(self.high))
        if self.kind == "log":
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + u * (self.high - self.low)
        return self.rounded(value)

    def _index(self, u: float) -> int:
        if self.probabilities is None:
            return min(int(u * len(self.values)), len(self.values) - 1)
        total, below = sum(self.probabilities), 0.0
        for index, share in enumerate(self.probabilities):
            below += share / total
            if u < below:
                return index
        return len(self.values) - 1

    def rounded(self, value: float) -> float | int:
        """Return a value of the range as it is handed on: a multiple of the step, and six digits."""
        if self.step is not None:
            value = round(value / self.step) * self.step
        value = min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)
        whole = self.step is not None and all(isinstance(n, int) for n in (self.low, self.high, self.step))
        return int(value) if whole else value

    def unit(self, value: Any) -> float:
        """Return where a value lies in [0, 1], as on an axis of a picture; a lone one lies in the middle."""
        if not self.varies:
            return 0.5
        if self.kind == "choice":
            return self.values.index(value) / (len(self.values) - 1)
        if self.kind == "log":
            return math.log(value / self.low) / math.log(self.high / self.low)
        return float((value - self.low) / (self.high - self.low))

    def grid(self) -> list[Any]:
        """Return all values.

        Raises:
            UsageError: there is no end of them.
        """
        if self.kind == "choice":
            return list(self.values)
        step = 1 if self.kind == "int" else self.step
        if step is None or self.kind == "log":
            raise UsageError(f"parameter '{self.name}': a grid needs values: [...], or q beside min and max.")
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        if count > LARGEST_GRID:
            raise UsageError(f"parameter '{self.name}': {count} values are no grid; name some with values: [...].")
        steps = [self.low + i * step for i in range(count)]
        return [int(value) for value in steps] if self.kind == "int" else list(dict.fromkeys(map(self.rounded, steps)))


def parse_parameter(name: str, form: Any) -> Parameter:
    """Read one entry of ``parameters``.

    Args:
        name: its dotted key.
        form: what wandb takes: ``value``, ``values``, or ``min`` and ``max``, with or without ``distribution``.

    Raises:
        UsageError: a form that is not supported, with its key.
    """
    if not isinstance(form, Mapping):
        raise _wrong(name, f"expected value, values, or min and max, found {form!r}")
    if "parameters" in form:
        raise _wrong(name, "nested parameters are not supported; write the keys with dots, as model.init_args.lr")
    for key in form:
        if key not in _KEYS:
            raise _wrong(name, f"unknown key '{key}'. {did_you_mean(str(key), _KEYS)}")
    distribution = form["distribution"] if "distribution" in form else _implied(name, form)
    if distribution not in _DISTRIBUTIONS:
        near = f"{distribution}_values"  # wandb's log_uniform has exponents for bounds
        hint = f"Take {near}, whose bounds are values." if near in _DISTRIBUTIONS else ""
        hint = hint or did_you_mean(str(distribution), _DISTRIBUTIONS)
        raise _wrong(name, f"distribution '{distribution}' is not supported. {hint}")
    kind, needed, allowed = _DISTRIBUTIONS[distribution]
    found = set(form) - {"distribution"}
    if not needed <= found or not found <= needed | allowed:
        raise _wrong(name, f"distribution {distribution} takes {_and(needed)}, found {_and(found) or 'nothing'}")
    return _choice(name, form) if kind == "choice" else _range(name, form, kind, distribution)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return dotted key -> its last parts, as many as tell it from the others."""
    short = {}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            short[name] = ".".join(parts[-count:])
            if sum(other == short[name] or other.endswith(f".{short[name]}") for other in names) == 1:
                break
    return short


def _implied(name: str, form: Mapping[str, Any]) -> str:
    """Return the distribution of a form that names none, by wandb's rules."""
    if "value" in form:
        return "constant"
    if "values" in form:
        return "categorical"
    kinds = {type(form.get(key)) for key in ("min", "max")}
    if kinds == {int}:
        return "int_uniform"
    if kinds == {int, float}:
        raise _wrong(name, "min and max are a whole number and a float; make both of a kind, or name the distribution")
    return "uniform"


def _choice(name: str, form: Mapping[str, Any]) -> Parameter:
    if "value" in form:
        return Parameter(name, "choice", (form["value"],))
    values, shares = form["values"], form.get("probabilities")
    if not isinstance(values, list) or not values:
        raise _wrong(name, f"values: expected a list of one or more, found {values!r}")
    if any(value in values[:index] for index, value in enumerate(values)):
        raise _wrong(name, f"values: one of them is there twice in {values}")
    if shares is None:
        return Parameter(name, "choice", tuple(values))
    good = isinstance(shares, list) and all(_is_number(share) and share >= 0 for share in shares)
    if not good or len(shares) != len(values) or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise _wrong(name, f"probabilities: expected {len(values)} numbers whose sum is 1, found {shares!r}")
    return Parameter(name, "choice", tuple(values), probabilities=tuple(map(float, shares)))


def _range(name: str, form: Mapping[str, Any], kind: Kind, distribution: str) -> Parameter:
    for key in ("min", "max", "q"):
        if key in form and not _is_number(form[key]):
            hint = " (YAML reads 1e-3 as text; write 1.0e-3)" if _reads_as_number(form[key]) else ""
            raise _wrong(name, f"{key}: expected a number, found {form[key]!r}{hint}")
    low, high = form["min"], form["max"]
    step = form.get("q", 1) if distribution.startswith("q_") else None
    if low >= high:
        raise _wrong(name, f"min {low} is not below max {high}")
    if kind == "log" and low <= 0:
        raise _wrong(name, f"min {low}: a {distribution} needs a min above 0")
    if step is not None and not 0 < step <= high - low:
        raise _wrong(name, f"q {step}: expected above 0 and at most max - min")
    if kind == "int" and not all(isinstance(bound, int) for bound in (low, high)):
        raise _wrong(name, f"int_uniform: expected whole numbers, found {low} and {high}")
    return Parameter(name, kind, low=low, high=high, step=step)


def _wrong(name: str, what: str) -> UsageError:
    return UsageError(f"parameter '{name}': {what.rstrip('.')}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reads_as_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _and(names: set[str]) -> str:
    return " and ".join(sorted(names, key=["value", "values", "min", "max", "q", "probabilities"].index))
