"""Draws lists that are longer than there are faces: faces are in several pairs, each about equally often.

Like the other lists, they are drawn by the hash of the faces' names, so they do not depend on the order of files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

#: Returns the name of a face, or what no other face of its pair may share (see ``units_of``), by its index.
Name = Callable[[int], str]
Units = Callable[[int], frozenset[str]]


def repeated_pairs(
    sources: Sequence[int],
    targets: Sequence[int],
    count: int,
    names: tuple[Name, Name],
    units: tuple[Units, Units],
    seed: int = 0,
) -> list[tuple[int, int]]:
    """Pair faces again and again: no pair twice, and no two faces that share a picture or subject.

    Sources and targets are gone through in passes. The first has the given order; each further one is sorted anew, by
    hash. A target that a source cannot have waits for the next source that can.

    Args:
        sources: indices of the source faces, in drawing order.
        targets: likewise.
        count: most pairs; there are fewer if no more are possible.
        names: of source and target faces.
        units: of source and target faces.
        seed: of the further passes.
    """
    own = {a: units[0](a) for a in sources}
    other = {b: units[1](b) for b in targets}
    found: dict[tuple[int, int], None] = {}
    waiting: list[int] = []
    coming = _passes(targets, names[1], f"{seed}/target")
    stuck = 0
    for a in _passes(sources, names[0], f"{seed}/source"):
        if len(found) >= count or stuck >= len(sources):
            break
        fits = partial(_fits, a, own[a], other, found)
        if not any(map(fits, targets)):
            stuck += 1
            continue
        while not any(map(fits, waiting)):
            waiting.append(next(coming))
        found[a, waiting.pop(next(place for place, b in enumerate(waiting) if fits(b)))] = None
        stuck = 0
    return list(found)


def _fits(
    a: int, mine: frozenset[str], other: Mapping[int, frozenset[str]], found: Collection[tuple[int, int]], b: int
) -> bool:
    """Return whether source ``a`` can have target ``b``."""
    return (a, b) not in found and mine.isdisjoint(other[b])


def _passes(faces: Sequence[int], name: Name, key: str) -> Iterator[int]:
    """Yield the faces without end: in their order, then sorted by hash, by another one each time."""
    if not faces:
        return
    yield from faces
    turn = 0
    while True:
        turn += 1
        yield from sorted(faces, key=lambda face: _digest(f"{key}/{turn}/{name(face)}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def two_sides(faces: Sequence[int], units: Units) -> tuple[list[int], list[int]]:
    """Divide the faces of a domain into sources and targets of about equal number that share no unit.

    Faces that share a unit, directly or by others, are on one side.
    """
    parent: dict[str, str] = {}

    def root(unit: str) -> str:
        while parent.setdefault(unit, unit) != unit:
            unit = parent[unit]
        return unit

    held = {face: sorted(units(face)) for face in faces}
    for mine in held.values():
        for unit in mine[1:]:
            parent[root(unit)] = root(mine[0])
    groups: dict[str, list[int]] = defaultdict(list)
    for face in faces:
        groups[root(held[face][0])].append(face)
    sides: tuple[list[int], list[int]] = [], []
    for group in groups.values():
        min(sides, key=len).extend(group)
    return sides
