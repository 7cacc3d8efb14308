"""Sizes of a network that is known by its tensors alone: what most of them say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from torch import Tensor

from dife_lightning.errors import CheckpointError

#: A tensor's name, one of its axes, and how many axes it has.
TensorAxis = tuple[str, int, int]


class Shapes:
    """Answers how large a network is, from the shapes of its tensors.

    A size stands in several tensors. What most of them say is taken: of a file with one wrong tensor it is this one
    that does not fit, and that is named, when all are loaded.

    Args:
        tensors: name -> tensor, whose values are not looked at; on any device, ``meta`` among them.
        source: the file, for the text of an error.
        network: what the tensors should be, for the text of an error.
        called: a tensor's name -> how the file calls it.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], source: object, network: str, called: Callable[[str], str] = str
    ) -> None:
        self.tensors, self.source, self.network, self.called = tensors, source, network, called

    def size(self, *places: TensorAxis, multiple: int = 1) -> int:
        """Return the size that most of ``places`` have; at a tie the earlier one counts.

        Args:
            places: where the size stands.
            multiple: of what it must be a multiple.

        Raises:
            CheckpointError: none of the places is there, or the size is 0 or no such multiple.
        """
        found = {place: self.tensors[place[0]].shape[place[1]] for place in places if self._has(place)}
        if not found:
            raise self._absent(places[0])
        size = Counter(found.values()).most_common(1)[0][0]
        if not size or size % multiple:
            name, axis, _ = next(place for place, value in found.items() if value == size)
            expected = f"{'at least 1' if multiple == 1 else f'a multiple of {multiple}'} along axis {axis}"
            raise CheckpointError(f"{self._told(name)}, {self.network} expects {expected}.")
        return size

    def count(self, prefix: str, first: int = 0) -> int:
        """Count the parts that are numbered after ``prefix``, by the largest number; where it starts is ``first``.

        Numbers of three digits are no number of a part, so that names alone do not make a network large.
        """
        numbers = (re.match(r"\d{1,2}(?!\d)", name[len(prefix) :]) for name in self.tensors if name.startswith(prefix))
        return max((int(number[0]) + 1 - first for number in numbers if number), default=0)

    def _has(self, place: TensorAxis) -> bool:
        name, _, axes = place
        return name in self.tensors and self.tensors[name].ndim == axes

    def _absent(self, place: TensorAxis) -> CheckpointError:
        name, _, axes = place
        if name in self.tensors:
            return CheckpointError(f"{self._told(name)}, {self.network} expects {axes} axes.")
        return CheckpointError(f"{self.source} has no tensor '{self.called(name)}', which every {self.network} has.")

    def _told(self, name: str) -> str:
        return f"{self.source}: '{self.called(name)}' is {tuple(self.tensors[name].shape)}"
