"""``python -m dife_lightning`` is the same as ``dife``."""

from __future__ import annotations

import sys
from pathlib import Path

# `python -m` looks for modules in the working folder first; a file that lies there must not stand in for a library.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from dife_lightning.cli.main import run

if __name__ == "__main__":
    run()
