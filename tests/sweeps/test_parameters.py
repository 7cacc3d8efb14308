"""The values of one parameter: wandb's notation, and Optuna's distributions."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Real
from optuna.distributions import IntDistribution as Whole

from dife_lightning.errors import UsageError
from dife_lightning.sweeps.definition import Parameter, parse_parameter
from tests.sweeps.fakes import sweep_of

LOG = {"distribution": "log_uniform_values", "min": 0.01, "max": 100}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"value": 3}, Parameter(Choice((3,)))),
        ({"values": ["dve", None, 0.5]}, Parameter(Choice(("dve", None, 0.5)))),
        (
            {"distribution": "categorical", "values": [[1, 2], {"x": None}]},
            Parameter(Choice(("[1, 2]", '{"x": null}'))),
        ),
        ({"min": 2, "max": 5}, Parameter(Whole(2, 5))),
        ({"min": 0.5, "max": 5.0}, Parameter(Real(0.5, 5.0))),
        ({"distribution": "uniform", "min": 0, "max": 1}, Parameter(Real(0.0, 1.0))),
        ({"distribution": "uniform", "min": 0.5, "max": 1}, Parameter(Real(0.5, 1.0))),
        (LOG, Parameter(Real(0.01, 100.0, log=True))),
        ({"distribution": "q_uniform", "min": 0, "max": 8, "q": 4}, Parameter(Whole(0, 8), 4)),
        ({"distribution": "q_uniform", "min": 0, "max": 8}, Parameter(Whole(0, 8), 1)),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, Parameter(Real(0.0, 1.0), 0.25)),
        ({**LOG, "distribution": "q_log_uniform_values", "q": 0.5}, Parameter(Real(0.01, 100.0, log=True), 0.5)),
        ({"values": [1, 2], "probabilities": [0.25, 0.75]}, Parameter(Choice((1, 2)), probabilities=[0.25, 0.75])),
    ],
)
def test_the_forms_of_wandb_are_read(form, expected):
    found = parse_parameter("a", form)
    assert found == expected
    assert type(found.distribution) is type(expected.distribution)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (0.1, r"expected value, values: \[...\], or numbers min and max .*, found 0.1"),
        ({}, r"distribution uniform: expected value, .*, found \{\}"),
        ({"min": 0.1}, r"distribution uniform: expected .*, found \{'min': 0.1\}"),
        ({"min": 0, "max": 1.0}, "min and max are a whole number and a float"),
        ({"min": "1e-3", "max": "1e-1"}, r"numbers min and max \(YAML reads 1e-3 as text; write 1.0e-3\).*'1e-3'"),
        ({"min": 1.0, "max": 1.0}, "expected min < max .*, found 1.0, 1.0"),
        ({**LOG, "min": 0}, r"`low > 0` must hold for `log=True`, but got \(low=0, high=100\)"),
        ({"distribution": "log_uniform", "min": -3, "max": 0}, "'log_uniform' is not supported; .*log_uniform_values"),
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "distribution 'normal' is not supported"),
        ({"distribution": "uniform", "mu": 0, "min": 0, "max": 1}, "distribution uniform: expected .*'mu': 0"),
        ({"distribution": "beta", "min": 0, "max": 1}, "distribution 'beta' is not supported"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 2}, "0 < q <= max - min, found 0, 1 and q 2"),
        ({"min": 0.0, "max": 1.0, "q": 0.1}, "distribution uniform: expected .*'q': 0.1"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "int_uniform: expected whole numbers, found 0.5 and 2"),
        ({"values": []}, r"distribution categorical: expected .*'values': \[\]"),
        ({"values": [1, 2, 1]}, "one of them is there twice"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "expected 2 numbers that sum to 1"),
        ({"vlaues": [1]}, r"expected value, values: .*'vlaues': \[1\]"),
        ({"parameters": {"lr": {"value": 1}}}, "dotted keys in place of nested parameters, found .*'lr'"),
    ],
)
def test_anything_else_is_refused_in_one_line_with_the_key(form, says):
    with pytest.raises(UsageError, match=f"^parameter 'model.lr': .*{says}") as error:
        parse_parameter("model.lr", form)
    assert "\n" not in str(error.value)


def test_a_drawn_number_is_rounded_to_multiples_of_q_to_six_digits_and_into_the_range():
    step = parse_parameter("a", {"distribution": "q_uniform", "min": 0, "max": 100, "q": 25})
    assert [step.rounded(value) for value in (0, 12, 13, 38, 90, 100)] == [0, 0, 25, 50, 100, 100]
    assert isinstance(step.rounded(30), int)
    fine = parse_parameter("a", {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.1})
    assert fine.rounded(0.33) == 0.3
    log = parse_parameter("a", {"distribution": "q_log_uniform_values", "min": 0.3, "max": 9.0, "q": 0.5})
    assert [log.rounded(value) for value in (0.31, 0.8, 8.9)] == [0.5, 1.0, 9.0]
    assert parse_parameter("a", LOG).rounded(10 ** (-2 + 4 * 0.123)) == float(f"{10 ** (-2 + 4 * 0.123):.6g}")
    low, high = 1 / 3, 1 / 3 + 1e-9  # six digits of it lie below
    assert Parameter(Real(low, high)).rounded(low + 1e-10) == low
    assert parse_parameter("a", {"values": ["x", 0.123456789]}).rounded(0.123456789) == 0.123456789


def test_a_grid_takes_the_steps_of_a_range():
    def choices(form):
        return parse_parameter("a", form, "grid").distribution.choices

    assert choices({"min": 3, "max": 6}) == (3, 4, 5, 6)
    assert choices({"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1}) == (0.0, 0.1, 0.2, 0.3)
    assert choices({"value": None}) == (None,)
    for form in (LOG, {"min": 0.0, "max": 1.0}, {**LOG, "distribution": "q_log_uniform_values"}):
        with pytest.raises(UsageError, match="parameter 'a': a grid needs values"):
            choices(form)
    with pytest.raises(UsageError, match="1000001 values are too many for a grid"):
        choices({"min": 0, "max": 10**6})


def test_short_names_are_the_last_part_where_that_is_enough():
    names = ["model.init_args.lr", "model.init_args.optimizer.lr", "trainer.max_steps", "seed_everything", "fixed"]
    forms = {name: {"values": [1, 2]} for name in names[:-1]} | {"fixed": {"value": 3}}
    assert sweep_of(forms).varying == {
        "model.init_args.lr": "model.init_args.lr",
        "model.init_args.optimizer.lr": "model.init_args.optimizer.lr",
        "trainer.max_steps": "max_steps",
        "seed_everything": "seed_everything",
    }
