"""A species is data: reading it, refusing what does not fit, and adding one without code."""

from __future__ import annotations

import copy
import math
from dataclasses import fields
from importlib import resources

import numpy as np
import pytest
import yaml

from dife_lightning.errors import ConfigError
from dife_lightning.world import list_species, load_species, render
from dife_lightning.world.face.species import parse_species, read_species
from dife_lightning.world.face.traits import CHOICES, SECTIONS

SHIPPED = yaml.safe_load((resources.files("dife_lightning.world") / "species.yaml").read_text(encoding="utf-8"))


def changed(section, trait, value):
    table = copy.deepcopy(SHIPPED["dog"])
    table[section][trait] = value
    return table


def message_of(table, name="dog"):
    with pytest.raises(ConfigError) as caught:
        parse_species(name, table)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ten_species_ship_with_the_package():
    assert list_species() == ["human", "dog", "cat", "wild", "fox", "rabbit", "bear", "horse", "sheep", "pig"]


def test_an_unknown_species_is_named_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no species 'foxx' in the world\. Did you mean 'fox'\? Known: bear, cat, dog"
    ):
        load_species("foxx")


@pytest.mark.parametrize("species", SHIPPED)
def test_drawn_traits_lie_within_the_table(species):
    rng = np.random.default_rng(0)
    for _ in range(20):
        traits = load_species(species).draw(rng)
        for section, cls in SECTIONS.items():
            for field in fields(cls):
                value, row = getattr(getattr(traits, section), field.name), SHIPPED[species][section][field.name]
                if field.type == "float":
                    low, high = row if isinstance(row, list) else (row, row)
                    assert low <= value <= high
                elif field.type == "str":
                    assert value in row
                else:
                    assert np.all((np.array(value) >= 0) & (np.array(value) <= 1))


def test_weights_decide_how_often_a_choice_is_drawn():
    table = parse_species("dog", changed("ears", "shape", {"floppy": 3, "pointed": 1}))
    rng = np.random.default_rng(0)
    drawn = [table.draw(rng).ears.shape for _ in range(2000)]
    assert drawn.count("floppy") / 2000 == pytest.approx(0.75, abs=0.04)
    assert set(drawn) == {"floppy", "pointed"}


def test_a_hex_colour_is_red_green_blue():
    table = parse_species("dog", changed("nose", "color", ["#ff8000"]))
    color = table.draw(np.random.default_rng(0)).nose.color
    np.testing.assert_allclose(color, (1, 128 / 255, 0))


@pytest.mark.parametrize(
    ("section", "trait", "value", "message"),
    [
        ("head", "width", [0.9, 0.7], r"head.width: expected a number or a range \[low, high\], found \[0.9, 0.7\]"),
        ("head", "width", "wide", "head.width: expected a number"),
        ("head", "width", [0.1, 0.2, 0.3], "head.width: expected a number"),
        ("head", "width", True, "head.width: expected a number"),
        ("head", "width", math.nan, "head.width: expected a number"),
        ("head", "width", None, "head.width: expected a number"),
        ("ears", "shape", "floppy", r"ears.shape: expected weights like \{pointed: 1\}"),
        ("ears", "shape", {"flopy": 1}, r"ears.shape: unknown choice 'flopy'. Did you mean 'floppy'\?"),
        ("ears", "shape", {"floppy": 0}, "ears.shape: the weight of 'floppy' must be above 0, found 0"),
        ("ears", "shape", {"floppy": math.inf}, "ears.shape: the weight of 'floppy' must be above 0, found inf"),
        ("nose", "color", "#aa8866", r"nose.color: expected a list of colours"),
        ("nose", "color", [], r"nose.color: expected a list of colours"),
        ("nose", "color", ["red"], "nose.color: expected a colour like '#aa8866', found 'red'"),
        ("nose", "color", ["0xabcde"], "nose.color: expected a colour like"),
        ("coat", "palette", [["#aa8866", "#aa8866"]], "coat.palette: expected three colours"),
        ("coat", "palette", ["#aa8866"], "coat.palette: expected three colours"),
    ],
)
def test_a_wrong_trait_is_named_with_its_species(section, trait, value, message):
    with pytest.raises(ConfigError, match=f"species 'dog', {message}") as caught:
        parse_species("dog", changed(section, trait, value))
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_keys_are_named():
    assert "species 'dog', eyes: unknown key 'widht'. Did you mean 'width'?" in message_of(changed("eyes", "widht", 1))
    table = copy.deepcopy(SHIPPED["dog"])
    del table["eyes"]["width"], table["eyes"]["tilt"]
    assert "species 'dog', eyes: missing width, tilt" in message_of(table)
    table = copy.deepcopy(SHIPPED["dog"])
    table["tail"] = {}
    assert "species 'dog': unknown key 'tail'" in message_of(table)
    del table["tail"], table["mouth"]
    assert "species 'dog': missing mouth" in message_of(table)
    table["mouth"] = 3
    assert "species 'dog', mouth: expected a table of traits, found int" in message_of(table)
    assert "species 'newt': expected a table of sections, found list" in message_of([], "newt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"dog: [", "cannot be read as a species file"),
        (b"\xff\xfe\x00", "cannot be read as a species file"),
        (b"", "expected a table of species by name"),
        (b"- dog", "expected a table of species by name"),
        (b"newt: 3", "species 'newt': expected a table of sections"),
    ],
)
def test_a_file_that_is_no_species_file_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_species(path)
    assert "\n" not in str(caught.value)


def test_a_missing_species_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read"):
        read_species(tmp_path / "none.yaml")


def test_a_further_species_needs_data_alone(tmp_path):
    lynx = copy.deepcopy(SHIPPED["fox"])
    lynx["ears"]["length"], lynx["coat"]["pattern"] = [0.9, 1.1], {"rosettes": 2, "plain": 1}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"lynx": lynx, "fox": SHIPPED["fox"]}))
    tables = read_species(path)
    first, again = (render(tables["lynx"], "val", 0) for _ in range(2))
    assert first.species == "lynx"
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.mean() > 0.08
    assert render(tables["fox"], "val", 0).image.tobytes() == render("fox", "val", 0).image.tobytes()


@pytest.mark.parametrize(("trait", "choice"), [(trait, choice) for trait in CHOICES for choice in CHOICES[trait]])
def test_every_choice_can_be_rendered(trait, choice):
    section, name = trait.split(".")
    table = parse_species("dog", changed(section, name, {choice: 1}))
    assert render(table, "val", 1, size=16).image.std() > 10


def test_a_species_whose_faces_always_fold_says_so():
    crossed = changed("eyes", "distance", 0.02)
    with pytest.raises(ConfigError, match="species 'dog': the face folds in 50 draws; change its eyes, nose or mouth"):
        render(parse_species("dog", crossed), "val", 0, size=16)
