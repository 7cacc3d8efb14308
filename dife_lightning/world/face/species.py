"""Species as tables of trait ranges, read from ``species.yaml``; ``traits.py`` is the schema.

To render a species of your own, read your YAML file with :func:`read_species` and pass the :class:`Species` to
:func:`dife_lightning.world.render`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.world.face.traits import CHOICES, SECTIONS, Color, Palette, Traits


@dataclass(frozen=True)
class Uniform:
    """A number drawn uniformly from [low, high]."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one number."""
        return self.low + (self.high - self.low) * rng.random()


@dataclass(frozen=True)
class Choice:
    """One of ``values``, drawn with cumulative probabilities ``edges``."""

    values: tuple[Any, ...]
    edges: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one value."""
        return self.values[min(int(np.searchsorted(self.edges, rng.random(), side="right")), len(self.values) - 1)]


Sampler = Uniform | Choice


@dataclass(frozen=True)
class Species:
    """A named table of trait samplers."""

    name: str
    table: Mapping[str, Mapping[str, Sampler]]

    def draw(self, rng: np.random.Generator) -> Traits:
        """Draw the traits of an individual, in the order of the schema."""
        drawn = {
            section: cls(**{f.name: self.table[section][f.name].draw(rng) for f in fields(cls)})
            for section, cls in SECTIONS.items()
        }
        return Traits(**drawn)


def parse_species(name: str, table: object) -> Species:
    """Parse a species table and check it against the schema.

    Raises:
        ConfigError: a section or trait is missing, unknown or of the wrong form.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"species '{name}': expected a table of sections, found {type(table).__name__}")
    _check_keys(f"species '{name}'", table, SECTIONS)
    parsed: dict[str, dict[str, Sampler]] = {}
    for section, cls in SECTIONS.items():
        where, rows = f"species '{name}', {section}", table[section]
        if not isinstance(rows, Mapping):
            raise ConfigError(f"{where}: expected a table of traits, found {type(rows).__name__}")
        kinds = {f.name: str(f.type) for f in fields(cls)}
        _check_keys(where, rows, kinds)
        parsed[section] = {trait: _sampler(f"{where}.{trait}", kind, rows[trait]) for trait, kind in kinds.items()}
    return Species(name, parsed)


def read_species(path: Path) -> dict[str, Species]:
    """Read a YAML file of species tables.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or a table does not fit the schema.
    """
    try:
        tables = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as a species file ({' '.join(str(error).split())})") from error
    if not isinstance(tables, Mapping) or not tables:
        raise ConfigError(f"{path}: expected a table of species by name, as in dife_lightning/world/species.yaml")
    return {str(name): parse_species(str(name), table) for name, table in tables.items()}


@lru_cache(maxsize=1)
def _shipped() -> dict[str, Species]:
    with resources.as_file(resources.files("dife_lightning.world") / "species.yaml") as path:
        return read_species(path)


def list_species() -> list[str]:
    """Return the names of the shipped species."""
    return list(_shipped())


def load_species(name: str) -> Species:
    """Return a shipped species by name.

    Raises:
        ConfigError: there is no such species.
    """
    if name not in _shipped():
        raise ConfigError(f"no species '{name}' in the world. {did_you_mean(name, _shipped())}")
    return _shipped()[name]


def _check_keys(where: str, found: Mapping[Any, object], known: Mapping[str, object]) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'. {did_you_mean(str(key), known)}")
    missing = [key for key in known if key not in found]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}; every key of the schema must be given")


def _sampler(where: str, kind: str, value: object) -> Sampler:
    if kind == "float":
        return _range(where, value)
    if kind == "str":
        return _weights(where, value)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{where}: expected a list of colours like ['#aa8866'], found {value!r}")
    items = tuple(_palette(where, v) if kind == "Palette" else _color(where, v) for v in value)
    return Choice(items, tuple(float(edge) for edge in np.arange(1, len(items) + 1) / len(items)))


def _range(where: str, value: object) -> Uniform:
    ends = value if isinstance(value, list) else [value, value]
    numbers = [v for v in ends if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(ends) != 2 or len(numbers) != 2 or numbers[0] > numbers[1]:
        raise ConfigError(f"{where}: expected a number or a range [low, high], found {value!r}")
    return Uniform(float(numbers[0]), float(numbers[1]))


def _weights(where: str, value: object) -> Choice:
    allowed = CHOICES[where.split(", ", 1)[1]]
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"{where}: expected weights like {{{allowed[0]}: 1}}, found {value!r}")
    for name, weight in value.items():
        if name not in allowed:
            raise ConfigError(f"{where}: unknown choice '{name}'. {did_you_mean(str(name), allowed)}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ConfigError(f"{where}: the weight of '{name}' must be above 0, found {weight!r}")
    edges = np.cumsum([float(w) for w in value.values()])
    return Choice(tuple(value), tuple(float(edge) for edge in edges / edges[-1]))


def _palette(where: str, value: object) -> Palette:
    if not isinstance(value, list) or len(value) != 3:
        raise ConfigError(f"{where}: expected three colours [base, second, light], found {value!r}")
    first, second, third = (_color(where, v) for v in value)
    return first, second, third


def _color(where: str, value: object) -> Color:
    if not isinstance(value, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ConfigError(f"{where}: expected a colour like '#aa8866', found {value!r}")
    number = int(value[1:], 16)
    return (number >> 16) / 255, (number >> 8 & 255) / 255, (number & 255) / 255
