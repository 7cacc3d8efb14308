"""Pair lists of photographs: stored by face name, and checked when they are read.

Names instead of numbers make a list independent of where a data set is stored and in which order. ``pair_draws.py``
draws lists.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dife_lightning.data.evaluation import Split
from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceDataset
from dife_lightning.utils.files import write_json


@dataclass(frozen=True)
class FacePairList:
    """An immutable list of pairs of faces.

    Attributes:
        pair: kind of pair, source domain first: ``human+dog``.
        split: ``val`` for model selection, ``test`` for results.
        pairs: (name of the source face, name of the target face).
        datasets: names of the readers, source first; may be empty in a list written by hand.
        drawn: how it was drawn (seed, protocol, crop, whether faces repeat), for the record.
        name: of the list (``long``), where there are several of one kind of pair.
    """

    pair: str
    split: Split
    pairs: tuple[tuple[str, str], ...]
    datasets: tuple[str, ...] = ()
    drawn: Mapping[str, Any] | None = None
    name: str = ""

    @property
    def key(self) -> str:
        """Kind of pair, and name of the list if it has one: ``human+dog/long``."""
        return f"{self.pair}/{self.name}" if self.name else self.pair

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def hash(self) -> str:
        """SHA-256 of kind, split, data sets and pairs; it depends neither on how they were drawn nor on the name."""
        content = [self.pair, self.split, list(self.datasets), [list(names) for names in self.pairs]]
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write the list and its hash as JSON."""
        fields = {"pair": self.pair, "split": self.split, "datasets": self.datasets, "drawn": self.drawn}
        write_json(path, {**fields, "hash": self.hash, "pairs": self.pairs})


def read_pair_list(path: str | Path, pair: str, split: Split, *, repeat: bool = False, name: str = "") -> FacePairList:
    """Read a list; one written by hand needs only ``{"pairs": [["source", "target"], ...]}``.

    With ``repeat``, a face may be in several pairs. ``name`` is that of the list.

    Raises:
        DataError: no such file, another form, kind or split, a face in two pairs (with ``repeat``, a pair that is
            there twice), or a hash that does not match.
    """
    path = Path(os.path.expanduser(path))
    content = _read_object(path)
    for key, expected in (("pair", pair), ("split", split)):
        if content.get(key, expected) != expected:
            raise DataError(f"{path} is a list of {key} '{content[key]}', expected '{expected}'. Give another file.")
    pairs = content.get("pairs")
    if not isinstance(pairs, list) or not pairs or not all(_is_pair(entry) for entry in pairs):
        raise DataError(f"{path} has no 'pairs': expected a list of [source name, target name], one pair or more.")
    (_check_pairs_once if repeat else _check_once)(path, pair, pairs)
    datasets = content.get("datasets") or []
    if datasets and not _is_pair(datasets):
        raise DataError(f"{path}: 'datasets' is {datasets!r}; expected two names of data sets, or leave it out.")
    found = FacePairList(pair, split, tuple((a, b) for a, b in pairs), tuple(datasets), content.get("drawn"), name)
    if content.get("hash", found.hash) != found.hash:
        raise DataError(
            f"{path} was changed: its content has hash {found.hash[:12]}..., 'hash' says "
            f"{str(content['hash'])[:12]}.... Restore the file, or remove 'hash' to accept the change."
        )
    return found


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"no pair list {path}. Check the path, or omit it to draw a list.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no pair list: {error}. Expected a JSON file with 'pairs'.") from None
    if not isinstance(content, dict):
        raise DataError(
            f"{path} is no pair list: expected a JSON object with 'pairs', found a {type(content).__name__}."
        )
    return content


def _check_once(path: Path, pair: str, pairs: list[list[str]]) -> None:
    """Raise DataError if a face is in two pairs; faces of different domains may share a name."""
    source, target = pair.split("+")
    faces = [(domain, name) for names in pairs for domain, name in zip((source, target), names, strict=True)]
    (domain, name), times = Counter(faces).most_common(1)[0]
    if times > 1:
        found = f"{domain} face '{name}' {times} times; expected at most once (repeat: true allows more)"
        raise DataError(f"{path} has {found}.")


def _check_pairs_once(path: Path, pair: str, pairs: list[list[str]]) -> None:
    """Raise DataError for a pair that is there twice (within a domain also reversed) or a face with itself."""
    source, target = pair.split("+")
    inside = source == target
    (names, times), *_ = Counter(tuple(sorted(two)) if inside else tuple(two) for two in pairs).most_common(1)
    if times > 1:
        raise DataError(f"{path} has the pair {' and '.join(names)} {times} times; expected once.")
    for a, b in pairs:
        if inside and a == b:
            raise DataError(f"{path} has face '{a}' paired with itself; expected two faces.")


def _is_pair(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)


def find_pairs(pairs: FacePairList, source: FaceDataset, target: FaceDataset) -> list[tuple[int, int]]:
    """Return the indices of a list's faces in both readers; DataError if the readers are others or lack a name."""
    readers = (source, target)
    found = tuple(reader.name for reader in readers)
    if pairs.datasets and pairs.datasets != found:
        raise DataError(
            f"the {pairs.split} list of {pairs.pair} is for {' and '.join(pairs.datasets)}, the data sets are "
            f"{' and '.join(found)}. Give a list and data sets that belong together."
        )
    where = [{annotation.name: i for i, annotation in enumerate(reader.annotations)} for reader in readers]
    for names in pairs.pairs:
        for name, known, reader in zip(names, where, readers, strict=True):
            if name not in known:
                raise DataError(f"the {pairs.split} list of {pairs.pair}: {_missing(reader, name, known)}")
    return [(where[0][a], where[1][b]) for a, b in pairs.pairs]


def _missing(faces: FaceDataset, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{faces.name} has no face '{name}' among its {len(known)}.{hint} Check the options, such as the split."
