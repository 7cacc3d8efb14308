"""``python -m dife_lightning`` is the same as ``dife``."""

from __future__ import annotations

from dife_lightning.cli.main import run

if __name__ == "__main__":
    run()
