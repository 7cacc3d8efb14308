"""Sweep files in wandb's format, with parameters as Optuna's distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from dife_lightning.errors import UsageError, did_you_mean
from dife_lightning.running.configs import find_file, packaged_configs, read_yaml

Goal = Literal["minimize", "maximize"]
METHODS, GOALS = ("grid", "random", "bayes"), ("minimize", "maximize")
#: A larger grid is refused as a mistake.
LARGEST_GRID = 10_000
ARGS = "${args}"
_NEEDED = ("command", "method", "metric", "parameters")
#: The last five are for a wandb server.
_KNOWN = (*_NEEDED, "program", "run_cap", "name", "description", "project", "entity", "early_terminate")
#: Words that can precede `dife` in a command.
_LAUNCHERS = ("${env}", "/usr/bin/env", "${interpreter}", "python", "-m")
#: Options that `dife sweep` sets for each `dife fit`.
_OWN = ("run", "runs_root", "overwrite", "ckpt_path", "print_config")
_NUMERIC = ("int_uniform", "uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
#: wandb's distributions.
DISTRIBUTIONS = ("constant", "categorical", *_NUMERIC)
_FORMS = (
    "expected value, values: [...], or numbers min and max (YAML reads 1e-3 as text; write 1.0e-3), and dotted keys "
    "in place of nested parameters"
)


class Parameter(NamedTuple):
    """The values that a sweep tries for one key of `dife fit`; a constant is a list of one value."""

    distribution: Any  # one of Optuna's
    q: float | None = None  # drawn numbers are rounded to multiples of q
    probabilities: Sequence[float] | None = None  # of the values of a list

    def rounded(self, value: Any) -> Any:
        """Round a drawn number to a multiple of ``q`` and to six significant digits, within the range."""
        if isinstance(self.distribution, CategoricalDistribution):
            return value
        if self.q is not None:
            value = round(value / self.q) * self.q
        if isinstance(self.distribution, FloatDistribution):
            value = float(f"{value:.6g}")
        return min(max(value, self.distribution.low), self.distribution.high)


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file."""

    words: tuple[str, ...]  # of the command after `dife`, with ${args} in place of the parameters
    method: str
    metric: str  # column of metrics.csv
    goal: Goal
    parameters: dict[str, Parameter]  # by dotted key
    content: Mapping[str, Any]  # as the file has it
    most: float  # number of trials: the smaller of run_cap and the size of the grid

    @property
    def space(self) -> dict[str, Any]:
        """Key -> Optuna's distribution."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    @property
    def varying(self) -> dict[str, str]:
        """Key -> short name of each parameter with several values: its last part, unless another key shares it."""
        last = [name.rpartition(".")[2] for name in self.parameters]
        short = {name: end if last.count(end) == 1 else name for name, end in zip(self.parameters, last, strict=True)}
        return {name: short[name] for name, distribution in self.space.items() if not distribution.single()}

    def loss(self, value: float) -> float:
        """Return a value of the metric with the sign changed if larger is better."""
        return value if self.goal == "minimize" else -value

    def command(self, values: Mapping[str, Any], more: Sequence[str] = ()) -> list[str]:
        """Return the words of a trial after ``dife``; ``more`` come last and therefore win."""
        at = self.words.index(ARGS)
        given = [f"--{name}={as_text(value)}" for name, value in values.items()]
        return [*self.words[:at], *given, *self.words[at + 1 :], *more]

    def identity(self) -> dict[str, Any]:
        """Return what must not change when a sweep is resumed."""
        metric = {"name": self.metric, "goal": self.goal}
        parameters = self.content["parameters"]
        return {"command": list(self.words), "method": self.method, "metric": metric, "parameters": parameters}


def as_text(value: Any) -> str:
    """Return a value as a wandb agent writes it; lists, dictionaries and null as YAML reads them."""
    return json.dumps(value) if value is None or isinstance(value, list | dict) else str(value)


def check(good: bool, text: str) -> None:
    """Raise a ``UsageError`` with this text unless ``good``."""
    if not good:
        raise UsageError(text)


def list_sweeps() -> list[str]:
    """Return the names of the shipped sweeps, such as ``sweeps/lambdas``."""
    return sorted(f"sweeps/{path.stem}" for path in (packaged_configs() / "sweeps").glob("*.yaml"))


def find_sweep(name: str) -> Path:
    """Return the file of a path or of a shipped sweep's name; raise ``UsageError`` if there is neither."""
    return find_file(name, "sweep", list_sweeps)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        UsageError: it is not YAML or contains something unsupported; one line with the file and the key.
    """
    content = read_yaml(path, "'method:' and 'parameters:'")
    try:
        return parse_sweep(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse_sweep(content: Mapping[str, Any]) -> Sweep:
    """Read the content of a sweep file; see :func:`read_sweep`."""
    missing = [key for key in _NEEDED if key not in content]
    check(not missing, f"no '{''.join(missing[:1])}'; a sweep needs {', '.join(_NEEDED)} (see docs/sweeps.md).")
    method, metric, forms, cap = content["method"], content["metric"], content["parameters"], content.get("run_cap")
    named = isinstance(metric, Mapping) and isinstance(metric.get("name"), str)
    check(named, "metric: expected {name: val/pixel_error, goal: minimize}.")
    goal = metric.get("goal", "minimize")
    _check_known("unknown key", content, _KNOWN)
    _check_known("unknown method", [method], METHODS)
    _check_known("metric: unknown key", metric, ("name", "goal"))
    _check_known("metric: unknown goal", [goal], GOALS)
    example = "model.init_args.lr: {values: [0.1, 1.0]}"
    check(isinstance(forms, Mapping) and bool(forms), f"parameters: none given; list keys of `dife fit`, as {example}.")
    parameters = {str(name): parse_parameter(str(name), form, method) for name, form in forms.items()}
    size = math.prod(len(one.distribution.choices) for one in parameters.values()) if method == "grid" else math.inf
    check(method != "grid" or size <= LARGEST_GRID, f"the grid has {size:,} trials; list fewer values, or use random.")
    check(cap is None or (type(cap) is int and cap >= 1), f"run_cap: expected 1 or more, found {cap!r}.")
    words = _words(content["command"], content.get("program"))
    return Sweep(tuple(words), method, metric["name"], goal, parameters, content, min(cap or size, size))


def _check_known(what: str, found: Iterable[Any], known: Sequence[str]) -> None:
    for key in found:
        check(key in known, f"{what} '{key}'. {did_you_mean(str(key), known)}")


def _words(command: Any, program: Any) -> list[str]:
    """Return the words after ``dife`` of a command in wandb's form."""
    given = [str(word) for word in command] if isinstance(command, list) else [str(command)]
    words = [str(program) if word == "${program}" else word for word in given if word not in _LAUNCHERS]
    good = words[:2] in (["dife", "fit"], ["dife_lightning", "fit"]) and words.count(ARGS) == 1
    good = good and not any("${" in word for word in words if word != ARGS)
    form = f'[dife, fit, --config, NAME, "{ARGS}"], with {ARGS} once and no other macro'
    check(good, f"command: expected {form}, found {' '.join(given)}.")
    for word in words:
        check_word(word, "command")
    return words[1:]


def check_word(word: str, where: str) -> None:
    """Raise ``UsageError`` for an option that `dife sweep` itself gives to each trial."""
    name = word.removeprefix("--").partition("=")[0]
    own = word.startswith("--") and name in _OWN
    check(not own, f"{where}: --{name} is set by `dife sweep` for each trial; leave it out.")


def parse_parameter(name: str, form: Any, method: str = "random") -> Parameter:
    """Read one entry of ``parameters``; a grid takes the steps of a range.

    Raises:
        UsageError: the entry is not supported; the message names the parameter.
    """
    check_word(f"--{name}", "parameters")
    try:
        return _parse(form, method)
    except (UsageError, ValueError) as error:  # Optuna raises the latter
        raise UsageError(f"parameter '{name}': {str(error).rstrip('.')}.") from None


def _parse(form: Any, method: str) -> Parameter:
    given = dict(form) if isinstance(form, Mapping) else {}
    kind = given.pop("distribution", None) or _implied(given)
    check(kind in DISTRIBUTIONS, f"distribution '{kind}' is not supported; known: {', '.join(DISTRIBUTIONS)}")
    q = given.pop("q", 1) if kind.startswith("q_") else None
    shares = given.pop("probabilities", None) if kind == "categorical" else None
    match given:
        case {"value": value, **rest} if kind == "constant" and not rest:
            return _list([value], None, method)
        case {"values": [_, *_] as values, **rest} if kind == "categorical" and not rest:
            return _list(values, shares, method)
        case {"min": int() | float() as low, "max": int() | float() as high, **rest} if kind in _NUMERIC and not rest:
            return _range(low, high, kind, q, method)
    raise UsageError(f"distribution {kind}: {_FORMS}, found {form!r}")


def _implied(form: Mapping[str, Any]) -> str:
    """Return the distribution of a form that names none, by wandb's rules."""
    if "value" in form or "values" in form:
        return "constant" if "value" in form else "categorical"
    kinds = {type(form.get(key)) for key in ("min", "max")}
    same = "make both of one kind, or name the distribution"
    check(kinds != {int, float}, f"min and max are a whole number and a float; {same}")
    return "int_uniform" if kinds == {int} else "uniform"


def _list(values: list[Any], shares: Any, method: str) -> Parameter:
    # Optuna stores plain values only; a run gets lists and dictionaries as text anyway
    plain = tuple(v if v is None or isinstance(v, bool | int | float | str) else as_text(v) for v in values)
    check(len(set(plain)) == len(plain), f"values: one of them is there twice in {values}")
    if shares is not None:
        check(method == "random", f"probabilities are for method random, not {method}")
        good = isinstance(shares, list) and len(shares) == len(values) and math.isclose(sum(shares), 1, abs_tol=1e-6)
        check(
            good and min(shares) >= 0, f"probabilities: expected {len(values)} numbers that sum to 1, found {shares!r}"
        )
    return Parameter(CategoricalDistribution(plain), probabilities=shares)


def _range(low: float, high: float, kind: str, q: float | None, method: str) -> Parameter:
    whole = all(isinstance(number, int) for number in (low, high, q or 1))
    check(
        low < high and (q is None or 0 < q <= high - low),
        f"expected min < max and 0 < q <= max - min, found {low}, {high} and q {q}",
    )
    check(whole or kind != "int_uniform", f"int_uniform: expected whole numbers, found {low} and {high}")
    kind_of: Any = IntDistribution if whole and (q or kind == "int_uniform") else FloatDistribution
    parameter = Parameter(kind_of(low, high, log="log" in kind), q)
    if method != "grid":
        return parameter
    step = q or (1 if kind == "int_uniform" else 0)
    check(step > 0 and "log" not in kind, "a grid needs values: [...], or q beside min and max")
    count = math.floor((high - low) / step + 1e-9) + 1
    check(count <= LARGEST_GRID, f"{count} values are too many for a grid; list some with values: [...]")
    values = dict.fromkeys(parameter.rounded(low + i * step) for i in range(count))
    return Parameter(CategoricalDistribution(tuple(values)))
