"""The file of a sweep, against what wandb itself reads and writes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from wandb.apis.public import sweeps as wandb_sweeps
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import UsageError
from dife_lightning.sweeps.definition import find_sweep, list_sweeps, parse_sweep, read_sweep
from dife_lightning.sweeps.study import suggest

GOOD: dict[str, Any] = {
    "program": "dife",
    "command": ["dife", "fit", "--config", "world/human_dog", "${args}", "--trainer.max_steps=5"],
    "method": "random",
    "metric": {"name": "val/pixel_error", "goal": "minimize"},
    "parameters": {"model.init_args.lambda_k1": {"min": 0.1, "max": 1.0}},
}


def agents_words(content: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The command that an agent of wandb would start."""
    given = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    found = {**given, "env": ["/usr/bin/env"], "program": [content.get("program")], "interpreter": ["python"]}
    words: list[str] = []
    for word in create_sweep_command(list(content["command"])):
        macro = word.startswith("${") and word.endswith("}")
        words += found[word[2:-1]] if macro else [word]
    return words


def test_a_trial_gets_the_words_that_an_agent_of_wandb_gives():
    values = {"model.lr": 0.25, "tiny": 1e-05, "n": 3, "on": True, "name": "dve", "sides": [16, 32]}
    for command in (GOOD["command"], ["${env}", *GOOD["command"]], ["${program}", *GOOD["command"][1:]]):
        content = {**GOOD, "command": command}
        theirs = agents_words(content, values)
        assert ["dife", *parse_sweep(content).command(values)] == theirs[theirs.index("dife") :]


def test_null_and_dictionaries_are_written_as_yaml_reads_them():
    words = parse_sweep(GOOD).command({"a": None, "b": {"x": 1, "y": None}})
    texts = [word.split("=", 1)[1] for word in words if word.startswith(("--a=", "--b="))]
    assert [yaml.safe_load(text) for text in texts] == [None, {"x": 1, "y": None}]


def test_more_words_come_last():
    assert parse_sweep(GOOD).command({"a": 1}, ["--trainer.max_steps=7"])[-2:] == [
        "--trainer.max_steps=5",
        "--trainer.max_steps=7",
    ]


@pytest.mark.parametrize("name", list_sweeps())
def test_every_shipped_sweep_is_taken_by_wandb_and_by_us_and_its_keys_exist(name):
    path = find_sweep(name)
    theirs = yaml.safe_load(path.read_text())  # as `wandb sweep` reads it
    if hasattr(wandb_sweeps, "_validate_config_and_fill_distribution"):  # the oldest wandb that we allow has none
        assert wandb_sweeps._validate_config_and_fill_distribution(theirs)["parameters"] == theirs["parameters"]
    sweep = read_sweep(path)
    values = suggest(sweep, 0, 0, [])
    assert agents_words(theirs, values) == ["dife", *sweep.command(values)]
    settings = resolved_settings(sweep.command(values))
    for key, value in values.items():
        found: Any = settings
        for part in key.split("."):
            found = found[part]
        assert found == value
    (callback,) = [one for one in settings["trainer"]["callbacks"] if one["class_path"].endswith("KeypointTransfer")]
    assert callback is not None
    assert sweep.metric == "val/pixel_error"


def test_the_shipped_sweep_is_about_the_four_weights_over_two_decades_that_hold_the_values_of_the_world():
    model = resolved_settings(["fit", "--config", "world/human_dog"])["model"]["init_args"]
    for name in ("sweeps/lambdas", "sweeps/lambdas_world_short"):
        space = {key.rpartition(".")[2]: one for key, one in read_sweep(find_sweep(name)).space.items()}
        assert list(space) == ["lambda_k1", "lambda_k2", "lambda_m1", "lambda_m2"]
        for key, one in space.items():
            assert one.log
            assert one.high == pytest.approx(100 * one.low)
            assert 3 * one.low <= model[key] <= one.high / 3 + 1e-9


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (without("metric"), "no 'metric'; a sweep needs command, method, metric, parameters"),
        ({**GOOD, "metod": "grid"}, "unknown key 'metod'. Did you mean 'method'?"),
        (
            {**GOOD, "method": "hyperband"},
            "unknown method 'hyperband'. Did you mean 'random'? Known: bayes, grid, random",
        ),
        ({**GOOD, "method": "grid"}, "parameter 'model.init_args.lambda_k1': a grid needs values"),
        ({**GOOD, "metric": "val/pixel_error"}, "metric: expected {name: val/pixel_error, goal: minimize}"),
        (
            {**GOOD, "metric": {"name": "a", "goal": "minimise"}},
            "metric: unknown goal 'minimise'. Did you mean 'minimize'?",
        ),
        ({**GOOD, "metric": {"name": "a", "target": 3}}, "metric: unknown key 'target'. Known: goal, name."),
        ({**GOOD, "parameters": {}}, "parameters: none given"),
        ({**GOOD, "parameters": None}, "parameters: none given"),
        ({**GOOD, "parameters": {"run": {"value": "x"}}}, "parameters: --run is set by `dife sweep`"),
        ({**GOOD, "run_cap": 0}, "run_cap: expected 1 or more, found 0"),
        ({**GOOD, "command": "dife fit"}, "command: expected [dife, fit,"),
        ({**GOOD, "command": ["python", "train.py", "${args}"]}, "command: expected [dife, fit,"),
        ({**GOOD, "command": ["dife", "fit"]}, "with ${args} once and no other macro, found dife fit."),
        (
            {**GOOD, "command": ["dife", "fit", "${args_no_hyphens}"]},
            "with ${args} once and no other macro, found dife fit ${args_no_hyphens}.",
        ),
        ({**GOOD, "command": ["dife", "fit", "--run", "x", "${args}"]}, "command: --run is set by `dife sweep`"),
        (
            {**GOOD, "method": "bayes", "parameters": {"a": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
            "parameter 'a': probabilities are for method random, not bayes",
        ),
    ],
)
def test_what_is_not_understood_is_one_line_with_the_file_and_the_key(tmp_path, content, says):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError) as error:
        read_sweep(path)
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_keys_of_a_server_are_ignored():
    more = {"early_terminate": {"type": "hyperband", "min_iter": 3}, "project": "x", "entity": "y", "name": "z"}
    assert parse_sweep({**GOOD, **more}).identity() == parse_sweep(GOOD).identity()


def test_a_grid_that_cannot_be_meant_is_refused():
    parameters = {name: {"min": 1, "max": 100} for name in "abc"}
    with pytest.raises(UsageError, match="the grid has 1,000,000 trials"):
        parse_sweep({**GOOD, "method": "grid", "parameters": parameters})
    two = parse_sweep({**GOOD, "method": "grid", "parameters": {"a": {"min": 1, "max": 100}}})
    assert (two.most, parse_sweep({**GOOD, "run_cap": 7}).most, parse_sweep(GOOD).most) == (100, 7, math.inf)


def test_the_goal_says_what_is_better_and_is_small_by_default():
    low = parse_sweep({**GOOD, "metric": {"name": "a"}})
    high = parse_sweep({**GOOD, "metric": {"name": "a", "goal": "maximize"}})
    assert low.loss(1.0) < low.loss(2.0)
    assert high.loss(2.0) < high.loss(1.0)


def test_a_missing_file_gets_the_closest_shipped_name():
    with pytest.raises(UsageError, match=r"no sweep 'sweeps/lamdas', .* Did you mean 'sweeps/lambdas'\?"):
        find_sweep("sweeps/lamdas")
