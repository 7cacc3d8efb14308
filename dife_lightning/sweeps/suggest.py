"""What to try next: all of a grid, chance, or where the finished trials were good (Optuna's TPE)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import UsageError
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.records import Trial
from dife_lightning.sweeps.space import LARGEST_GRID, Parameter
from dife_lightning.utils.randomness import seed_of

if TYPE_CHECKING:
    import optuna

#: Trials by chance before TPE has something to go by.
STARTUP = 8


def grid_size(sweep: Sweep) -> int:
    """Return how many trials a grid has.

    Raises:
        UsageError: too many to be meant.
    """
    size = math.prod(len(parameter.grid()) for parameter in sweep.parameters)
    if size > LARGEST_GRID:
        raise UsageError(f"the grid has {size:,} trials; take fewer values, or method random.")
    return size


def check_method(sweep: Sweep) -> None:
    """See that what the method needs is installed.

    Raises:
        UsageError: Optuna is not.
    """
    if sweep.method == "bayes":
        _optuna()


def suggest(sweep: Sweep, number: int, seed: int, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the values of trial ``number``.

    Args:
        sweep: what there is to try.
        number: of the trial, from 0; a grid has :func:`grid_size` of them.
        seed: of the sweep.
        trials: those that were started before; only ``bayes`` looks at them.
    """
    if sweep.method == "grid":
        every = itertools.product(*(parameter.grid() for parameter in sweep.parameters))
        values = next(itertools.islice(every, number, None))
        return dict(zip((p.name for p in sweep.parameters), values, strict=True))
    finished = [trial for trial in trials if trial.objective is not None]
    if sweep.method == "random" or len(finished) < STARTUP or not sweep.varying:
        return by_chance(sweep, number, seed)
    return _by_tpe(sweep, number, seed, trials)


def by_chance(sweep: Sweep, number: int, seed: int) -> dict[str, Any]:
    """Return values that depend on the seed, the number and the parameter's name alone."""
    return {p.name: p.draw(seed_of(seed, "sweep", p.name, number) / 2**63) for p in sweep.parameters}


def _by_tpe(sweep: Sweep, number: int, seed: int, trials: Sequence[Trial]) -> dict[str, Any]:
    """Rebuild Optuna's study from the records, ask it for one trial, and forget it again."""
    optuna = _optuna()
    sampler = optuna.samplers.TPESampler(n_startup_trials=0, seed=seed_of(seed, "tpe", number) % 2**32)
    study = optuna.create_study(sampler=sampler, direction=sweep.goal)
    ranges = {p.name: _distribution(p) for p in sweep.varying}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.objective is None and trial.state != "running":
            continue
        params = {p.name: _told(p, trial.parameters[p.name]) for p in sweep.varying}
        state = optuna.trial.TrialState.RUNNING if trial.objective is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(state=state, params=params, distributions=ranges, value=trial.objective)
        )
    asked = study.ask(ranges).params
    return {p.name: _answered(p, asked[p.name]) if p.varies else p.draw(0.0) for p in sweep.parameters}


def _optuna() -> Any:
    """Import Optuna, which says nothing of its own."""
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "method bayes needs Optuna; type `pip install 'dife-lightning[sweeps]'`, or take method: random."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":  # of places, since Optuna takes no lists for values
        return CategoricalDistribution(range(len(parameter.values)))
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.kind == "log")


def _told(parameter: Parameter, value: Any) -> Any:
    return parameter.values.index(value) if parameter.kind == "choice" else value


def _answered(parameter: Parameter, value: Any) -> Any:
    if parameter.kind == "choice":
        return parameter.values[value]
    return value if parameter.kind == "int" else parameter.rounded(value)
