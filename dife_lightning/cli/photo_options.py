"""What the verbs on photos have in common: their options, progress, and a word on photos that are passed over."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dife_lightning.cli.options import results_folder
from dife_lightning.errors import DataError, UsageError
from dife_lightning.utils.notes import note

if TYPE_CHECKING:
    from dife_lightning.applications.face_crops import FaceCrop
    from dife_lightning.applications.face_embedder import FaceEmbedder
    from dife_lightning.applications.photo_lists import TargetPhoto


#: The embedder that is used by default.
MODEL = "photos/dife"


def add_photo_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options of the model, of the faces and of the folder ``out`` to write to."""
    add = parser.add_argument
    add("--model", default=MODEL, help=f"an embedder: shipped, or a run of yours ({MODEL})")
    add("--faces", default="auto", help="faces of the photos: auto, whole, or a file of boxes (auto)")
    add("--size", type=int, help="side in pixels of what the model sees (that of its training)")
    add("--out", type=results_folder, default=out, metavar="FOLDER", help=f"where to write ({out})")


def parse_where(text: str) -> str | list[float]:
    """Return where a face is: ``auto``, ``whole``, or a box; UsageError for something else."""
    if text in ("auto", "whole"):
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"a face {text}: expected auto, whole, or a box x0,y0,x1,y1 in pixels.") from None


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of ``total`` photos are done, where someone looks; yields a function that adds to them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("photos", total=total)
        yield lambda count: shown.advance(task, count)


def say_passed_over(reasons: Sequence[str]) -> None:
    """Print a line for each photo that was passed over."""
    for reason in reasons:
        note(f"passed over: {reason}")


class NamedFace(NamedTuple):
    """A face, its name (that of its photo, with a number if it has several), and the name of its photo."""

    name: str
    face: FaceCrop
    photo: str


def each_face(eyes: FaceEmbedder, photos: Sequence[TargetPhoto]) -> Iterator[list[NamedFace]]:
    """Yield the faces of photos in batches; passed-over photos are said at the end.

    The faces lose their photos when the next batch is asked for: those of a folder do not fit into memory.

    DataError if there is no face in any of them.
    """
    from dife_lightning.applications.photo_lists import opened

    reasons, found = list[str](), 0
    with progress(len(photos)) as done:
        for batch in opened(eyes, photos):
            reasons += [reason for one in batch for reason in one.passed_over]
            faces = [NamedFace(face.name, face.crop, one.photo.name) for one in batch for face in one.faces]
            found += len(faces)
            if faces:
                yield faces
                for one in faces:
                    one.face.release()
            done(len(batch))
    say_passed_over(reasons)
    if not found:
        raise DataError(f"no face in any of {len(photos)} photos; the first: {(reasons or ['none'])[0]}")
