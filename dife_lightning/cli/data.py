"""``dife data preview``: a picture of a data set's faces as an evaluation crops them."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dife_lightning.cli.options import VerbParser, reader_options
from dife_lightning.errors import ConfigError, DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from dife_lightning.faces.items import FaceAnnotation, FaceDataset, FaceItem
    from dife_lightning.faces.schemes import EyeOrder, Scheme
    from dife_lightning.geometry.crops import CropOptions

_ABOUT = """
Draws faces of the data set NAME in the folder ROOT as they are cropped, with numbered landmarks. The eye at the
viewer's left is orange, the one at the right is blue. If they are exchanged in frontal faces, the scheme does not fit
the files.

The embedded world has no folder: `dife data preview world` draws faces of its species, and below them the canonical
coordinates as colours with the landmarks, hidden ones in red. Its options are --out, --columns, --size,
--species NAME (or [a, b]; all), --split (val) and --framing plain or jittered (plain).

Every other --key value is an option of the data set's reader, for example --split test --species dog; lists are
written [dog, cat]. `dife datasets` shows the names.

example: dife data preview ap10k data/ap-10k --split test --species dog --out dogs.png

`dife data convert --help` says how to bring annotations into the form of another tool.
"""
#: Defaults of our options for a data set; the options without a default here are those of the crop.
_DEFAULTS = {
    "out": "preview.png", "count": 24, "columns": 6, "size": 192, "seed": 0, "landmarks": "", "eye_order": "viewer"
}  # fmt: skip
#: Options for the embedded world, with their defaults.
_WORLD = {"out": "world.png", "columns": 8, "size": 128, "species": None, "split": "val", "framing": "plain"}
#: Our own options: name, type, name of the value, help.
_OPTIONS: tuple[tuple[str, type[Any], str, str], ...] = (
    ("out", str, "FILE", "PNG file to write (preview.png)"),
    ("count", int, "N", "number of faces (24)"),
    ("columns", int, "N", "faces in a row (6)"),
    ("size", int, "N", "side of a face in pixels (192)"),
    ("seed", int, "N", "of the choice of faces (0)"),
    (
        "landmarks",
        str,
        "SET",
        "3-point, 9-point, all, or names a,b,c that the crop is placed by (3-point, else all)",
    ),
    ("rule", str, "RULE", "landmarks, box, celeba, animalweb or whole (landmarks)"),
    ("factor", float, "F", "side of the crop relative to the landmarks' extent or to the box's longer side"),
    ("shift", float, "S", "moves the crop down, relative to its side (0)"),
    ("padding", str, "P", "zero, reflect or border (zero)"),
    ("min-side", float, "N", "skip faces below this side in pixels (32)"),
    ("eye-order", str, "O", "viewer, or stored to colour eyes as the files number them (viewer)"),
)


def _parser() -> argparse.ArgumentParser:
    usage = "dife data preview NAME ROOT [--key value ...]"
    parser = VerbParser(prog="dife data", usage=usage, epilog=_ABOUT, argument_default=argparse.SUPPRESS)
    for name, kind, value, text in _OPTIONS:
        parser.add_argument(
            *dict.fromkeys((f"--{name}", f"--{name.replace('-', '_')}")), type=kind, metavar=value, help=text
        )
    parser.add_argument("--skip-broken", "--skip_broken", nargs="?", const=True, type=yaml.safe_load, metavar="true",
                        help="skip pictures and rows that are broken, and report them")  # fmt: skip
    return parser


def run(verb: str, args: list[str]) -> int:
    """Run ``dife data preview`` or ``dife data convert`` and return the exit code."""
    if args[:1] == ["convert"]:
        from dife_lightning.cli.data_convert import run_convert

        return run_convert(args[1:])
    if not args or set(args) & {"-h", "--help"}:
        _parser().print_help()
        return 0 if args else 2
    if args[0] != "preview":
        raise UsageError(f"`dife {verb}` has no '{args[0]}'. {did_you_mean(args[0], ['convert', 'preview'])}")
    if args[1:2] == ["world"]:
        print(preview_world(*split_options(args[2:])))
        return 0
    if len(args) < 3 or args[1].startswith("-") or args[2].startswith("-"):
        raise UsageError("name a data set and its folder first, for example `dife data preview celeba data/celeba`.")
    print("\n".join(preview(args[1], args[2], *split_options(args[3:]))))
    return 0


def split_options(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return our own options and those of the reader, from ``--key value`` and ``--key=value``.

    Raises:
        UsageError: a word without a key, a key without a value, or a value of another type.
    """
    found, rest = _parser().parse_known_args(words)
    own, others = vars(found), reader_options(rest)
    if "skip_broken" in own:
        others["skip_broken"] = own.pop("skip_broken")
    return own, others


def preview(name: str, root: str, own: dict[str, Any], others: dict[str, Any]) -> list[str]:
    """Draw a sheet of faces and return lines that describe it.

    Args:
        name: of the data set.
        root: its folder.
        own: options of :data:`_OPTIONS` that were given.
        others: options of the data set's reader.

    Raises:
        ConfigError: an option out of range, or an unknown data set.
        DataError: files are missing or damaged, or no face can be drawn.
    """
    import dife_lightning
    from dife_lightning.faces.landmark_sets import ALL_POINTS, landmark_set
    from dife_lightning.faces.schemes import check_eye_order, eye_sides, get_scheme
    from dife_lightning.geometry.crops import CropOptions
    from dife_lightning.viz.landmarks import landmark_sheet

    options = argparse.Namespace(**{key: own.get(key, value) for key, value in _DEFAULTS.items()})
    count, columns, size = options.count, options.columns, options.size
    if min(count, columns) < 1 or not 32 <= size <= 2048:
        raise ConfigError(f"count {count}, columns {columns}, size {size}: expected 1 or more and a size of 32 to 2048")
    check_eye_order(options.eye_order)
    crop = CropOptions(**{key: value for key, value in own.items() if key not in _DEFAULTS})
    faces = dife_lightning.load_dataset(name, root, **others)
    scheme = get_scheme(faces.scheme)
    landmarks = options.landmarks or ("3-point" if "3-point" in scheme.maps else ALL_POINTS)
    landmark_set(scheme, landmarks)  # which says what is unknown
    items, passed, clamped = _crops(faces, count, size, crop, landmarks, options.seed)
    reasons = ", ".join(f"{number} {reason}" for reason, number in passed.most_common())
    if not items:
        raise DataError(f"none of the {len(faces)} faces of {name} can be drawn ({reasons})")
    rule = _rule(crop, landmarks)
    heading = f"{name}, {scheme.name}, {len(items)} of {len(faces)} faces; {rule}"
    _save(options.out, landmark_sheet(items, eye_sides(scheme, options.eye_order), columns=columns, heading=heading))
    lines = [f"wrote {options.out}: {len(items)} of {len(faces)} faces of {name}, scheme {scheme.name}; {rule}"]
    if passed:
        lines.append(f"skipped {sum(passed.values())}: {reasons}")
    if clamped:
        lines.append(f"faces with points outside the crop, drawn at its edge: {clamped} (--factor enlarges the crop)")
    return lines + _swapped(items, scheme, options.eye_order)


def preview_world(own: dict[str, Any], others: dict[str, Any]) -> str:
    """Draw faces of the world's species and return a line that describes it.

    Raises:
        ConfigError: an option out of range.
        UsageError: an unknown option.
    """
    from dife_lightning.world.contact_sheet import contact_sheet

    given = {**own, **others}
    for name in given.keys() - _WORLD.keys():
        raise UsageError(f"`dife data preview world` has no option --{name}. {did_you_mean(name, _WORLD)}")
    options: dict[str, Any] = {**_WORLD, **given}
    out, species = str(options.pop("out")), options.pop("species")
    sheet = contact_sheet([species] if isinstance(species, str) else species, **options)
    _save(out, sheet)
    return f"wrote {out}: {sheet.shape[1]} x {sheet.shape[0]} pixels"


def _crops(
    faces: FaceDataset, count: int, size: int, options: CropOptions, landmarks: str, seed: int
) -> tuple[list[FaceItem], Counter[str], int]:
    """Return the first ``count`` faces in drawing order that can be cropped, and why skipped ones cannot.

    Where ``all`` points are asked for, those outside the crop are moved to its edge; the last number counts such faces.
    """
    from dife_lightning.data.photos.cropped_faces import ALL_POINTS, OUTSIDE, CroppedFaces, why_unusable
    from dife_lightning.data.photos.pair_draws import drawing_order
    from dife_lightning.faces.image_info import image_info_cache

    crops = CroppedFaces(faces, size, options, landmarks)
    items: list[FaceItem] = []
    passed: Counter[str] = Counter()
    clamped = 0
    with image_info_cache(disk=False):
        for index in drawing_order(faces, range(len(faces)), seed):
            if len(items) == count:
                break
            reason = why_unusable(faces, index, landmarks, options)
            if landmarks == ALL_POINTS and reason in OUTSIDE:
                items.append(_clamped(crops[index], faces.annotations[index], size))
                clamped += bool((items[-1]["visible"] != crops[index]["visible"]).any())
            elif reason:
                passed[reason] += 1
            else:
                items.append(crops[index])
    return items, passed, clamped


def _clamped(item: FaceItem, face: FaceAnnotation, size: int) -> FaceItem:
    return {**item, "points": item["points"].clip(0, size - 1), "visible": face.visible}


def _rule(options: CropOptions, landmarks: str) -> str:
    told = options.published(landmarks)
    factor = f" x {told['factor']:g}" if told["factor"] is not None else ""
    around = f" ({told['landmarks']})" if told["landmarks"] else ""
    return f"crop: {options.rule}{around}{factor}, padding {options.padding}"


def _swapped(items: list[FaceItem], scheme: Scheme, eye_order: EyeOrder) -> list[str]:
    """Return a line on how many faces have the left eye to the right of the right eye."""
    from dife_lightning.faces.schemes import to_protocol

    if "3-point" not in scheme.maps:
        return []
    eyes = [to_protocol(item["points"], item["visible"], scheme, "3-point", eye_order) for item in items]
    both = [points for points, visible in eyes if visible[:2].all()]
    count = sum(bool(points[0, 0] > points[1, 0]) for points in both)
    hint = ": eyes are swapped, or heads are turned; look at the picture" if count else ""
    return [f"left eye to the right of the right eye: {count} of {len(both)} faces that show both{hint}"]


def _save(out: str, sheet: Any) -> None:
    from PIL import Image

    from dife_lightning.utils.files import atomic_buffer

    path = Path(os.path.expanduser(out))
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: expected a file that ends in .png")
    with atomic_buffer(path) as buffer:
        Image.fromarray(sheet).save(buffer, format="PNG")
