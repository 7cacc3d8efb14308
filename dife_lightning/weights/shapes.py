"""Sizes of a network, inferred from the shapes of its tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from torch import Tensor

from dife_lightning.errors import CheckpointError

#: A tensor's name, one of its axes, and how many axes it has.
TensorAxis = tuple[str, int, int]


class Shapes:
    """Infers the sizes of a network from the shapes of its tensors.

    Each size appears in several tensors, and the majority decides. So if a file has one tensor of a wrong shape, the
    error on loading names that tensor.

    ``tensors`` may be on the device ``meta``. ``called`` maps our name of a tensor to its name in the file.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], source: object, network: str, called: Callable[[str], str] = str
    ) -> None:
        self.tensors, self.source, self.network, self.called = tensors, source, network, called

    def size(self, *places: TensorAxis, multiple: int = 1) -> int:
        """Return the size that most of ``places`` have, a multiple of ``multiple``; in a tie the earlier one counts.

        CheckpointError if none of the tensors exists, or the size is 0 or not a multiple.
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
        """Return the number of parts named ``prefix`` + number: the largest number, counted from ``first``.

        Only numbers of one or two digits count, so that a name in a file cannot make a network huge.
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
