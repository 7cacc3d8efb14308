"""Lists of image pairs on which landmark transfer is measured.

An image occurs at most once in a list, and lists of different splits share no image.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.world.face.species import list_species
from dife_lightning.world.scene.factors import Split

PairListKind = Literal["paper", "long"]

#: Number of test pairs in the paper, by kind (source+target).
PAPER_COUNTS = {"human+dog": 100, "human+cat": 89, "dog+cat": 89, "human+wild": 47}
LONG_COUNT = 1000
#: Images are drawn from the indices below this.
INDEX_RANGE = 1_000_000


class Pair(NamedTuple):
    """One source and one target image."""

    source_species: str
    source_index: int
    target_species: str
    target_index: int

    @property
    def id(self) -> str:
        """Name of the pair, unique in its list."""
        return f"{self.source_species}-{self.source_index}+{self.target_species}-{self.target_index}"


@dataclass(frozen=True)
class PairList:
    """A list of pairs and how it was drawn."""

    pair: str
    split: str
    kind: str
    seed: int | None
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[index]

    @property
    def hash(self) -> str:
        """SHA-256 of split and pairs."""
        text = json.dumps([self.split, [list(pair) for pair in self.pairs]], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def split_pair(pair: str) -> tuple[str, str]:
    """Return source and target species of a pair kind such as ``human+dog``.

    Raises:
        ConfigError: not two known species joined by '+'.
    """
    names = pair.split("+")
    if len(names) != 2:
        raise ConfigError(f"pair '{pair}': expected two species like 'human+dog'. {did_you_mean(pair, PAPER_COUNTS)}")
    for name in names:
        if name not in list_species():
            raise ConfigError(f"pair '{pair}': no species '{name}'. {did_you_mean(name, list_species())}")
    return names[0], names[1]


def pair_list(
    pair: str, split: Split, kind: PairListKind, *, seed: int | None = None, count: int | None = None
) -> PairList:
    """Draw the list of ``pair`` (for example ``human+dog``) in ``split``.

    Args:
        pair: source and target species.
        split: ``val`` to choose settings, ``test`` for results.
        kind: ``paper`` (the paper's counts, 100 for pairs it does not have) or ``long`` (1000).
        seed: draws another list; None for the published list.
        count: number of pairs; None for that of the kind.

    Raises:
        ConfigError: unknown pair, split or kind, a negative seed, or a count outside 1 to 100,000.
    """
    source, target = split_pair(pair)
    require_choice("split", split, get_args(Split))
    require_choice("pair list", kind, get_args(PairListKind))
    number = count if count is not None else (PAPER_COUNTS.get(pair, 100) if kind == "paper" else LONG_COUNT)
    require(at_least=1, at_most=INDEX_RANGE // 10, count=number)
    require(at_least=0, seed=seed)
    words = [zlib.crc32(text.encode()) for text in (pair, split, kind)]
    # SeedSequence pads its entropy with zeros, so a word of 0 would repeat the published list.
    rng = np.random.default_rng(np.random.SeedSequence(words if seed is None else [*words, 1 + seed]))
    # One draw without replacement for both sides, so that images differ even within a species.
    drawn = rng.choice(INDEX_RANGE, size=2 * number, replace=False).tolist()
    pairs = tuple(Pair(source, a, target, b) for a, b in zip(drawn[:number], drawn[number:], strict=True))
    return PairList(pair, split, kind, seed, pairs)
