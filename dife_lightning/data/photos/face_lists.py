"""All pair lists of an evaluation on photographs: given or drawn, with validation and test kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dife_lightning.data.evaluation import Split
from dife_lightning.data.photos.face_domains import DomainFaces
from dife_lightning.data.photos.pair_draws import (
    PAPER_PAIRS,
    default_count,
    draw_pair_list,
    faces_in_tests,
    unit_names,
    units_of,
)
from dife_lightning.data.photos.pair_lists import FacePairList, find_pairs, read_pair_list
from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceDataset
from dife_lightning.utils.notes import many


def paper_count(pair: str) -> int | None:
    """Return the paper's number of test pairs; None for a kind of pair that the paper does not have."""
    return default_count(pair) if pair in PAPER_PAIRS else None


#: Lists of one kind of pair: with the paper's number of pairs, and for claims.
ListName = Literal["paper", "long"]
LONG: ListName = "long"
#: Pairs in a long list.
LONG_PAIRS = 1000


class FaceLists:
    """The validation and test lists of some kinds of pair, made on first use.

    ``given``: split -> kind of pair -> file to read instead of drawing a list. The other arguments are those of
    :class:`~dife_lightning.data.photos.face_pairs.FacePairs`.
    """

    def __init__(
        self,
        faces: DomainFaces,
        pairs: Sequence[str],
        given: Mapping[Split, Mapping[str, str]],
        count: int | None,
        val_count: int,
        names: Sequence[ListName] | None = None,
        repeat: bool = False,
    ) -> None:
        self.faces, self.pairs, self.given = faces, list(pairs), given
        self.count, self.val_count = count, val_count
        #: Names of the test lists of each kind of pair; empty for one list without a name.
        self.names, self.repeat = tuple(names or ("",)), repeat
        self._lists: dict[Split, dict[str, FacePairList]] = {}

    def of(self, split: Split) -> dict[str, FacePairList]:
        """Return the lists of a split by kind of pair, and by ``pair/list`` where lists have names.

        Raises:
            DataError: a file of a list or of a data set is missing or wrong, there is no usable face, or a validation
                list shares a picture or subject with a test list.
        """
        if split not in self._lists:
            reserved = self.test_pictures() if split == "val" else frozenset()
            names = self.names if split == "test" else ("",)
            drawn = [self._list(pair, name, split, reserved) for pair in self.pairs for name in names]
            lists = {found.key: found for found in drawn}
            if split == "val":
                self._check_disjoint(lists)
            self._lists[split] = lists
        return self._lists[split]

    def hashes(self, split: Split) -> dict[str, str]:
        """Return the SHA-256 of each list of a split, by ``pair/list``.

        If no faces are left for validation, its lists are missing here; that must not fail a test.
        """
        try:
            lists = self.of(split)
        except DataError:
            if split == "test" or self.given["val"]:
                raise
            return {}
        return {f"{found.pair}/{self.name(found)}": found.hash for found in lists.values()}

    def name(self, found: FacePairList) -> str:
        """Return ``val``, the list's own name, or else ``given``, ``paper`` (as long as the paper's) or ``test``."""
        if found.split == "val":
            return "val"
        if found.name:
            return found.name
        if found.pair in self.given["test"]:
            return "given"
        return "paper" if len(found) == paper_count(found.pair) else "test"

    def readers(self, found: FacePairList) -> tuple[FaceDataset, FaceDataset]:
        """Return the readers of a list's source and target faces."""
        source, target = found.pair.split("+")
        return self.faces.reader(source, found.split), self.faces.reader(target, found.split)

    def indices(self, found: FacePairList) -> list[tuple[int, int]]:
        """Return the indices of a list's faces in its readers; DataError if a name is missing."""
        return find_pairs(found, *self.readers(found))

    def summary(self, found: FacePairList) -> str:
        """Return one line: the length of a list, that of the paper's, and the faces that it was drawn from."""
        if found.key in self.given[found.split]:
            return self.heading(found)
        names = dict.fromkeys(found.pair.split("+"))
        usable = (f"{name}: {self.faces.usable(name, found.split).summary()}" for name in names)
        return "; ".join((self.heading(found), *usable))

    def heading(self, found: FacePairList) -> str:
        """Return the length of a list, that of the paper's, and its file, if it was given."""
        text = f"{found.pair}, {found.name or found.split} list: {len(found)} pairs"
        paper = paper_count(found.pair)
        if found.name == LONG:
            text += f" (of {LONG_PAIRS}: no more are possible)" if len(found) < (self.count or LONG_PAIRS) else ""
        elif found.split == "test" and paper != len(found):
            text += " (not a pair of the paper)" if paper is None else f" (the paper has {paper})"
        units = [len(set(side)) for side in zip(*self.units(found), strict=True)]
        if min(units) < len(found):
            text += f" of {many(units[0], 'source')} and {many(units[1], 'target')} (persons, animals or photos)"
        file = self.given[found.split].get(found.key)
        return text if file is None else f"{text}, from {file}"

    def units(self, found: FacePairList) -> list[tuple[str, str]]:
        """Return for each pair whose pictures its faces are: subject or group where known, else the picture.

        A picture is named by its first face, since paths differ between machines.
        """
        sides = []
        columns = zip(*self.indices(found), strict=True)
        for domain, reader, column in zip(found.pair.split("+"), self.readers(found), columns, strict=True):
            names = unit_names(reader, self.faces.apart)
            sides.append([f"{domain}/{names[index]}" for index in column])
        return list(zip(*sides, strict=True))

    def _list(self, pair: str, name: str, split: Split, reserved: frozenset[str]) -> FacePairList:
        file = self.given[split].get(f"{pair}/{name}" if name else pair)
        if file is not None:
            return read_pair_list(file, pair, split, repeat=self.repeat, name=name)
        source, target = pair.split("+")
        count = (
            self.val_count if split == "val" else self.count or (LONG_PAIRS if name == LONG else default_count(pair))
        )
        crops = {name: self.faces.crop(name).published(self.faces.landmarks(name)) for name in (source, target)}
        drawn = {"seed": self.faces.seed, "protocol": self.faces.protocol, "crop": crops}
        sides = self.faces.usable(source, split), self.faces.usable(target, split)
        options: dict[str, Any] = {"drawn": drawn, "without": reserved, "repeat": self.repeat, "name": name}
        return draw_pair_list(pair, split, *sides, count, **options)

    def test_pictures(self) -> frozenset[str]:
        """Return pictures and subjects of the test lists, and those that drawn lists of other evaluations would use."""
        reserved = self._pictures(self.of("test"))
        drawn = {name for pair in self.pairs if not self._all_given(pair) for name in pair.split("+")}
        for name in drawn:
            usable = self.faces.usable(name, "test")
            first = usable.order[: self.count or (LONG_PAIRS if LONG in self.names else faces_in_tests(name))]
            reserved |= frozenset[str]().union(*(usable.units(index) for index in first))
        return frozenset(reserved)

    def _all_given(self, pair: str) -> bool:
        return all((f"{pair}/{name}" if name else pair) in self.given["test"] for name in self.names)

    def _pictures(self, lists: Mapping[str, FacePairList]) -> set[str]:
        found: set[str] = set()
        for listed in lists.values():
            for reader, indices in zip(self.readers(listed), zip(*self.indices(listed), strict=True), strict=True):
                found |= frozenset[str]().union(*(units_of(reader, index, self.faces.apart) for index in indices))
        return found

    def _check_disjoint(self, val: Mapping[str, FacePairList]) -> None:
        shared = sorted(self._pictures(val) & self._pictures(self.of("test")))
        if shared:
            known = any(name.startswith(f"{self.faces.apart} ") for name in shared)
            kin, hint = (f" or {self.faces.apart}s", ", or set keep_apart: picture") if known else ("", "")
            seen = f"test pictures or {self.faces.apart}s" if known else "test pictures"
            raise DataError(
                f"validation and test lists share {len(shared)} pictures{kin}, for example {Path(shared[0]).name}; "
                f"selection must not see {seen}. Give other lists{hint}."
            )
