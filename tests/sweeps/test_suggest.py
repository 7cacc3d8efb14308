from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.study import STARTUP, suggest
from tests.sweeps.fakes import LAMBDA, sweep_of, trial_of

PLANE = {"a": LAMBDA, "b": LAMBDA, "c": {"values": ["x", "y", "z"]}}


def valley(values: dict[str, object]) -> float:
    """A bowl in the logarithms around a = 0.1, b = 0.3, with one good category."""
    a, b = (math.log10(float(str(values[name])) / centre) for name, centre in (("a", 0.1), ("b", 0.3)))
    return a * a + b * b + (0.0 if values["c"] == "y" else 0.5)


def trial(sweep: Sweep, values: dict[str, object], reached: float | None) -> FrozenTrial:
    if reached is None:
        return create_trial(state=TrialState.RUNNING, params=values, distributions=sweep.space)
    return create_trial(params=values, distributions=sweep.space, value=reached)


def played(sweep: Sweep, count: int, seed: int, sign: float = 1.0) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = []
    for number in range(count):
        values = suggest(sweep, number, seed, trials)
        trials.append(trial(sweep, values, sign * valley(values)))
    return trials


def test_a_grid_covers_all_and_each_once():
    sides = {"a": [1, 2, 3], "b": ["x", None], "c": [4, 5]}
    sweep = sweep_of({"a": {"min": 1, "max": 3}, "b": {"values": ["x", None]}, "c": {"values": [4, 5]}}, "grid")
    found = [suggest(sweep, number, 0, []) for number in range(int(sweep.most))]
    assert [tuple(values.values()) for values in found] == list(itertools.product(*sides.values()))


def test_a_random_trial_is_a_pure_function_of_seed_and_number():
    sweep = sweep_of(PLANE)
    numbers = list(range(20))
    forward = {number: suggest(sweep, number, 3, []) for number in numbers}
    random.Random(0).shuffle(numbers)
    others = played(sweep, 30, 5)
    assert {number: suggest(sweep, number, 3, others) for number in numbers} == forward
    assert len({str(values) for values in forward.values()}) == 20
    assert suggest(sweep, 0, 4, []) != forward[0]


def test_random_values_spread_evenly_over_the_logarithm():
    drawn = [math.log10(suggest(sweep_of({"a": LAMBDA}), number, 0, [])["a"]) for number in range(400)]
    ends = np.sort((np.array(drawn) + 2) / 2)
    assert np.abs(ends - (np.arange(400) + 0.5) / 400).max() < 1.63 / math.sqrt(400)  # Kolmogorov, 1 %


def test_tpe_beats_chance_on_a_bowl_from_every_seed_on_the_whole():
    gains = []
    for seed in range(4):
        best = {m: min(t.value for t in played(sweep_of(PLANE, m), 30, seed)) for m in ("random", "bayes")}
        gains.append(math.log(best["random"] / best["bayes"]))
    assert np.mean(gains) > math.log(3)
    late = {
        m: np.median([t.value for seed in range(4) for t in played(sweep_of(PLANE, m), 30, seed)[20:]])
        for m in ("random", "bayes")
    }
    assert late["bayes"] < 0.5 * late["random"]


def test_maximising_is_minimising_the_negative():
    goal = {"metric": {"name": "val/pixel_error", "goal": "maximize"}}
    low, high = played(sweep_of(PLANE, "bayes"), 16, 1), played(sweep_of(PLANE, "bayes", **goal), 16, 1, sign=-1.0)
    assert [one.params for one in low] == [one.params for one in high]


def test_tpe_goes_by_the_journal_alone_and_not_by_failures():
    sweep = sweep_of(PLANE, "bayes")
    trials = played(sweep, STARTUP + 3, 0)
    expected = suggest(sweep, STARTUP + 3, 0, trials)
    assert suggest(sweep, STARTUP + 3, 0, list(trials)) == expected
    assert suggest(sweep, STARTUP + 3, 0, [*trials, trial_of(99, {}, message="NaN")]) == expected
    assert suggest(sweep, STARTUP + 3, 1, trials) != expected


def test_tpe_keeps_away_from_what_is_running():
    sweep = sweep_of({"a": LAMBDA}, "bayes")
    found = [suggest(sweep, n, 0, []) for n in range(STARTUP)]
    trials = [trial(sweep, values, abs(math.log10(values["a"] / 0.1))) for values in found]
    alone = suggest(sweep, 50, 0, trials)
    assert suggest(sweep, 50, 0, [*trials, *(trial(sweep, alone, None) for _ in range(3))]) != alone


def test_tpe_starts_by_chance_and_keeps_constants_and_steps():
    parameters = {
        "a": {"distribution": "q_uniform", "min": 0, "max": 100, "q": 25},
        "b": {"value": [1, 2]},
        "c": {"values": [[1], [2]]},
        "d": {"min": 1, "max": 4},
    }
    sweep, chance = (sweep_of(parameters, method) for method in ("bayes", "random"))
    trials: list[FrozenTrial] = []
    for number in range(STARTUP + 6):
        values = suggest(sweep, number, 0, trials)
        trials.append(trial(sweep, values, float(values["a"] + values["d"])))
    assert [t.params for t in trials[:STARTUP]] == [suggest(chance, n, 0, []) for n in range(STARTUP)]
    for one in trials:
        assert one.params["a"] in (0, 25, 50, 75, 100)
        assert one.params["b"] == "[1, 2]"
        assert one.params["c"] in ("[1]", "[2]")
        assert one.params["d"] in (1, 2, 3, 4)
        assert isinstance(one.params["a"], int)
        assert isinstance(one.params["d"], int)


def test_values_come_as_often_as_their_probabilities_say():
    forms = {"a": {"values": ["x", "y"], "probabilities": [0.25, 0.75]}, "b": {"values": ["x", "y"]}}
    found = [suggest(sweep_of(forms), number, 0, []) for number in range(400)]
    for name, share in (("a", 0.25), ("b", 0.5)):
        assert np.mean([one[name] == "x" for one in found]) == pytest.approx(share, abs=0.07)  # three sigma


def test_ranges_are_those_that_wandb_gives_optuna():
    scheduler = pytest.importorskip("wandb.sdk.sweeps.scheduler.optuna", reason="wandb without an Optuna scheduler")
    forms = {
        "a": LAMBDA,
        "b": {"min": 1, "max": 9},
        "c": {"min": 0.5, "max": 1.0},
        "d": {"distribution": "uniform", "min": 0, "max": 3},
    }
    assert sweep_of(forms).space == scheduler.search_space_from_sweep_config(forms)
