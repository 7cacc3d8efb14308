"""What the tests of annotation tools' readers share."""

from __future__ import annotations

import json
from pathlib import Path

from dife_lightning.faces.schemes import get_scheme


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def notes_of(capsys) -> list[str]:
    """Return the printed notes without those on the scheme."""
    lines = [line.split(": ", 2) for line in capsys.readouterr().err.splitlines()]
    assert all(line[0] == "note" for line in lines)
    return [line[2] for line in lines if "scheme" not in line[2]]


def faces_of(dataset) -> list[tuple[str, dict[str, list[float]]]]:
    """Return name and labelled points of each face."""
    names = get_scheme(dataset.scheme).landmarks
    return [
        (face.name, {n: p.tolist() for n, p, on in zip(names, face.points, face.visible, strict=True) if on})
        for face in dataset.annotations
    ]


def names_of(dataset) -> list[str]:
    return list(get_scheme(dataset.scheme).landmarks)
