"""A picture of the world: for each species its renders, their canonical coordinates and their landmarks.

Usage: ``python -m dife_lightning.world.contact_sheet OUT.png [--size 128] [--columns 8] [--framing jittered]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dife_lightning.errors import ConfigError, DataError, DifeError
from dife_lightning.utils.files import atomic_write
from dife_lightning.world.face.species import list_species
from dife_lightning.world.scene.framing import FramingKind, framing_for
from dife_lightning.world.scene.renderer import WorldSample, render
from dife_lightning.world.scene.stage import Split

_GRAY = 24
_SEEN, _HIDDEN = (255, 255, 255), (255, 70, 70)


def contact_sheet(
    species: Sequence[str] | None = None,
    *,
    split: Split = "val",
    columns: int = 8,
    size: int = 128,
    framing: FramingKind = "plain",
    start: int = 0,
) -> NDArray[np.uint8]:
    """Draw two rows a species: renders, and (u, v) as colour with the landmarks (hidden ones red).

    Returns:
        (rows, columns * size, 3) uint8 RGB.

    Raises:
        ConfigError: unknown species, split or framing, or fewer than one column.
    """
    if columns < 1:
        raise ConfigError(f"a contact sheet has 1 column or more, found {columns}")
    rows = []
    for name in species or list_species():
        samples = [
            render(name, split, index, size=size, framing=framing_for(framing, 0, index))
            for index in range(start, start + columns)
        ]
        rows.append(np.concatenate([sample.image for sample in samples], axis=1))
        rows.append(np.concatenate([_truth(sample) for sample in samples], axis=1))
    return np.concatenate(rows, axis=0)


def uv_colors(uv: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Show canonical coordinates (h, w, 2) as colours (h, w, 3); NaN is dark grey."""
    face = np.isfinite(uv[..., 0])
    u, v = (np.nan_to_num(uv[..., i]) * 0.5 + 0.5 for i in (0, 1))
    checks = 0.9 + 0.1 * np.sign(np.sin(5 * np.pi * u) * np.sin(5 * np.pi * v))
    colors = np.stack((u, 0.15 + 0.75 * v, 0.85 - 0.5 * u * v - 0.3 * v), -1) * checks[..., None]
    colors = np.where(face[..., None], np.clip(colors, 0, 1) * 255, _GRAY)
    return np.asarray(colors, np.uint8)


def _truth(sample: WorldSample) -> NDArray[np.uint8]:
    picture = uv_colors(sample.uv)
    radius = max(1, round(len(picture) / 64))
    for (x, y), visible in zip(sample.points, sample.visible, strict=True):
        color = _SEEN if visible else _HIDDEN
        cv2.circle(picture, (round(float(x)), round(float(y))), radius, color, -1, cv2.LINE_AA)
    return picture


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a contact sheet; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write a picture of the world's species.")
    parser.add_argument("output", type=Path, help="PNG file to write")
    parser.add_argument("--species", nargs="+", default=None, help="names; all if not given")
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--framing", default="plain", choices=("plain", "jittered"))
    options = parser.parse_args(arguments)
    try:
        sheet = contact_sheet(
            options.species, split=options.split, columns=options.columns, size=options.size, framing=options.framing
        )
        _write_png(options.output, sheet)
    except DifeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.output} ({sheet.shape[1]} x {sheet.shape[0]})")
    return 0


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    done, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise DataError(f"{path}: a picture of {picture.shape} could not be encoded as PNG; ask for a smaller one")
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); name a file in a writable folder") from error


if __name__ == "__main__":
    raise SystemExit(main())
