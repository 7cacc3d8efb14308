"""Every option of every method is checked when it is given, not when a training first needs it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.registry import get_method
from tests.tiny import TINY_CATS

ONE = {"human": 8}
#: Arguments without which a method cannot be built.
NEEDED: dict[str, dict[str, Any]] = {
    "dife": {
        "domains": ONE,
        "generators": {"human": "human.safetensors"},
        "size": 32,
        "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4},
        "converter": {"hidden": 8, "groups": 4, "kernel": 3},
    },
    "dve": {"size": 32, "encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}},
    "dense-truth": {"encoder": {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}},
    "cats": {"architecture": TINY_CATS},
    "stylegan2": {"channels": [8, 8]},
    "surface-teacher": {},
    "projected-backbone": {},
    "generator-features": {},
    "frozen-backbone": {"model": "facebook/dinov2-small"},
}
ENCODER = {"encoder.planes": [[8, 8, 0]], "encoder.blocks": [0], "encoder.depth": [0, -1], "encoder.groups": [0]}
OPTIMIZER = {
    "optimizer.lr": [0, -1, math.nan], "optimizer.betas": [[0.9, 1.0], [-0.1, 0.9]], "optimizer.factor": [0, 1],
    "optimizer.patience": [-1], "optimizer.final": [-0.1, 1.5], "optimizer.rise": [-1],
    "optimizer.schedule": ["cosin"],
}  # fmt: skip
#: Method -> dotted option -> values that make no sense.
BAD: dict[str, dict[str, list[Any]]] = {
    "dife": ENCODER | OPTIMIZER | {
        "size": [0, -32, 33], "dim": [0, -1], "layer": [0], "warmup_steps": [-1], "seed": [-1], "share_every": [-1],
        "lambda_k1": [-1, math.nan], "lambda_m2": [-0.1], "domains.human": [0], "converter.kind": ["papr"],
        "converter.kernel": [0, 4], "converter.hidden": [0], "converter.groups": [0], "converter.side": [0],
        "distillation.statistics_samples": [0], "distillation.matching_images": [0],
        "distillation.reduction": ["median"], "distillation.teacher_view": ["warp"],
        "distillation.teacher_norm": ["one"], "distillation.normalize_features": ["chanel"],
        "matching_loss.temperature": [0, -1], "matching_loss.power": [0],
        "matching_loss.side": [0], "matching_loss.queries": [0], "matching_loss.agree": [-1],
        "matching_loss.weights": ["sofmax"], "matching_loss.reduction": ["max"],
        "matching_loss.stop_gradient": ["both"],
        "exploration.steps": [0], "exploration.lr": [0, -0.1], "exploration.weight_w": [-1],
        "exploration.patience": [-1], "exploration.deform": [-0.1, 0.5],
        "exploration.deform_grid": [0], "exploration.deform_weight": [-1], "exploration.space": ["z"],
        "exploration.norm": ["l1"],
        "pairs.batch_size": [0], "pairs.refresh_every": [0], "pairs.per_refresh": [0],
        "pairs.bank_size": [0], "pairs.first": [0], "pairs.truncation": [-0.1, 1.1],
        "pairs.start": ["zero"],
        "pair_augment.rotation": [-1], "pair_augment.scale_min": [0], "pair_augment.scale_max": [0.1],
        "pair_augment.shift": [-0.1], "pair_augment.hue": [-0.1], "pair_augment.color_probability": [-0.1, 1.1],
        "pair_augment.padding": ["mirror"],
    },
    "dve": ENCODER | OPTIMIZER | {
        "size": [0, -8, 36], "dim": [0, -1], "pow": [0, -1], "images": [1], "seed": [-1], "norm": ["instance"],
        "warper.control": [1], "warper.bend": [-1], "warper.crop": [-1, 16], "warper.padding": ["mirror"],
        "jitter.brightness": [-1], "jitter.probability": [2],
    },
    "dense-truth": ENCODER | OPTIMIZER | {
        "dim": [0, -2, 7], "queries": [0], "temperature": [0], "tolerance": [0], "code_scale": [0], "seed": [-1],
        "lambda_code": [-1], "lambda_match": [math.nan],
    },
    "cats": {
        "lr": [0, -1], "lr_backbone": [0], "weight_decay": [-1], "milestones": [[-0.1], [1.5]], "decay": [0],
        "rise": [-1], "reach": [0], "seed": [-1], "architecture.heads": [0, 5], "architecture.side": [1],
        "architecture.size": [0], "architecture.temperature": [0], "architecture.stem": [0],
        "architecture.planes": [[4, 0]], "architecture.mlp_ratio": [0], "architecture.hyperpixels": [[2, 0], [-1, 0]],
        "architecture.classes": [-1],
    },
    "stylegan2": {
        "channels": [[8], [8, 0]], "z_dim": [0], "w_dim": [0], "mapping_layers": [0], "stem": ["rbg"],
        "discriminator_channels": [[8, 0]], "lr": [0, -1], "discriminator_lr": [0, -1], "r1_gamma": [-1],
        "r1_interval": [0], "path_length_weight": [-1], "path_length_interval": [0], "style_mixing": [-0.1, 1.1],
        "ema_half_life": [0], "ema_rampup": [-1], "augment": [["colour"]], "augment_probability": [-0.1, 1.5],
        "augment_target": [2], "max_images": [0], "seed": [-1],
    },
    "surface-teacher": {
        "dim": [0, -2, 7], "code_scale": [0], "side": [0], "width": [0, 12], "blocks": [-1], "lr": [0, -1],
    },
    "projected-backbone": {
        "layer": [0, 18], "side": [0], "dim": [0, 1000], "context": [0, 2], "grid": [1],
        "shrinkage": [0, -1],
    },
    "generator-features": {
        "generators": [{}], "layer": [0], "steps": [-1], "lr": [0], "weight_w": [-1], "space": ["z"],
        "normalize_features": ["chanel"],
    },
    "frozen-backbone": {"side": [0, -1]},
}  # fmt: skip
CASES = [(m, option, value) for m, options in BAD.items() for option, values in options.items() for value in values]


def merged(arguments: dict[str, Any], option: str, value: Any) -> dict[str, Any]:
    first, _, rest = option.partition(".")
    return arguments | {first: (arguments.get(first) or {}) | {rest: value} if rest else value}


@pytest.mark.parametrize(("method", "option", "value"), CASES, ids=[f"{m}-{o}-{v}" for m, o, v in CASES])
def test_an_option_that_makes_no_sense_is_refused_when_it_is_given(method: str, option: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        get_method(method)(**merged(NEEDED[method], option, value))
    text = str(error.value)
    assert "\n" not in text
    assert option.rpartition(".")[2].removeprefix("discriminator_").removeprefix("augment_") in text


@pytest.mark.parametrize("method", NEEDED)
def test_the_arguments_of_these_tests_are_fine_without_the_change(method: str) -> None:
    get_method(method)(**NEEDED[method])


def test_matching_across_species_needs_two_of_them() -> None:
    with pytest.raises(ConfigError, match="'human' is the only domain, so there is no pair of two species"):
        get_method("dife")(**NEEDED["dife"] | {"lambda_m1": 0.0, "lambda_m2": 0.01})


@pytest.mark.parametrize("name", ["", "a.b"])
def test_a_domain_needs_a_name_that_weights_can_be_stored_under(name: str) -> None:
    named = {"domains": {name: 8}, "generators": {name: "g.safetensors"}}
    with pytest.raises(ConfigError, match=f"domain '{name}'"):
        get_method("dife")(**NEEDED["dife"] | named)
