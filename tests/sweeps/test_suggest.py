from __future__ import annotations

import itertools
import math
import random
import sys

import numpy as np
import pytest

from dife_lightning.errors import UsageError
from dife_lightning.sweeps.definition import Sweep
from dife_lightning.sweeps.records import Trial
from dife_lightning.sweeps.suggest import STARTUP, _distribution, check_method, grid_size, suggest
from tests.sweeps.fakes import LAMBDA, sweep_of

PLANE = {"a": LAMBDA, "b": LAMBDA, "c": {"values": ["x", "y", "z"]}}


def valley(values: dict[str, object]) -> float:
    """A bowl in the logarithms around a = 0.1, b = 0.3, with one good category."""
    a, b = (math.log10(float(str(values[name])) / centre) for name, centre in (("a", 0.1), ("b", 0.3)))
    return a * a + b * b + (0.0 if values["c"] == "y" else 0.5)


def played(sweep: Sweep, count: int, seed: int, sign: float = 1.0) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        values = suggest(sweep, number, seed, trials)
        trials.append(Trial(number, values, "done", sign * valley(values)))
    return trials


def test_a_grid_covers_all_and_each_once():
    sides = {"a": [1, 2, 3], "b": ["x", None], "c": [4, 5]}
    sweep = sweep_of({"a": {"min": 1, "max": 3}, "b": {"values": ["x", None]}, "c": {"values": [4, 5]}}, "grid")
    found = [suggest(sweep, number, 0, []) for number in range(grid_size(sweep))]
    assert [tuple(values.values()) for values in found] == list(itertools.product(*sides.values()))


def test_a_grid_that_cannot_be_meant_is_refused():
    with pytest.raises(UsageError, match="the grid has 1,000,000 trials"):
        grid_size(sweep_of({name: {"min": 1, "max": 100} for name in "abc"}, "grid"))


def test_a_random_trial_is_a_pure_function_of_seed_and_number():
    sweep = sweep_of(PLANE)
    numbers = list(range(20))
    forward = {number: suggest(sweep, number, 3, []) for number in numbers}
    random.Random(0).shuffle(numbers)
    others = [Trial(9, {}, "done", 1.0)] * 30
    assert {number: suggest(sweep, number, 3, others) for number in numbers} == forward
    assert len({str(values) for values in forward.values()}) == 20
    assert suggest(sweep, 0, 4, []) != forward[0]


def test_a_parameter_is_drawn_by_its_own_name():
    alone = suggest(sweep_of({"b": LAMBDA}), 5, 0, [])["b"]
    assert suggest(sweep_of({"a": LAMBDA, "b": LAMBDA}), 5, 0, []) == {
        "a": suggest(sweep_of({"a": LAMBDA}), 5, 0, [])["a"],
        "b": alone,
    }


def test_random_values_spread_evenly_over_the_logarithm():
    drawn = [math.log10(suggest(sweep_of({"a": LAMBDA}), number, 0, [])["a"]) for number in range(400)]
    ends = np.sort((np.array(drawn) + 2) / 2)
    assert np.abs(ends - (np.arange(400) + 0.5) / 400).max() < 1.63 / math.sqrt(400)  # Kolmogorov, 1 %


def test_tpe_beats_chance_on_a_bowl_from_every_seed_on_the_whole():
    pytest.importorskip("optuna")
    gains = []
    for seed in range(4):
        best = {m: min(t.reached for t in played(sweep_of(PLANE, m), 30, seed)) for m in ("random", "bayes")}
        gains.append(math.log(best["random"] / best["bayes"]))
    assert np.mean(gains) > math.log(3)
    late = [trial.reached for trial in played(sweep_of(PLANE, "bayes"), 30, 0)][20:]
    assert np.median(late) < 0.5 * np.median([t.reached for t in played(sweep_of(PLANE, "random"), 30, 0)][20:])


def test_maximising_is_minimising_the_negative():
    pytest.importorskip("optuna")
    goal = {"metric": {"name": "val/pixel_error", "goal": "maximize"}}
    low, high = played(sweep_of(PLANE, "bayes"), 16, 1), played(sweep_of(PLANE, "bayes", **goal), 16, 1, sign=-1.0)
    assert [trial.parameters for trial in low] == [trial.parameters for trial in high]


def test_tpe_is_rebuilt_from_the_records_alone_in_whatever_order_they_come():
    pytest.importorskip("optuna")
    sweep = sweep_of(PLANE, "bayes")
    trials = played(sweep, STARTUP + 3, 0)
    expected = suggest(sweep, STARTUP + 3, 0, trials)
    assert suggest(sweep, STARTUP + 3, 0, trials[::-1]) == expected
    assert suggest(sweep, STARTUP + 3, 0, [*trials, Trial(99, trials[0].parameters, "failed")]) == expected


def test_tpe_keeps_away_from_what_is_running():
    pytest.importorskip("optuna")
    sweep = sweep_of({"a": LAMBDA}, "bayes")
    trials = [Trial(n, v := suggest(sweep, n, 0, []), "done", abs(math.log10(v["a"] / 0.1))) for n in range(STARTUP)]
    alone = suggest(sweep, 50, 0, trials)
    assert suggest(sweep, 50, 0, [*trials, *(Trial(20 + i, alone, "running") for i in range(3))]) != alone


def test_tpe_starts_by_chance_and_keeps_constants_and_steps():
    pytest.importorskip("optuna")
    parameters = {
        "a": {"distribution": "q_uniform", "min": 0, "max": 100, "q": 25},
        "b": {"value": [1, 2]},
        "c": {"values": [[1], [2]]},
        "d": {"min": 1, "max": 4},
    }
    sweep, chance = (sweep_of(parameters, method) for method in ("bayes", "random"))
    trials: list[Trial] = []
    for number in range(STARTUP + 6):
        values = suggest(sweep, number, 0, trials)
        trials.append(Trial(number, values, "done", float(values["a"] + values["d"])))
    assert [t.parameters for t in trials[:STARTUP]] == [suggest(chance, n, 0, []) for n in range(STARTUP)]
    for trial in trials:
        assert trial.parameters["a"] in (0, 25, 50, 75, 100)
        assert trial.parameters["b"] == [1, 2]
        assert trial.parameters["c"] in ([1], [2])
        assert trial.parameters["d"] in (1, 2, 3, 4)
        assert isinstance(trial.parameters["a"], int)
        assert isinstance(trial.parameters["d"], int)


def test_ranges_are_those_that_wandb_gives_optuna():
    pytest.importorskip("optuna")
    scheduler = pytest.importorskip("wandb.sdk.sweeps.scheduler.optuna", reason="wandb without an Optuna scheduler")
    forms = {
        "a": LAMBDA,
        "b": {"min": 1, "max": 9},
        "c": {"min": 0.5, "max": 1.0},
        "d": {"distribution": "uniform", "min": 0, "max": 3},
    }
    theirs = scheduler.search_space_from_sweep_config(forms)
    assert {p.name: _distribution(p) for p in sweep_of(forms).parameters} == theirs


def test_without_optuna_the_error_says_what_to_type_and_the_other_methods_do_not_need_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        UsageError, match=r"needs Optuna; type `pip install 'dife-lightning\[sweeps\]'`, or take method"
    ):
        check_method(sweep_of(PLANE, "bayes"))
    for method in ("grid", "random"):
        sweep = sweep_of({"c": PLANE["c"]}, method)
        check_method(sweep)
        assert suggest(sweep, 1, 0, [])
