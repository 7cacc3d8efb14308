"""The DIFE configurations of the world differ in their domains and pairs, and in nothing else; DVE fits them."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.running.configs import load_config

SPECIES = {
    "human_dog": ["human", "dog"],
    "human_cat": ["human", "cat"],
    "dog_cat": ["dog", "cat"],
    "human_dog_cat": ["human", "dog", "cat"],
}


def read(name: str) -> dict[str, Any]:
    """What a configuration and those that it extends state."""
    return load_config(f"world/{name}")


@functools.cache
def _resolve(name: str) -> dict[str, Any]:
    return resolved_settings(["fit", "--config", f"world/{name}"])


def resolve(name: str) -> dict[str, Any]:
    """All settings of a training with a configuration."""
    return copy.deepcopy(_resolve(name))


@pytest.mark.parametrize("name", SPECIES)
def test_model_stream_and_pairs_name_the_same_species(name: str) -> None:
    config, species = resolve(name), SPECIES[name]
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    assert list(model["domains"]) == list(model["generators"]) == list(data["generators"]) == species
    assert model["generators"] == data["generators"] == {s: f"world/{s}" for s in species}
    assert (model["layer"], model["size"]) == (data["layer"], data["size"])
    pairs = data["evaluation"]["init_args"]["pairs"]
    assert pairs == [f"{a}+{b}" for i, a in enumerate(species) for b in species[i + 1 :]]


@pytest.mark.parametrize("name", list(SPECIES)[1:])
def test_all_other_settings_are_those_of_human_and_dog(name: str) -> None:
    def rest(config: dict[str, Any]) -> dict[str, Any]:
        for part in (config["model"]["init_args"], config["data"]["init_args"]):
            part.pop("domains", None)
            part.pop("generators")
        config["data"]["init_args"]["evaluation"]["init_args"].pop("pairs")
        return config

    assert rest(resolve(name)) == rest(resolve("human_dog"))


def test_dve_learns_from_the_samples_that_dife_learns_from_with_an_encoder_of_its_size() -> None:
    dve, dife = resolve("dve"), resolve("human_dog")
    assert dve["data"] == dife["data"]
    assert read("dve")["data"] == read("streams/human_dog")["data"]
    for key in ("size", "dim", "encoder", "unit_length"):
        assert dve["model"]["init_args"][key] == dife["model"]["init_args"][key]


@pytest.mark.parametrize("name", SPECIES)
def test_renders_streams_and_pairs_name_the_same_species(name: str) -> None:
    def data(folder: str) -> dict[str, Any]:
        return read(f"{folder}/{name}")["data"]["init_args"]

    renders, stream = data("renders"), data("streams")
    assert renders["domains"] == list(stream["generators"]) == SPECIES[name]
    assert {key: renders[key] for key in ("size", "batch_size", "evaluation")} == {
        key: stream[key] for key in ("size", "batch_size", "evaluation")
    }
    reference = read("renders/human_dog")["data"]["init_args"]
    assert {key for key in renders if renders[key] != reference[key]} <= {"domains", "evaluation"}


def test_the_ceiling_has_the_encoder_and_the_pairs_of_dife_and_the_renders_of_its_species() -> None:
    ceiling, dife = read("ceiling"), read("human_dog")
    for key in ("encoder", "dim"):
        assert ceiling["model"]["init_args"][key] == dife["model"]["init_args"][key]
    assert ceiling["data"] == read("renders/human_dog")["data"]


def test_cats_learns_from_the_renders_that_others_learn_from_with_labels() -> None:
    assert read("cats")["data"] == read("renders/human_dog")["data"]
