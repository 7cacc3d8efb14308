"""The file of a sweep, in wandb's format, and the values of its parameters as Optuna's distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from dife_lightning.errors import UsageError, did_you_mean
from dife_lightning.running.configs import packaged_configs, read_yaml

Goal = Literal["minimize", "maximize"]
METHODS, GOALS = ("grid", "random", "bayes"), ("minimize", "maximize")
#: A grid with more trials than this is refused as a mistake.
LARGEST_GRID = 10_000
ARGS = "${args}"
_COMMAND = f'command: expected [dife, fit, --config, NAME, "{ARGS}"]'
_NEEDED = ("command", "method", "metric", "parameters")
#: The last five are for a wandb server.
_KNOWN = (*_NEEDED, "program", "run_cap", "name", "description", "project", "entity", "early_terminate")
#: Options that `dife sweep` gives to each `dife fit` itself.
_OWN = ("run", "runs_root", "overwrite", "ckpt_path", "print_config")
_KEYS = ("value", "values", "min", "max", "q", "probabilities", "distribution")
_RANGES = ("int_uniform", "uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values")
#: wandb's distributions.
DISTRIBUTIONS = ("constant", "categorical", *_RANGES)


class Parameter(NamedTuple):
    """The values that a sweep tries for one key of `dife fit`; a constant is a list of one."""

    distribution: Any  # one of Optuna's
    q: float | None = None  # drawn numbers are rounded to multiples of it
    probabilities: Sequence[float] | None = None  # of the values of a list

    def rounded(self, value: Any) -> Any:
        """Return a drawn value as a run gets it: a multiple of ``q``, six significant digits, inside the range."""
        if isinstance(self.distribution, CategoricalDistribution):
            return value
        if self.q is not None:
            value = round(value / self.q) * self.q
        if isinstance(self.distribution, FloatDistribution):
            value = float(f"{value:.6g}")
        return min(max(value, self.distribution.low), self.distribution.high)


@dataclass(frozen=True)
class Sweep:
    """The content of a file."""

    words: tuple[str, ...]  # of the command after `dife`, with ${args} in place of the parameters
    method: str
    metric: str  # column of metrics.csv
    goal: Goal
    parameters: dict[str, Parameter]  # by their dotted keys
    forms: Mapping[str, Any]  # the parameters as the file has them
    most: float  # trials: run_cap or the size of a grid, whichever is less
    stops_early: bool  # the file asks for early_terminate, which only a wandb agent obeys

    @property
    def space(self) -> dict[str, Any]:
        """Key -> Optuna's distribution."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    @property
    def varying(self) -> dict[str, str]:
        """Key -> short name of each parameter with more than one value: its last part, if no other key shares it."""
        last = [name.rpartition(".")[2] for name in self.parameters]
        short = {name: end if last.count(end) == 1 else name for name, end in zip(self.parameters, last, strict=True)}
        return {name: short[name] for name, distribution in self.space.items() if not distribution.single()}

    def loss(self, value: float) -> float:
        """Return an objective so that smaller is better."""
        return value if self.goal == "minimize" else -value

    def command(self, values: Mapping[str, Any], more: Sequence[str] = ()) -> list[str]:
        """Return the words of one trial after ``dife``; ``more`` come last and therefore win."""
        at = self.words.index(ARGS)
        given = [f"--{name}={as_text(value)}" for name, value in values.items()]
        return [*self.words[:at], *given, *self.words[at + 1 :], *more]

    def identity(self) -> dict[str, Any]:
        """Return what must stay the same while a sweep goes on."""
        metric = {"name": self.metric, "goal": self.goal}
        return {"command": list(self.words), "method": self.method, "metric": metric, "parameters": self.forms}


def as_text(value: Any) -> str:
    """Return a value as a wandb agent writes it; lists, dictionaries and null as YAML reads them."""
    return json.dumps(value) if value is None or isinstance(value, list | dict) else str(value)


def check(good: bool, text: str) -> None:
    """Raise a ``UsageError`` with this text unless all is good."""
    if not good:
        raise UsageError(text)


def list_sweeps() -> list[str]:
    """Return the names of the shipped sweeps, such as ``sweeps/lambdas``."""
    return sorted(f"sweeps/{path.stem}" for path in (packaged_configs() / "sweeps").glob("*.yaml"))


def find_sweep(name: str) -> Path:
    """Return the file at a path, or of a shipped sweep; raise ``UsageError`` if there is neither."""
    for path in (Path(name).expanduser(), packaged_configs() / name, packaged_configs() / f"{name}.yaml"):
        if path.is_file():
            return path
    raise UsageError(f"no sweep '{name}', neither a file nor a shipped name. {did_you_mean(name, list_sweeps())}")


def read_sweep(path: Path) -> Sweep:
    """Read a file.

    Raises:
        UsageError: it is not YAML, or has something that is not supported; one line with the file and the key.
    """
    content = read_yaml(path, "'method:' and 'parameters:'")
    try:
        return parse_sweep(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse_sweep(content: Mapping[str, Any]) -> Sweep:
    """Read the content of a file; see :func:`read_sweep`."""
    for key in content:
        check(key in _KNOWN, f"unknown key '{key}'. {did_you_mean(str(key), _KNOWN)}")
    for key in _NEEDED:
        check(key in content, f"no '{key}'; a sweep needs {', '.join(_NEEDED)} (see docs/sweeps.md).")
    method, metric, forms, cap = content["method"], content["metric"], content["parameters"], content.get("run_cap")
    check(method in METHODS, f"method '{method}' is not supported. {did_you_mean(str(method), METHODS)}")
    named = isinstance(metric, Mapping) and isinstance(metric.get("name"), str)
    check(named, "metric: expected {name: val/pixel_error, goal: minimize}.")
    for key in metric:
        check(key in ("name", "goal"), f"metric: '{key}' is not supported. {did_you_mean(str(key), ('name', 'goal'))}")
    goal = metric.get("goal", "minimize")
    check(goal in GOALS, f"metric: goal '{goal}'. {did_you_mean(str(goal), GOALS)}")
    example = "model.init_args.lr: {values: [0.1, 1.0]}"
    check(isinstance(forms, Mapping) and bool(forms), f"parameters: none given; list keys of `dife fit`, as {example}.")
    parameters = {str(name): parse_parameter(str(name), form, method) for name, form in forms.items()}
    size = math.prod(len(one.distribution.choices) for one in parameters.values()) if method == "grid" else 0
    check(size <= LARGEST_GRID, f"the grid has {size:,} trials; list fewer values, or use method: random.")
    good = cap is None or (type(cap) is int and cap >= 1)
    check(good, f"run_cap: expected a whole number of 1 or more, found {cap!r}.")
    words = _words(content["command"], content.get("program"))
    most = min(bound for bound in (cap, size, math.inf) if bound)
    return Sweep(tuple(words), method, metric["name"], goal, parameters, forms, most, "early_terminate" in content)


def _words(command: Any, program: Any) -> list[str]:
    """Return the words after ``dife`` of a command in wandb's form: `dife fit` with ``${args}`` and no other macro."""
    check(isinstance(command, list) and bool(command), f"{_COMMAND}.")
    words = [str(word) for word in command]
    while words and words[0] in ("${env}", "/usr/bin/env", "${interpreter}", "python", "-m"):
        words.pop(0)
    start = str(program) if words[:1] == ["${program}"] else "".join(words[:1])
    good = start in ("dife", "dife_lightning") and words[1:2] == ["fit"]
    check(good, f"{_COMMAND}, found {' '.join(map(str, command))}.")
    for word in words[1:]:
        check("${" not in word or word == ARGS, f"command: {word} is not supported; use {ARGS}.")
        check_word(word, "command")
    check(words.count(ARGS) == 1, f"{_COMMAND}, found {ARGS} {words.count(ARGS)} times.")
    return words[1:]


def check_word(word: str, where: str) -> None:
    """Raise ``UsageError`` for an option that `dife sweep` itself gives to each trial."""
    name = word.removeprefix("--").partition("=")[0]
    own = word.startswith("--") and name in _OWN
    check(not own, f"{where}: --{name} is set by `dife sweep` for each trial; leave it out.")


def parse_parameter(name: str, form: Any, method: str = "random") -> Parameter:
    """Read one entry of ``parameters``; a grid takes the steps of a range.

    Raises:
        UsageError: the entry is not supported; the message names the parameter and the key.
    """
    check_word(f"--{name}", "parameters")
    try:
        return _parse(form, method)
    except UsageError as error:
        raise UsageError(f"parameter '{name}': {str(error).rstrip('.')}.") from None


def _parse(form: Any, method: str) -> Parameter:
    check(isinstance(form, Mapping), f"expected value, values, or min and max, found {form!r}")
    check("parameters" not in form, "nested parameters are not supported; write the keys with dots, as model.lr")
    for key in form:
        check(key in _KEYS, f"unknown key '{key}'. {did_you_mean(str(key), _KEYS)}")
    kind = form["distribution"] if "distribution" in form else _implied(form)
    near = f"Use {kind}_values, which takes values." if f"{kind}_values" in DISTRIBUTIONS else ""
    hint = near or did_you_mean(str(kind), DISTRIBUTIONS)
    check(kind in DISTRIBUTIONS, f"distribution '{kind}' is not supported. {hint}")
    needed = {"min", "max"} if kind in _RANGES else {"value"} if kind == "constant" else {"values"}
    allowed = "q" if kind.startswith("q_") else "probabilities" if kind == "categorical" else "distribution"
    found = [key for key in _KEYS if key in form and key != "distribution"]
    takes = " and ".join(key for key in _KEYS if key in needed)
    good = needed <= set(found) <= {*needed, allowed}
    check(good, f"distribution {kind} takes {takes}, found {' and '.join(found) or 'nothing'}")
    return _range(form, kind, method) if kind in _RANGES else _list(form, method)


def _implied(form: Mapping[str, Any]) -> str:
    """Return the distribution of a form that names none, by wandb's rules."""
    if "value" in form or "values" in form:
        return "constant" if "value" in form else "categorical"
    kinds = {type(form.get(key)) for key in ("min", "max")}
    same = "make both of one kind, or name the distribution"
    check(kinds != {int, float}, f"min and max are a whole number and a float; {same}")
    return "int_uniform" if kinds == {int} else "uniform"


def _list(form: Mapping[str, Any], method: str) -> Parameter:
    values, shares = form.get("values", [form.get("value")]), form.get("probabilities")
    check(isinstance(values, list) and bool(values), f"values: expected a list of one or more, found {values!r}")
    # Optuna stores plain values only; a run gets lists and dictionaries as text anyway
    plain = tuple(v if v is None or isinstance(v, bool | int | float | str) else as_text(v) for v in values)
    check(len(set(plain)) == len(plain), f"values: one of them is there twice in {values}")
    if shares is not None:
        check(method == "random", f"probabilities are for method random, not {method}")
        good = isinstance(shares, list) and all(_is_number(share) and share >= 0 for share in shares)
        good = good and len(shares) == len(values) and math.isclose(sum(shares), 1.0, abs_tol=1e-6)
        check(good, f"probabilities: expected {len(values)} numbers that sum to 1, found {shares!r}")
    return Parameter(CategoricalDistribution(plain), probabilities=shares)


def _range(form: Mapping[str, Any], kind: str, method: str) -> Parameter:
    for key in ("min", "max", "q"):
        hint = " (YAML reads 1e-3 as text; write 1.0e-3)" if isinstance(form.get(key), str) else ""
        check(_is_number(form.get(key, 1)), f"{key}: expected a number, found {form.get(key)!r}{hint}")
    low, high, log, q = form["min"], form["max"], "log" in kind, form.get("q", 1 if "q_" in kind else None)
    check(low < high, f"min {low} is not below max {high}")
    check(not log or low > 0, f"min {low}: {kind} needs a min above 0")
    check(q is None or 0 < q <= high - low, f"q {q}: expected above 0 and at most max - min")
    whole = all(isinstance(number, int) for number in (low, high, q or 1))
    check(whole or kind != "int_uniform", f"int_uniform: expected whole numbers, found {low} and {high}")
    kind_of = IntDistribution if whole and (q or kind == "int_uniform") else FloatDistribution
    parameter = Parameter(kind_of(low, high, log=log), q)
    if method != "grid":
        return parameter
    step = q or (1 if kind == "int_uniform" else 0)
    check(step > 0 and not log, "a grid needs values: [...], or q beside min and max")
    count = math.floor((high - low) / step + 1e-9) + 1
    check(count <= LARGEST_GRID, f"{count} values are too many for a grid; list some with values: [...]")
    values = dict.fromkeys(parameter.rounded(low + i * step) for i in range(count))
    return Parameter(CategoricalDistribution(tuple(values)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
