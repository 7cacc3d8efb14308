"""A page of pictures of all that the shipped models do: `python -m experiments.figures.showcase`.

The photos are scikit-image's astronaut and cat, if it is installed, and drawn faces; or yours: `--photos FOLDER`.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import shlex
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dife_lightning.cli.main import main as dife
from dife_lightning.errors import DifeError
from dife_lightning.faces.images import list_images
from dife_lightning.utils.files import atomic_write
from dife_lightning.world.dataset import WorldFaces

#: Drawn faces: species and number among its test faces.
DRAWN = (("human", 3), ("dog", 0), ("cat", 2), ("wild", 1))


def main(words: Sequence[str] | None = None) -> int:
    """Draw the pictures and write index.html."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figures.showcase", description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of photos, two or more (drawn faces)")
    parser.add_argument("--model", default="photos/dife", help="an embedder (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/showcase"), help="folder to write to (%(default)s)")
    options = parser.parse_args(words)
    folder = options.photos or _write_photos(options.out / "photos")
    first, second, *_ = list_images(folder)
    sections = _sections(str(first), str(second), str(folder), options.model, options.out)
    for name, command, _ in sections:
        if dife(command):
            raise DifeError(f"the part '{name}' failed: dife {shlex.join(command)}")
    with atomic_write(options.out / "index.html") as temporary:
        temporary.write_text(page(options.out, sections), encoding="utf-8")
    print(options.out / "index.html")
    return 0


def _write_photos(folder: Path) -> Path:
    """Write the photos of scikit-image and drawn faces."""
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("skimage") is not None:
        from skimage.data import astronaut, chelsea

        Image.fromarray(astronaut()).save(folder / "1_astronaut.png")
        Image.fromarray(chelsea()).save(folder / "2_chelsea.png")
    for k, (species, number) in enumerate(DRAWN, 3):
        face = WorldFaces(species, "test", number + 1, size=192)[number]["image"]
        Image.fromarray(face).save(folder / f"{k}_drawn_{species}.png")
    return folder


def _sections(first: str, second: str, folder: str, model: str, out: Path) -> list[tuple[str, list[str], list[str]]]:
    """Return heading, words of `dife`, and the pictures that it writes below ``out``."""
    by = ["--model", model]
    overlays = [
        (f"An object: {name}", ["overlay", name, folder, *by, "--out", str(out / name)], [f"{name}/*.png"])
        for name in ("glasses", "mask", "hat")
    ]
    return [
        ("Dense correspondence", ["match", first, second, *by, "--out", str(out / "match")], ["match/match.png"]),
        ("A grid of points", ["dense", first, folder, *by, "--out", str(out / "dense")], ["dense/dense.png"]),
        ("Embeddings", ["embed", folder, *by, "--out", str(out / "embed")], ["embed/embed.png"]),
        ("Parts", ["parse", folder, *by, "--out", str(out / "parse")], ["parse/parts.png"]),
        *overlays,
        (
            "Samples of the generators",
            ["generate", "photos/human", "photos/dog", "photos/cat", "--psi", "0.5,1", "--out", str(out / "generate")],
            ["generate/generate.png"],
        ),
        ("Pseudo-pairs", ["pairs", "photos/dife", "--count", "4", "--out", str(out / "pairs")], ["pairs/pairs.png"]),
    ]


def page(out: Path, sections: Sequence[tuple[str, list[str], list[str]]]) -> str:
    """Return the page: a heading, the command and its pictures for each section; nothing is loaded from elsewhere."""
    parts = []
    for heading, command, patterns in sections:
        pictures = [path for pattern in patterns for path in sorted(out.glob(pattern))]
        images = "".join(
            f'<img src="{html.escape(path.relative_to(out).as_posix())}" alt="{html.escape(path.stem)}">'
            for path in pictures
        )
        small = ' class="small"' if len(pictures) > 1 else ""
        text = html.escape(shlex.join(["dife", *command]))
        parts.append(f"<h2>{html.escape(heading)}</h2>\n<p><code>{text}</code></p>\n<div{small}>{images}</div>")
    return _PAGE.format(parts="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>dife-lightning: what the shipped models do</title>
<style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 1200px; color: #1f2430; }}
img {{ max-width: 100%; }}
.small img {{ width: 180px; height: 180px; object-fit: contain; }}
code {{ color: #555; }}
</style>
</head>
<body>
<h1>What the shipped models do</h1>
<p>Models <code>photos/...</code> are for non-commercial research;
<code>dife assets photos/dife</code> shows their terms.</p>
{parts}
</body>
</html>
"""

if __name__ == "__main__":
    raise SystemExit(main())
