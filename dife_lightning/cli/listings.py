"""``dife methods``, ``datasets``, ``assets`` and ``configs``: lists of names, printed without importing torch."""

from __future__ import annotations

from dife_lightning.errors import UsageError
from dife_lightning.registry import list_datasets, list_methods
from dife_lightning.running.configs import list_configs
from dife_lightning.weights.assets import list_assets


def show(verb: str, args: list[str]) -> int:
    """Print one name a line."""
    if args:
        if set(args) <= {"-h", "--help"}:
            print(f"usage: dife {verb}\n\nPrints one name a line.")
            return 0
        raise UsageError(f"`dife {verb}` takes no arguments, found '{args[0]}'.")
    lines = {"methods": list_methods, "datasets": list_datasets, "configs": list_configs, "assets": _asset_lines}[
        verb
    ]()
    print("\n".join(lines) or f"no {verb}")
    return 0


def _asset_lines() -> list[str]:
    return [
        f"{name:<16} {entry['kind']:<10} {entry.get('bytes', 0) / 1e6:5.1f} MB  sha256 {entry['sha256'][:12]}"
        for name, entry in list_assets().items()
    ]
