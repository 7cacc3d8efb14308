"""``dife embed``: embeddings of the faces of photos, as colours and as arrays."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face
from dife_lightning.cli.photo_outputs import refuse_to_replace
from dife_lightning.errors import UsageError
from dife_lightning.utils.notes import many

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_ABOUT = """
Embeds the faces of PHOTOS (photos or folders). Writes embed.png, the first 16 faces and their embeddings in colours
(three principal components of all that it shows: equal colours are equal parts), and embeddings.npz: embeddings
(N, n, h, w) float16, names (N,) and squares (N, 3), centre and side of each face in pixels of its photo, to FOLDER.

examples:
  dife embed people cats dogs
  dife embed photos --model runs/first --faces boxes.csv
"""
#: Faces on the sheet, and faces whose embeddings are held in memory at most.
SHEET, MOST = 16, 2000
SHEET_FILE = "embed.png"


def run(verb: str, args: list[str]) -> int:
    """Embed faces."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife embed PHOTOS... [options]", epilog=_ABOUT)
    parser.add_argument("photos", nargs="+", help="photos, or folders of photos")
    parser.add_argument("--colors", default="pca", help="pca, or first-three channels as the authors draw them (pca)")
    add_photo_options(parser, "embed")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    if own.colors not in ("pca", "first-three"):
        raise UsageError(f"--colors {own.colors}: expected pca or first-three.")
    from dife_lightning.applications.face_embedder import FaceEmbedder
    from dife_lightning.applications.photo_lists import target_photos

    _, photos = target_photos(own.photos, own.faces, own.out)
    if len(photos) > MOST:
        raise UsageError(f"{len(photos)} photos; at most {MOST} are embedded at once. Give parts of the folder.")
    refuse_to_replace([photo.file for photo in photos], [Path(own.out) / SHEET_FILE])
    eyes = FaceEmbedder(own.model, own.size)
    found = _Found([], [], [], [])
    for batch in each_face(eyes, photos):
        found.names.extend(one.name for one in batch)
        found.squares.extend((one.face.square.x, one.face.square.y, one.face.square.side) for one in batch)
        found.maps.append(eyes.embed([one.face for one in batch]).half().cpu())
        found.pictures.extend(one.face.picture for one in batch[: SHEET - len(found.pictures)])
    _write(own, found)
    return 0


class _Found(NamedTuple):
    """Names, squares and embeddings (in batches, float16) of all faces, and pictures of those on the sheet."""

    names: list[str]
    squares: list[tuple[float, float, float]]
    maps: list[Tensor]
    pictures: list[NDArray[np.uint8]]


def _write(own: argparse.Namespace, found: _Found) -> None:
    import numpy as np
    import torch

    from dife_lightning.faces.batches import image_tensor
    from dife_lightning.utils.files import atomic_write
    from dife_lightning.viz.embedding import embedding_sheet
    from dife_lightning.viz.sheet import save_figure

    folder, maps, shown = Path(own.out), torch.cat(found.maps), found.names[:SHEET]
    arrays: dict[str, Any] = {
        "embeddings": maps.numpy(),
        "names": np.array(found.names),
        "squares": np.array(found.squares),
    }
    with atomic_write(folder / "embeddings.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    note = "three principal components of these faces" if own.colors == "pca" else "first three channels of each face"
    sheet = embedding_sheet(
        {"faces": image_tensor(found.pictures)},
        {own.model: {"faces": maps[:SHEET].float()}},
        mode=own.colors,
        note=note,
        names={"faces": shown},
    )
    save_figure(sheet, folder / SHEET_FILE)
    print(f"{many(len(found.names), 'face')} embedded; see {folder / SHEET_FILE}")
