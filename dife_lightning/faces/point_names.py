"""Names of landmarks as people write them: whether two mean the same point, and which are mirror images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_OTHER = {"left": "right", "right": "left"}
#: Words of a name that state a side. Single letters count only in names without the whole word.
_WORDS = {"left": "left", "right": "right"}
_LETTERS = {"l": "left", "r": "right", "lt": "left", "rt": "right"}
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_A-Za-z]+|\d+")
_STUCK = re.compile(r"(left|right)(.+)|(.+)(left|right)")
_CAPITAL = re.compile(r"L[a-z]{2,}.*")


def plain(name: str) -> str:
    """Return a name without case and separators: ``Left-Eye`` and ``left_eye`` give ``lefteye``."""
    return "".join(c for c in name.casefold() if c.isalnum())


def parts(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the side that a name states (``left``, ``right`` or empty), and its other words in lower case.

    ``left_eye``, ``eye_l``, ``EyeL``, ``LEye`` and ``lefteye`` all give ``("left", ("eye",))``. A name that states more
    than one side states none.
    """
    words = [word.lower() for word in _PART.findall(name)]
    for table in (_WORDS, _LETTERS):
        where = [k for k, word in enumerate(words) if word in table]
        if len(where) == 1 and len(words) > 1:
            return table[words[where[0]]], (*words[: where[0]], *words[where[0] + 1 :])
        if where:
            return "", tuple(words)
    for k, word in enumerate(words):
        if match := _STUCK.fullmatch(word):
            rest = match[2] or match[3]
            return match[1] or match[4], (*words[:k], rest, *words[k + 1 :])
    return "", tuple(words)


def canonical(name: str) -> str:
    """Return the form under which names are compared: the side first, in words, joined by ``_``."""
    side, words = parts(name)
    return "_".join((side, *words) if side else words)


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of points whose names differ in their side alone: left/right, l/r, before or after the rest.

    A pair is found only where it is certain: two names of which each is the only one that the other could belong to.
    """
    keys = [parts(name) for name in names]
    count = Counter(keys)
    where = {key: k for k, key in enumerate(keys)}
    found = []
    for k, (side, rest) in enumerate(keys):
        other = _OTHER.get(side, ""), rest
        if side == "left" and count[side, rest] == 1 and count[other] == 1:
            found.append((k, where[other]))
    known = {k for pair in found for k in pair}
    found += [pair for pair in _capital_pairs(names) if not known & set(pair)]
    return tuple(sorted((min(pair), max(pair)) for pair in found))


def _capital_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs such as ``Leye`` and ``Reye``, which only an upper-case letter before the word tells apart."""
    where = {name: k for k, name in enumerate(names)}
    return [
        (k, where["R" + name[1:]])
        for k, name in enumerate(names)
        if _CAPITAL.fullmatch(name) and "R" + name[1:] in where
    ]


def sides_without_partner(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[str]:
    """Return the names that state a side but are in no mirror pair."""
    paired = {k for pair in pairs for k in pair}
    return [name for k, name in enumerate(names) if k not in paired and parts(name)[0]]
