"""``dife data convert``: annotations from one tool's form to another's."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from dife_lightning.cli.options import VerbParser, reader_options
from dife_lightning.errors import UsageError

_ABOUT = """
Reads annotated faces from SRC, a file or a folder, and writes them to the folder DST in the form of an annotation tool:
coco, csv, cvat, deeplabcut, label-studio, labelme or yolo-pose. The pictures are copied to where the form has them.

SRC's form is recognised from its content; --from names a reader (`dife datasets`). Every other --key value is an option
of that reader, for example --scheme or --category.

With --to csv, --split 60,10,30 writes train.csv, val.csv and test.csv, which share no photo and no subject.

examples:
  dife data convert my_project faces --to coco
  dife data convert runs/first/keypoints.json to_correct --images data/photos --to label-studio
  dife data convert my_project photos/faces/fox --to csv --split 60,10,30
  dife data convert data/ap-10k dogs --from ap10k --species dog --to yolo-pose
"""


def _parser() -> argparse.ArgumentParser:
    usage = "dife data convert SRC DST --to FORM [--key value ...]"
    parser = VerbParser(prog="dife data convert", usage=usage, epilog=_ABOUT)
    parser.add_argument("--to", metavar="FORM", default="", help="form to write")
    parser.add_argument("--from", metavar="READER", default="", dest="reader", help="reader of SRC (recognised)")
    parser.add_argument("--images", metavar="FOLDER", help="folder of the pictures (that of SRC)")
    parser.add_argument("--pictures", metavar="P", default="copy", help="copy the pictures, or none (copy)")
    parser.add_argument("--split", metavar="A,B,C", help="shares of train, val and test, with --to csv")
    parser.add_argument("--overwrite", nargs="?", const=True, default=False, type=yaml.safe_load, metavar="true",
                        help="replace annotation files that are in DST")  # fmt: skip
    return parser


def run_convert(words: list[str]) -> int:
    """Run ``dife data convert`` and return the exit code."""
    if not words or set(words) & {"-h", "--help"}:
        _parser().print_help()
        return 0 if words else 2
    if len(words) < 2 or words[0].startswith("-") or words[1].startswith("-"):
        raise UsageError("name the annotations and a folder first, for example `dife data convert SRC DST --to coco`.")
    own, rest = _parser().parse_known_args(words[2:])
    print("\n".join(convert_data(words[0], words[1], own, reader_options(rest))))
    return 0


def convert_data(source: str, folder: str, own: argparse.Namespace, options: dict[str, Any]) -> list[str]:
    """Convert ``source`` and return lines for the user; raises what the reader and the writer raise."""
    import dife_lightning
    from dife_lightning.datasets.parsing.recognising import reader_of
    from dife_lightning.datasets.writing.forms import check_form, convert
    from dife_lightning.datasets.writing.splitting import parse_shares

    check_form(own.to, own.pictures)
    shares = None if own.split is None else parse_shares(own.split)
    reader, root, found = reader_of(source, own.reader, own.images)
    faces = dife_lightning.load_dataset(reader, root, **{**found, **options})
    first = [] if own.reader else [f"{source} is read with `{reader}` (another reader: --from)"]
    return [*first, *convert(faces, folder, own.to, own.pictures, bool(own.overwrite), shares)]
