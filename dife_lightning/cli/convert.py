"""``dife convert``: public checkpoints to safetensors, and trained DIFEs to the authors' layout."""

from __future__ import annotations

from dife_lightning.errors import UsageError

_HELP = """usage: dife convert SOURCE DESTINATION

Writes a public checkpoint as safetensors, with a card (DESTINATION.json) that says what it is and where it came from,
so that the pickle need not be opened again:

  dife convert ffhq.pkl ffhq.safetensors              a StyleGAN2 of NVlabs (.pkl) or rosinality (.pt)
  dife convert human+dog.pth human+dog.safetensors    an official DIFE, a bare hourglass, a DVE, a DensePose CSE

or a DIFE that was trained here in the layout of the authors' code:

  dife convert runs/first human+dog.pth

What is written is loaded by name of the file wherever a generator or an embedder is asked for.
"""


def run(verb: str, args: list[str]) -> int:
    """Convert one file."""
    if not args or set(args) & {"-h", "--help"}:
        print(_HELP, end="")
        return 0
    if len(args) != 2 or any(word.startswith("-") for word in args):
        raise UsageError(f"`dife {verb}` takes SOURCE and DESTINATION, found {len(args)}: {' '.join(args)}.")
    from dife_lightning.pretrained.converting import convert

    card = convert(*args)
    print(f"{args[1]}: {card['kind']}, {card['tensors']} tensors, {card['values']:,} values; {args[1]}.json")
    return 0
