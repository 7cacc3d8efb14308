"""``dife card RUN``: a model card in Markdown, written from a run's record."""

from __future__ import annotations

from pathlib import Path

from dife_lightning.cli.options import VerbParser
from dife_lightning.utils.files import atomic_write


def run(verb: str, args: list[str]) -> int:
    """Print the card of a run, or write it to a file."""
    parser = VerbParser(
        prog=f"dife {verb}",
        description="Write a model card in Markdown from the record of a run: what it is, what it was trained on,\n"
        "figures with their intervals, how to load it, limits, versions and terms. Nothing is measured again.",
    )
    parser.add_argument("run", help="folder of the run, such as runs/first")
    parser.add_argument("--out", type=Path, help="file to write; by default the card is printed")
    options = parser.parse_args(args)
    from dife_lightning.running.card import model_card
    from dife_lightning.running.run_record import read_record

    card = model_card(read_record(options.run))
    if options.out is None:
        print(card, end="")
        return 0
    with atomic_write(options.out) as temporary:
        temporary.write_text(card, encoding="utf-8")
    print(options.out)
    return 0
