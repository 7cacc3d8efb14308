"""The pairs on which a table is measured, and the numbers that its claims are about."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.running.configs import load_config

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule


#: Arguments of ``FacePairs`` that decide the images and points of a test.
_DECISIVE = ("protocol", "crop", "size", "eye_order", "seed")
#: Further score of a set -> what it is.
SCORES = {
    "pck_image_05": "PCK@0.05 of the crop's side",
    "pck_image_10": "PCK@0.10 of the crop's side",
    "pck_face_05": "PCK@0.05 of the face's extent",
    "pck_face_10": "PCK@0.10 of the face's extent",
    "swap_rate": "left/right swaps",
}


@dataclass(frozen=True)
class Measure:
    """The evaluation of a table; the defaults are the embedded world's.

    Attributes:
        title: heading of the table.
        data: class of the pairs, ``WorldPairs`` or another data module of key-point pairs.
        arguments: arguments of that class.
        config: configuration whose evaluation gives the other arguments.
        lists: test lists; the first has the paper's numbers of pairs, the claims are about the last.
        protocols: landmark sets, that of the claims first.
        framings: framings of the pictures, that of the claims first.
        scores: further scores that the table shows, of ``SCORES``.
        name: tells the tests and records of these pairs from those of another table on the same runs.
    """

    title: str = "Keypoint transfer on the embedded world"
    data: str = "WorldPairs"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    config: str | None = None
    lists: Sequence[str] = ("paper", "long")
    protocols: Sequence[str] = ("9-point", "3-point")
    framings: Sequence[str] = ("jittered", "plain")
    scores: Sequence[str] = ()
    name: str = ""

    def __post_init__(self) -> None:
        for name in self.scores:
            if name not in SCORES:
                raise ConfigError(f"measure.scores: no score '{name}'. {did_you_mean(name, SCORES)}")

    def folder(self, pairs: Sequence[str]) -> str:
        """Return the name of the folder of a test."""
        return "-".join((self.name, *pairs)) if self.name else "_".join(pairs)

    def record(self, run: str) -> str:
        """Return the name of the record of a run and its test."""
        return f"{run}-{self.name}" if self.name else run

    @property
    def claim(self) -> tuple[str, str, str]:
        """List, framing and protocol that the claims are about."""
        return self.lists[-1], self.framings[0], self.protocols[0]

    def pairs(self, pairs: Sequence[str], count: int | None) -> PairsDataModule:
        """Return the pairs, not yet prepared.

        Args:
            pairs: kinds of pair.
            count: pairs in each test list in place of its own number.
        """
        cls = _data_modules().get(self.data)
        if cls is None:
            raise ConfigError(f"measure.data '{self.data}': {did_you_mean(self.data, _data_modules())}")
        sets: dict[str, Any] = {"framings": list(self.framings)}
        if self.data == "WorldPairs" or len(self.lists) > 1:  # a single list of photographs may have any name
            sets["lists"] = list(self.lists)
        return _built(cls, {**self.arguments_of_data(), **sets, "pairs": list(pairs), "count": count})

    def images(self) -> dict[str, Any]:
        """Return what decides the images of photographs beside their lists: crops, framings, points; empty for renders.

        Where the files are does not count.
        """
        if self.data == "WorldPairs":
            return {}
        found = self.arguments_of_data()
        domains = {
            name: {part: domain.get(part) for part in ("dataset", "options", "crop")}
            for name, domain in (found.get("domains") or {}).items()
        }
        return {part: found.get(part) for part in _DECISIVE} | {"framings": list(self.framings), "domains": domains}

    def arguments_of_data(self) -> dict[str, Any]:
        """Return the arguments of the data module: those of the configuration, and the plan's own."""
        if self.config is None:
            return dict(self.arguments)
        content = load_config(self.config)
        return {**content["data"]["init_args"]["evaluation"]["init_args"], **self.arguments}

    def prepared(self, pairs: Sequence[str], count: int | None, first: int | None = None) -> PairsDataModule:
        """Return the test pairs, made by up to two processes or read from the cache.

        Args:
            pairs: kinds of pair.
            count: pairs in each test list in place of its own number.
            first: keep only the first so many pairs of each list.
        """
        data = self.pairs(pairs, count)
        data.num_workers = 2 if processors() > 1 else 0
        data.setup("test")
        data.num_workers = 0  # the pairs are in memory now
        if first is not None:
            data.test_sets = [found.first(first) for found in data.test_sets]
        return data


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _data_modules() -> dict[str, type[PairsDataModule]]:
    from dife_lightning.data.photos.face_pairs import FacePairs
    from dife_lightning.data.world.pairs import WorldPairs

    return {cls.__name__: cls for cls in (WorldPairs, FacePairs)}


def _built(cls: type[Any], arguments: Mapping[str, Any]) -> Any:
    """Return an object whose (nested) arguments come from a file."""
    from jsonargparse import ArgumentError, ArgumentParser

    import dife_lightning.running.parser  # noqa: F401 - text in options of readers stays text

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "it")
    try:
        return parser.instantiate(parser.parse_object({"it": deepcopy(dict(arguments))})).it
    except ArgumentError as error:
        raise ConfigError(f"{cls.__name__}: {' '.join(str(error).split())}") from None
