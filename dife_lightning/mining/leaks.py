"""Keeps test faces out of the unlabelled pool, by name and by the content of their files.

A pool with test faces is **transductive**: the network is trained on the pictures that it is tested on, though without
their labels. The published results of Meta-CSKT on AnimalWeb are; ``unlabelled="all"`` reproduces that, and the result
says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from dife_lightning.errors import DataError
from dife_lightning.utils.checks import require_choice
from dife_lightning.utils.files import sha256
from dife_lightning.utils.notes import many, some

#: ``train_only``: test faces are removed from the pool. ``all``: they stay (transductive).
Unlabelled = Literal["train_only", "all"]
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CheckedPool:
    """An unlabelled pool after the check.

    Attributes:
        names: of the faces that stay, in the order of the pool.
        by_name: faces of the pool that have the name of a test face.
        by_content: other faces of the pool whose file has the content of the file of a test face.
        unlabelled: ``train_only`` if the faces of both were removed, ``all`` if they stay.
    """

    names: tuple[str, ...]
    by_name: tuple[str, ...]
    by_content: tuple[str, ...]
    unlabelled: Unlabelled

    @property
    def transductive(self) -> bool:
        """Whether there are test faces in the pool."""
        return self.unlabelled == "all" and bool(self.by_name or self.by_content)

    def facts(self) -> dict[str, Any]:
        """Return counts and the choice as plain values, for the record of a result."""
        leaks = {"test_by_name": len(self.by_name), "test_by_content": len(self.by_content)}
        choice = {"unlabelled": self.unlabelled, "transductive": self.transductive}
        return {"pool": len(self.names), **leaks, **choice}

    def __str__(self) -> str:
        found = len(self.by_name) + len(self.by_content)
        told = f"{many(found, 'test face')} ({len(self.by_name)} by name, {len(self.by_content)} by content)"
        if self.unlabelled == "train_only":
            return f"unlabelled pool: {many(len(self.names), 'face')}; {told} removed"
        kind = "transductive" if self.transductive else "not transductive"
        return f"unlabelled pool: all {many(len(self.names), 'face')}, {told} among them: {kind}"


def check_pool(
    pool: Mapping[str, str], test: Mapping[str, str], unlabelled: Unlabelled = "train_only", *, refuse: bool = False
) -> CheckedPool:
    """Find the test faces in a pool, and remove them.

    A file with several faces counts as a whole: a face beside a test face in one picture is removed, too.

    Args:
        pool: name -> SHA-256 of the file of each unlabelled face; see :func:`content_hashes`.
        test: the same of each test face.
        unlabelled: ``all`` leaves test faces in the pool.
        refuse: raise instead of removing; without effect with ``all``.

    Raises:
        ConfigError: another value of ``unlabelled``.
        DataError: something else than a SHA-256, a test face with ``refuse``, or no face that stays.
    """
    require_choice("unlabelled", unlabelled, get_args(Unlabelled))
    for faces in (pool, test):
        _check_hashes(faces)
    contents = set(test.values())
    by_name = tuple(name for name in pool if name in test)
    by_content = tuple(name for name, content in pool.items() if name not in test and content in contents)
    gone = set() if unlabelled == "all" else {*by_name, *by_content}
    if gone and refuse:
        found = f"{many(len(gone), 'test face')} in the unlabelled pool: {some((*by_name, *by_content))}"
        raise DataError(f"{found}; remove them, or set unlabelled to all (transductive)")
    kept = tuple(name for name in pool if name not in gone)
    if not kept:
        raise DataError(f"no unlabelled face: {len(pool)} given, {len(gone)} of them test faces; give others")
    return CheckedPool(kept, by_name, by_content, unlabelled)


def _check_hashes(faces: Mapping[str, str]) -> None:
    for name, content in faces.items():
        if not _SHA256.fullmatch(content):
            raise DataError(f"face '{name}': '{content[:80]}' is no SHA-256; expected 64 digits of 0-9 and a-f")


def equal_files(files: Mapping[str, Path], others: Iterable[Path]) -> set[str]:
    """Return the names whose file has the content of one of ``others``; only files of equal size are read.

    DataError for a file that is missing or cannot be read.
    """
    sizes: dict[int, set[Path]] = {}
    for other in others:
        sizes.setdefault(_size("", other), set()).add(other)
    alike = {name: file for name, file in files.items() if _size(name, file) in sizes}
    contents = {
        size: set(content_hashes({str(file): file for file in those}).values()) for size, those in sizes.items()
    }
    return {name for name, content in content_hashes(alike).items() if content in contents[_size(name, alike[name])]}


def _size(name: str, file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise _unreadable(name, file, error) from None


def _unreadable(name: str, file: Path, error: OSError) -> DataError:
    reason = error.strerror or type(error).__name__
    return DataError(f"face '{name or file.name}': {file} cannot be read ({reason}); check the folder")


def content_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return name -> hexadecimal SHA-256 of each face's file; a file of several faces is read once.

    DataError for a file that is missing or cannot be read.
    """
    known: dict[Path, str] = {}
    for name, file in files.items():
        if file not in known:
            try:
                known[file] = sha256(file)
            except OSError as error:
                raise _unreadable(name, file, error) from None
    return {name: known[file] for name, file in files.items()}
