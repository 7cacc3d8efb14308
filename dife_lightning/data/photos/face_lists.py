"""All pair lists of an evaluation on photographs: given or drawn, with validation and test kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dife_lightning.data.pairs import Split
from dife_lightning.data.photos.face_domains import DomainFaces
from dife_lightning.data.photos.pair_draws import PAPER_PAIRS, default_count, draw_pair_list, faces_in_tests, units_of
from dife_lightning.data.photos.pair_lists import FacePairList, find_pairs, read_pair_list
from dife_lightning.errors import DataError
from dife_lightning.faces.items import FaceDataset


def paper_count(pair: str) -> int | None:
    """Return the paper's number of test pairs; None for a kind of pair that the paper does not have."""
    return default_count(pair) if pair in PAPER_PAIRS else None


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
    ) -> None:
        self.faces, self.pairs, self.given = faces, list(pairs), given
        self.count, self.val_count = count, val_count
        self._lists: dict[Split, dict[str, FacePairList]] = {}

    def of(self, split: Split) -> dict[str, FacePairList]:
        """Return the lists of a split by kind of pair.

        Raises:
            DataError: a file of a list or of a data set is missing or wrong, there is no usable face, or a validation
                list shares a picture or subject with a test list.
        """
        if split not in self._lists:
            reserved = self.test_pictures() if split == "val" else frozenset()
            lists = {pair: self._list(pair, split, reserved) for pair in self.pairs}
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
        return {f"{pair}/{self.name(found)}": found.hash for pair, found in lists.items()}

    def name(self, found: FacePairList) -> str:
        """Return ``val``, ``given``, ``paper`` (drawn, as long as the paper's) or ``test`` (other drawn lists)."""
        if found.split == "val":
            return "val"
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
        if found.pair in self.given[found.split]:
            return self.heading(found)
        names = dict.fromkeys(found.pair.split("+"))
        usable = (f"{name}: {self.faces.usable(name, found.split).summary()}" for name in names)
        return "; ".join((self.heading(found), *usable))

    def heading(self, found: FacePairList) -> str:
        """Return the length of a list, that of the paper's, and its file, if it was given."""
        text = f"{found.pair}, {found.split} list: {len(found)} pairs"
        paper = paper_count(found.pair)
        if found.split == "test" and paper != len(found):
            text += " (not a pair of the paper)" if paper is None else f" (the paper has {paper})"
        file = self.given[found.split].get(found.pair)
        return text if file is None else f"{text}, from {file}"

    def _list(self, pair: str, split: Split, reserved: frozenset[str]) -> FacePairList:
        if pair in self.given[split]:
            return read_pair_list(self.given[split][pair], pair, split)
        source, target = pair.split("+")
        count = self.val_count if split == "val" else self.count or default_count(pair)
        crops = {name: self.faces.crop(name).published(self.faces.landmarks(name)) for name in (source, target)}
        drawn = {"seed": self.faces.seed, "protocol": self.faces.protocol, "crop": crops}
        sides = self.faces.usable(source, split), self.faces.usable(target, split)
        return draw_pair_list(pair, split, *sides, count, drawn=drawn, without=reserved)

    def test_pictures(self) -> frozenset[str]:
        """Return pictures and subjects of the test lists, and those that drawn lists of other evaluations would use."""
        reserved = self._pictures(self.of("test"))
        drawn = {name for pair in self.pairs if pair not in self.given["test"] for name in pair.split("+")}
        for name in drawn:
            usable = self.faces.usable(name, "test")
            first = usable.order[: self.count or faces_in_tests(name)]
            reserved |= frozenset[str]().union(*(usable.units(index) for index in first))
        return frozenset(reserved)

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
