"""``dife embed``: embeddings of the faces of photos, as colours and as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dife_lightning.cli.options import VerbParser
from dife_lightning.cli.photo_options import add_photo_options, each_face
from dife_lightning.errors import UsageError
from dife_lightning.utils.notes import many

_ABOUT = """
Embeds the faces of PHOTOS (photos or folders). Writes embed.png, the first faces and their embeddings in colours (three
principal components, fitted over all of them: equal colours are equal parts), and embeddings.npz: embeddings
(N, n, h, w) float16, names (N,) and squares (N, 3), centre and side of each face in pixels of its photo, to FOLDER.

examples:
  dife embed people cats dogs
  dife embed photos --model runs/first --faces boxes.csv
"""
#: Faces on the sheet, and faces whose embeddings are held in memory at most.
SHEET, MOST = 16, 2000


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
    import torch

    from dife_lightning.applications.face_embedder import FaceEmbedder
    from dife_lightning.applications.photo_lists import target_photos

    eyes = FaceEmbedder(own.model, own.size)
    _, photos = target_photos(own.photos, own.faces)
    if len(photos) > MOST:
        raise UsageError(f"{len(photos)} photos; at most {MOST} are embedded at once. Give parts of the folder.")
    faces, maps = [], []
    for batch in each_face(eyes, photos):
        faces += batch
        maps.append(eyes.embed([one.face for one in batch]).cpu())
    _write(own, faces, torch.cat(maps))
    return 0


def _write(own: Any, faces: Any, maps: Any) -> None:
    import numpy as np

    from dife_lightning.faces.batches import image_tensor
    from dife_lightning.utils.files import atomic_write
    from dife_lightning.viz.embedding import embedding_sheet
    from dife_lightning.viz.sheet import save_figure

    folder = Path(own.out)
    squares = np.array([(one.face.square.x, one.face.square.y, one.face.square.side) for one in faces])
    arrays = {"embeddings": maps.half().numpy(), "names": np.array([one.name for one in faces]), "squares": squares}
    with atomic_write(folder / "embeddings.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    images = image_tensor([one.face.picture for one in faces[:SHEET]])
    note = "three principal components over all faces" if own.colors == "pca" else "first three channels of each face"
    sheet = embedding_sheet({"faces": images}, {own.model: {"faces": maps[:SHEET]}}, mode=own.colors, note=note)
    save_figure(sheet, folder / "embed.png")
    print(f"{many(len(faces), 'face')} embedded; see {folder / 'embed.png'}")
