"""A sweep's file: wandb's format, read by `dife sweep` as `wandb sweep` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dife_lightning.errors import UsageError, did_you_mean
from dife_lightning.running.configs import packaged_configs, read_yaml
from dife_lightning.sweeps.space import Parameter, parse_parameter

METHODS = ("grid", "random", "bayes")
#: Where the shipped sweeps lie among the configurations.
FOLDER = "sweeps"
ARGS = "${args}"
_NEEDED = ("command", "method", "metric", "parameters")
#: Keys that only a server has a use for.
_IGNORED = ("name", "description", "project", "entity", "early_terminate")
_KNOWN = (*_NEEDED, "program", "run_cap", *_IGNORED)
#: Words that `dife sweep` gives to each `dife fit` itself.
_OWN = ("run", "runs_root", "overwrite", "ckpt_path", "print_config")


@dataclass(frozen=True)
class Sweep:
    """What a file says.

    Attributes:
        words: of the command after ``dife``, ``fit`` first, with ``${args}`` where the parameters go.
        method: grid, random or bayes.
        metric: column of ``metrics.csv`` that is to become small or large.
        goal: which of the two.
        parameters: in the order of the file.
        run_cap: most trials; None where the file does not say.
        notes: one line for each key that `dife sweep` has no use for.
    """

    words: tuple[str, ...]
    method: Literal["grid", "random", "bayes"]
    metric: str
    goal: Literal["minimize", "maximize"]
    parameters: tuple[Parameter, ...]
    run_cap: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def varying(self) -> list[Parameter]:
        """Parameters that have more than one value."""
        return [parameter for parameter in self.parameters if parameter.varies]

    def better(self, left: float, right: float) -> bool:
        """Return whether the objective ``left`` is better than ``right``."""
        return left < right if self.goal == "minimize" else left > right

    def command(self, values: Mapping[str, Any], more: Sequence[str] = ()) -> list[str]:
        """Return the words of one trial after ``dife``; ``more`` come last and win."""
        given = [f"--{name}={as_text(value)}" for name, value in values.items()]
        at = self.words.index(ARGS)
        return [*self.words[:at], *given, *self.words[at + 1 :], *more]

    def identity(self) -> dict[str, Any]:
        """Return what must not change while a sweep is going on, as plain values."""
        forms = {p.name: {k: v for k, v in vars(p).items() if k != "name"} for p in self.parameters}
        whole = {"command": self.words, "method": self.method, "metric": {"name": self.metric, "goal": self.goal}}
        plain: dict[str, Any] = json.loads(json.dumps({**whole, "parameters": forms}))
        return plain


def as_text(value: Any) -> str:
    """Return a value as an agent of wandb writes it; lists, dictionaries and null as YAML reads them."""
    return json.dumps(value) if value is None or isinstance(value, list | dict) else str(value)


def list_sweeps() -> list[str]:
    """Return the names of the shipped sweeps, such as ``sweeps/lambdas``."""
    root = packaged_configs()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in (root / FOLDER).glob("*.yaml"))


def find_sweep(name: str) -> Path:
    """Return the file of a path, or of a shipped sweep's name.

    Raises:
        UsageError: there is neither.
    """
    places = [Path(name).expanduser(), packaged_configs() / name, packaged_configs() / f"{name}.yaml"]
    for path in places:
        if path.is_file():
            return path
    raise UsageError(f"no sweep '{name}', neither a file nor a shipped name. {did_you_mean(name, list_sweeps())}")


def read_sweep(path: Path) -> Sweep:
    """Read a file.

    Raises:
        UsageError: it is no YAML, or says something that `dife sweep` does not understand; one line with the key.
    """
    try:
        return parse_sweep(read_yaml(path, "'method:' and 'parameters:'"))
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def parse_sweep(content: Mapping[str, Any]) -> Sweep:
    """Read the content of a file; see :func:`read_sweep`."""
    for key in content:
        if key not in _KNOWN:
            raise UsageError(f"unknown key '{key}'. {did_you_mean(str(key), _KNOWN)}")
    for key in _NEEDED:
        if key not in content:
            raise UsageError(f"no '{key}'; a sweep needs {', '.join(_NEEDED)} (see docs/sweeps.md).")
    method = content["method"]
    if method not in METHODS:
        raise UsageError(f"method '{method}' is not supported. {did_you_mean(str(method), METHODS)}")
    metric, goal = _metric(content["metric"])
    parameters = _parameters(content["parameters"])
    weighted = [parameter.name for parameter in parameters if parameter.probabilities]
    if weighted and method != "random":
        raise UsageError(f"parameter '{weighted[0]}': probabilities are for method random, not {method}.")
    if method == "grid":
        for parameter in parameters:
            parameter.grid()
    words = tuple(_words(content["command"], content.get("program")))
    return Sweep(words, method, metric, goal, parameters, _cap(content.get("run_cap")), tuple(_notes(content)))


def _metric(found: Any) -> tuple[str, Literal["minimize", "maximize"]]:
    if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
        raise UsageError("metric: expected {name: val/pixel_error, goal: minimize}.")
    for key in found:
        if key not in ("name", "goal"):
            raise UsageError(f"metric: '{key}' is not supported. {did_you_mean(str(key), ('name', 'goal'))}")
    goal = found.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UsageError(f"metric: goal '{goal}'. {did_you_mean(str(goal), ('minimize', 'maximize'))}")
    return found["name"], goal


def _parameters(found: Any) -> tuple[Parameter, ...]:
    if not isinstance(found, Mapping) or not found:
        raise UsageError(
            "parameters: none given; name a key of `dife fit`, as model.init_args.lambda_m1: {values: [0, 0.15]}."
        )
    for name in found:
        check_word(f"--{name}", "parameters")
    return tuple(parse_parameter(str(name), form) for name, form in found.items())


def check_word(word: str, where: str) -> None:
    """Refuse an option that each trial gets from `dife sweep`.

    Raises:
        UsageError: it is one of them.
    """
    name = word.lstrip("-").partition("=")[0]
    if word.startswith("--") and name in _OWN:
        raise UsageError(f"{where}: --{name} is set by `dife sweep` for each trial; leave it out.")


def _cap(found: Any) -> int | None:
    if found is None or (isinstance(found, int) and not isinstance(found, bool) and found >= 1):
        return found
    raise UsageError(f"run_cap: expected a whole number of 1 or more, found {found!r}.")


def _notes(content: Mapping[str, Any]) -> list[str]:
    if "early_terminate" not in content:
        return []
    return ["early_terminate is not supported by `dife sweep`: every trial runs to its end (wandb agent obeys it)"]


def _words(command: Any, program: Any) -> list[str]:
    """Return the words after ``dife`` of a command in wandb's form.

    Raises:
        UsageError: it is not `dife fit` with ``${args}``, or uses another macro.
    """
    hint = f'expected [dife, fit, --config, NAME, "{ARGS}"]'
    if not isinstance(command, list) or not command:
        raise UsageError(f"command: {hint}.")
    words = [str(word) for word in command]
    while words and words[0] in ("${env}", "/usr/bin/env", "${interpreter}", "python", "-m"):
        words.pop(0)
    start = str(program) if words[:1] == ["${program}"] else "".join(words[:1])
    if start not in ("dife", "dife_lightning") or words[1:2] != ["fit"]:
        raise UsageError(f"command: {hint}, found {' '.join(map(str, command))}.")
    for word in words[1:]:
        if "${" in word and word != ARGS:
            raise UsageError(f"command: {word} is not supported; use {ARGS}.")
        check_word(word, "command")
    if words.count(ARGS) != 1:
        raise UsageError(f"command: {words.count(ARGS)} times {ARGS}; {hint}.")
    return words[1:]
