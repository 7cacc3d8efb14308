"""``dife methods``, ``datasets``, ``assets`` and ``configs``: lists of names, printed without importing torch.

``dife assets NAME`` prints all that is known of one asset.
"""

from __future__ import annotations

from dife_lightning.errors import UsageError
from dife_lightning.registry import list_datasets, list_methods
from dife_lightning.running.configs import list_configs
from dife_lightning.weights.assets import asset_notice, asset_terms, list_assets


def show(verb: str, args: list[str]) -> int:
    """Print one name a line, or one asset in full."""
    if args:
        if set(args) <= {"-h", "--help"}:
            more = (" [NAME]", ", or the record and the notice of one.") if verb == "assets" else ("", ".")
            print(f"usage: dife {verb}{more[0]}\n\nPrints one name a line{more[1]}")
            return 0
        if verb == "assets" and len(args) == 1:
            print(_asset_in_full(args[0]))
            return 0
        raise UsageError(f"`dife {verb}` takes no arguments, found '{args[0]}'.")
    lines = {"methods": list_methods, "datasets": list_datasets, "configs": list_configs, "assets": _asset_lines}[
        verb
    ]()
    print("\n".join(lines) or f"no {verb}")
    return 0


def _asset_lines() -> list[str]:
    entries = list_assets()
    kinds = [str(entry["kind"]) for entry in entries.values()]
    width, room = (max(map(len, words), default=0) for words in (entries, kinds))
    return [
        f"{name:<{width}}  {entry['kind']:<{room}}  {entry.get('bytes', 0) / 1e6:4.1f} MB  {asset_terms(name)}"
        for name, entry in entries.items()
    ]


def _asset_in_full(name: str) -> str:
    notice = asset_notice(name)
    entry = {"name": name, **list_assets()[name], "terms": asset_terms(name)}
    lines = [f"{key}: {', '.join(value) if isinstance(value, list) else value}" for key, value in entry.items()]
    return "\n".join([*lines, *(["", notice.rstrip()] if notice else [])])
