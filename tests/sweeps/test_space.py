from __future__ import annotations

import math

import pytest

from dife_lightning.errors import UsageError
from dife_lightning.sweeps.space import Parameter, parse_parameter, short_names

LOG = {"distribution": "log_uniform_values", "min": 0.01, "max": 100}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"value": 3}, Parameter("a", "choice", (3,))),
        ({"values": ["dve", None, 0.5]}, Parameter("a", "choice", ("dve", None, 0.5))),
        ({"distribution": "categorical", "values": [[1, 2], [3]]}, Parameter("a", "choice", ([1, 2], [3]))),
        ({"min": 2, "max": 5}, Parameter("a", "int", low=2, high=5)),
        ({"min": 0.5, "max": 5.0}, Parameter("a", "real", low=0.5, high=5.0)),
        ({"distribution": "uniform", "min": 0, "max": 1}, Parameter("a", "real", low=0, high=1)),
        ({"distribution": "uniform", "min": 0.5, "max": 1}, Parameter("a", "real", low=0.5, high=1)),
        (LOG, Parameter("a", "log", low=0.01, high=100)),
        ({"distribution": "q_uniform", "min": 0, "max": 8, "q": 4}, Parameter("a", "real", low=0, high=8, step=4)),
        (
            {**LOG, "distribution": "q_log_uniform_values", "q": 0.5},
            Parameter("a", "log", low=0.01, high=100, step=0.5),
        ),
        (
            {"values": [1, 2], "probabilities": [0.25, 0.75]},
            Parameter("a", "choice", (1, 2), probabilities=(0.25, 0.75)),
        ),
    ],
)
def test_the_forms_of_wandb_are_read(form, expected):
    assert parse_parameter("a", form) == expected


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (0.1, "expected value, values, or min and max, found 0.1"),
        ({}, "distribution uniform takes min and max, found nothing"),
        ({"min": 0.1}, "distribution uniform takes min and max, found min"),
        ({"min": 0, "max": 1.0}, "min and max are a whole number and a float"),
        (
            {"min": "1e-3", "max": "1e-1"},
            r"min: expected a number, found '1e-3' \(YAML reads 1e-3 as text; write 1.0e-3\)",
        ),
        ({"min": 1.0, "max": 1.0}, "min 1.0 is not below max 1.0"),
        ({**LOG, "min": 0}, "min 0: a log_uniform_values needs a min above 0"),
        (
            {"distribution": "log_uniform", "min": -3, "max": 0},
            "'log_uniform' is not supported. Take log_uniform_values, whose",
        ),
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "unknown key 'mu'"),
        ({"distribution": "beta", "min": 0, "max": 1}, "distribution 'beta' is not supported"),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 2}, "q 2: expected above 0 and at most max - min"),
        ({"min": 0.0, "max": 1.0, "q": 0.1}, "distribution uniform takes min and max, found min and max and q"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "int_uniform: expected whole numbers, found 0.5 and 2"),
        ({"values": []}, "expected a list of one or more"),
        ({"values": [1, 2, 1]}, "one of them is there twice"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "expected 2 numbers whose sum is 1"),
        ({"vlaues": [1]}, "unknown key 'vlaues'. Did you mean 'values'?"),
        ({"parameters": {"lr": {"value": 1}}}, "nested parameters are not supported; write the keys with dots"),
    ],
)
def test_anything_else_is_refused_in_one_line_with_the_key(form, says):
    with pytest.raises(UsageError, match=f"^parameter 'model.lr': .*{says}") as error:
        parse_parameter("model.lr", form)
    assert "\n" not in str(error.value)


def test_equal_parts_of_the_unit_interval_are_equally_likely():
    log, real = parse_parameter("a", LOG), parse_parameter("a", {"min": -1.0, "max": 3.0})
    assert [log.draw(u) for u in (0, 0.25, 0.5, 0.75)] == [0.01, 0.1, 1.0, 10.0]
    assert [real.draw(u) for u in (0, 0.25, 0.5, 0.75)] == [-1.0, 0.0, 1.0, 2.0]
    whole = parse_parameter("a", {"min": 2, "max": 5})
    assert [whole.draw((i + 0.5) / 8) for i in range(8)] == [2, 2, 3, 3, 4, 4, 5, 5]
    weighted = parse_parameter("a", {"values": ["x", "y"], "probabilities": [0.25, 0.75]})
    assert [weighted.draw((i + 0.5) / 8) for i in range(8)] == ["x"] * 2 + ["y"] * 6


def test_steps_give_multiples_and_whole_steps_give_whole_numbers():
    step = parse_parameter("a", {"distribution": "q_uniform", "min": 0, "max": 100, "q": 25})
    drawn = [step.draw(u) for u in (0.0, 0.1, 0.13, 0.4, 0.9, 0.999)]
    assert drawn == [0, 0, 25, 50, 100, 100]
    assert all(isinstance(value, int) for value in drawn)
    fine = parse_parameter("a", {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.1})
    assert fine.draw(0.33) == 0.3


def test_a_drawn_value_has_few_digits_and_stays_inside():
    low, high = 1 / 3, 1 / 3 + 1e-9  # six digits of it lie below
    assert Parameter("a", "real", low=low, high=high).draw(0.5) == low
    assert parse_parameter("a", LOG).draw(0.123) == float(f"{10 ** (-2 + 4 * 0.123):.6g}")


@pytest.mark.parametrize(
    "form", [LOG, {"min": 0.0, "max": 5.0}, {"min": 1, "max": 9}, {"values": ["a", "b", "c"]}, {"value": 7}]
)
def test_the_place_on_an_axis_leads_back_to_the_value(form):
    parameter = parse_parameter("a", form)
    for u in (0.01, 0.3, 0.5, 0.99):
        place = parameter.unit(parameter.draw(u))
        assert 0 <= place <= 1
        if parameter.kind in ("log", "real"):
            assert math.isclose(place, u, abs_tol=1e-5)
    assert parameter.unit(parameter.draw(0.0)) == (0.0 if parameter.varies else 0.5)


def test_a_grid_lists_what_has_an_end():
    assert parse_parameter("a", {"min": 3, "max": 6}).grid() == [3, 4, 5, 6]
    tenths = {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1}
    assert parse_parameter("a", tenths).grid() == [0.0, 0.1, 0.2, 0.3]
    assert parse_parameter("a", {"value": None}).grid() == [None]
    for form in (LOG, {"min": 0.0, "max": 1.0}):
        with pytest.raises(UsageError, match="parameter 'a': a grid needs values"):
            parse_parameter("a", form).grid()
    with pytest.raises(UsageError, match="1000001 values are no grid"):
        parse_parameter("a", {"min": 0, "max": 10**6}).grid()


def test_short_names_are_as_long_as_they_must_be():
    names = ["model.init_args.lr", "model.init_args.optimizer.lr", "trainer.max_steps", "seed_everything"]
    assert short_names(names) == {
        "model.init_args.lr": "init_args.lr",
        "model.init_args.optimizer.lr": "optimizer.lr",
        "trainer.max_steps": "max_steps",
        "seed_everything": "seed_everything",
    }
    assert short_names(["lr", "model.lr"]) == {"lr": "lr", "model.lr": "model.lr"}
