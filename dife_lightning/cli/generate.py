"""``dife generate``: samples of generators."""

from __future__ import annotations

from pathlib import Path

from dife_lightning.cli.options import VerbParser, results_folder
from dife_lightning.errors import UsageError
from dife_lightning.utils.notes import many

_ABOUT = """
Writes samples of generators: a sheet, generate.png, with a row for each generator and truncation and a column for each
latent z, the same in all of them; and the images themselves, images/NAME-PSI-NUMBER.png. Generators that were
fine-tuned from each other show related faces for one z.

examples:
  dife generate photos/human photos/dog photos/cat
  dife generate photos/cat --psi 0.3,0.7,1 --count 12 --seed 5
"""


def run(verb: str, args: list[str]) -> int:
    """Write samples."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife generate GENERATORS... [options]", epilog=_ABOUT)
    parser.add_argument("generators", nargs="+", help="shipped generators (`dife assets`), files or runs")
    parser.add_argument("--count", type=int, default=8, help="samples of each (8)")
    parser.add_argument("--psi", default="0.7", help="truncations, separated by commas (0.7)")
    parser.add_argument("--seed", type=int, default=0, help="of the latents (0)")
    parser.add_argument(
        "--out", type=results_folder, default="generate", metavar="FOLDER", help="where to write (generate)"
    )
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    try:
        truncations = [float(part) for part in own.psi.split(",")]
    except ValueError:
        raise UsageError(f"--psi {own.psi}: expected numbers separated by commas, such as 0.5,0.7,1.") from None
    from PIL import Image

    from dife_lightning.applications.samples import sample_images
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.utils.files import atomic_buffer
    from dife_lightning.viz.samples import sample_sheet
    from dife_lightning.viz.sheet import save_figure, to_image

    images = sample_images({n: load_generator(n) for n in own.generators}, own.count, truncations, own.seed)
    folder = Path(own.out)
    for (name, psi), batch in images.items():
        for k, image in enumerate(batch):
            place = folder / "images" / f"{name.strip('/').replace('/', '-')}-{psi:g}-{k}.png"
            with atomic_buffer(place) as buffer:
                Image.fromarray(to_image(image)).save(buffer, format="PNG")
    save_figure(sample_sheet(images, own.seed), folder / "generate.png")
    print(f"{many(len(images) * own.count, 'image')}; see {folder / 'generate.png'}")
    return 0
