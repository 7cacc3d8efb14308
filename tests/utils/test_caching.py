from __future__ import annotations

import os
from pathlib import Path

from dife_lightning.utils.caching import ObjectCache


def test_an_object_is_loaded_once_until_the_file_is_replaced(tmp_path: Path) -> None:
    path, made = tmp_path / "a", ObjectCache[str]()
    path.write_text("one")
    time = path.stat().st_mtime_ns

    def read() -> str:
        return made.load(path, lambda file: file.read_text() + str(object()))

    first = read()
    assert read() is first
    (tmp_path / "link").symlink_to(path)
    assert made.load(tmp_path / "link", Path.read_text) is first

    (tmp_path / "b").write_text("two")  # of the same length, and made to look as old
    os.utime(tmp_path / "b", ns=(time, time))
    os.replace(tmp_path / "b", path)
    assert path.stat().st_mtime_ns == time
    assert read().startswith("two")
    assert len(made._objects) == 1  # the older object is released


def test_an_object_is_loaded_again_when_a_file_beside_it_appears_changes_or_goes(tmp_path: Path) -> None:
    path, beside, made = tmp_path / "a", tmp_path / "b", ObjectCache[str]()
    path.write_text("one")

    def read() -> str:
        return made.load(path, lambda file: file.read_text() + (beside.read_text() if beside.is_file() else ""), beside)

    assert read() is read()
    for change in (lambda: beside.write_text(" two"), lambda: beside.write_text(" three"), beside.unlink):
        change()
        expected = "one" + (beside.read_text() if beside.is_file() else "")
        assert read() == expected
        assert read() is read()


def test_a_failed_load_is_tried_again(tmp_path: Path) -> None:
    path, made = tmp_path / "a", ObjectCache[int]()
    path.write_text("x")
    for _ in range(2):
        try:
            made.load(path, lambda file: int(file.read_text()))
        except ValueError:
            continue
        raise AssertionError("a failure was kept")
    assert made.load(path, lambda file: 3) == 3
