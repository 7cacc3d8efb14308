"""What is wrong with the files of a dataset: the first fault ends the reading, or all are written down."""

from __future__ import annotations

from typing import NamedTuple

from dife_lightning.errors import DataError

#: How an error about one face ends.
OR_SKIP = "or leave such faces out: --skip-broken, skip_broken=True."


class LeftOut(NamedTuple):
    """A face that was left out: file and row it was read from, and what is wrong with it."""

    source: str
    reason: str


class Fault(Exception):
    """What is wrong with one face, raised where it is found; never leaves a reader."""


class Faults:
    """Where readers report a face that cannot be used.

    Args:
        skip: go on without such faces, and keep what was wrong in ``left_out``.
    """

    def __init__(self, skip: bool) -> None:
        self.skip = skip
        self.left_out: list[LeftOut] = []

    def add(self, source: str, reason: str) -> None:
        """Report a fault.

        Args:
            source: file and row.
            reason: what was found and what was expected, without a full stop.

        Raises:
            DataError: unless faults are to be skipped.
        """
        if not self.skip:
            raise DataError(f"{source}: {reason}. Mend it, {OR_SKIP}")
        self.left_out.append(LeftOut(source, reason))
