"""Which reader takes a file or a folder, as its content shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dife_lightning.datasets.parsing.text import read_json, read_text
from dife_lightning.errors import ConfigError, MissingDataError

#: Bytes of a text file that are looked at.
_HEAD = 4096


def recognise(source: str | Path) -> tuple[str, Path, dict[str, Any]]:
    """Return the reader of a file or a folder, its root and its option ``file``.

    Raises:
        MissingDataError: there is no such file or folder.
        ConfigError: no form that is known, or several.
    """
    path = Path(os.path.expanduser(source))
    if path.is_file():
        reader = _reader_of(path)
        if reader is None:
            raise ConfigError(f"{path} is of no form that is known; name its reader with --from (`dife datasets`).")
        return reader, path.parent, {} if reader == "labelme" else {"file": str(path.absolute())}
    if not path.is_dir():
        raise MissingDataError(f"no file or folder {path}. Give the annotations, or the folder that holds them.")
    return _in_folder(path)


def reader_of(source: str | Path, named: str = "", images: str | None = None) -> tuple[str, Path, dict[str, Any]]:
    """Return the reader of annotations, its root and its options.

    Args:
        source: file or folder of the annotations.
        named: the reader; by default that which :func:`recognise` finds.
        images: folder of their pictures, if it is another one.

    Raises:
        MissingDataError: there is no such file or folder.
        ConfigError: no form that is known, or several.
    """
    path = Path(os.path.expanduser(source))
    if named:
        single = {"file": str(path.absolute())} if path.is_file() else {}
        reader, root, found = named, path.parent if path.is_file() else path, single
    else:
        reader, root, found = recognise(path)
    if images and "file" in found:
        return reader, Path(images), {**found, "file": str((root / found["file"]).absolute())}
    return reader, root, {**found, "images": str(Path(images).absolute())} if images else found


def _in_folder(folder: Path) -> tuple[str, Path, dict[str, Any]]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = _readers(files) or _readers(folder.glob("labeled-data/*/CollectedData_*.csv")) or _readers(
        sorted(folder.rglob("*.json"))[:1]
    )  # fmt: skip
    if len(found) != 1:
        kinds = ", ".join(f"{reader} ({paths[0].name})" for reader, paths in found.items())
        raise ConfigError(f"{folder} holds {kinds or 'no annotations that are known'}; name one file, or give --from.")
    ((reader, paths),) = found.items()
    if reader in ("labelme", "deeplabcut"):
        return reader, folder, {}
    if len(paths) > 1:
        raise ConfigError(f"{folder} holds {len(paths)} files of {reader}, the first {paths[0].name}; name one file.")
    return reader, folder, {"file": paths[0].name}


def _readers(paths: Iterable[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        reader = _reader_of(path)
        if reader is not None:
            found.setdefault(reader, []).append(path)
    return found


def _reader_of(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".slp":
        return "sleap"
    if suffix == ".json":
        return _of_json(read_json(path))
    if suffix not in (".xml", ".csv", ".yaml", ".yml"):
        return None
    text = read_text(path)[:_HEAD]
    if suffix == ".xml":
        return "cvat" if "<annotations" in text else None
    if suffix == ".csv":
        return "deeplabcut" if text.startswith("scorer") else "via" if "region_shape_attributes" in text else "folder"
    return "yolo-pose" if "kpt_shape" in text else None


def _of_json(content: Any) -> str | None:
    if isinstance(content, list):
        tasks = [one for one in content if isinstance(one, dict)]
        if tasks and {"image_id", "keypoints"} <= tasks[0].keys():
            return "coco-keypoints"  # results
        known = ("data", "annotations", "annotation_id", "predictions")
        return "label-studio" if any(key in task for task in tasks for key in known) else None
    if not isinstance(content, dict):
        return None
    if {"images", "annotations"} <= content.keys():
        return "coco-keypoints"
    if "shapes" in content:
        return "labelme"
    entries = [one for one in content.values() if isinstance(one, dict)]
    return "via" if "_via_img_metadata" in content or any("regions" in one for one in entries) else None
