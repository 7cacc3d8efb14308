"""``dife methods``, ``datasets``, ``assets`` and ``configs``: lists of names, printed without importing torch.

``dife assets NAME`` prints all that is known of one asset, ``dife datasets NAME`` the options of a reader.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from dife_lightning.errors import UsageError
from dife_lightning.registry import get_dataset, list_datasets, list_methods
from dife_lightning.running.configs import list_configs
from dife_lightning.weights.assets import asset_notice, asset_terms, list_assets


def show(verb: str, args: list[str]) -> int:
    """Print one name a line, or one asset or data set in full."""
    if args:
        if set(args) <= {"-h", "--help"}:
            print(f"usage: dife {verb}{' [NAME]' if verb in _IN_FULL else ''}\n\nPrints one name a line{_more(verb)}.")
            return 0
        if verb in _IN_FULL and len(args) == 1:
            print(_IN_FULL[verb][0](args[0]))
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
    entry = {"name": name, "version": 1, **list_assets()[name], "terms": asset_terms(name)}
    lines = [f"{key}: {', '.join(value) if isinstance(value, list) else value}" for key, value in entry.items()]
    return "\n".join([*lines, *(["", notice.rstrip()] if notice else [])])


def _dataset_in_full(name: str) -> str:
    """Return what a data set is, and the arguments of its reader with their defaults."""
    reader = get_dataset(name)
    defaults = {
        option: p.default for option, p in inspect.signature(reader).parameters.items() if p.default is not p.empty
    }
    return "\n".join([f"{name}: {inspect.getdoc(reader)}", "", f"Defaults: {defaults}"])


#: Verbs that show one thing in full, and what that is.
_IN_FULL: dict[str, tuple[Callable[[str], str], str]] = {
    "assets": (_asset_in_full, "the record and the notice of one"),
    "datasets": (_dataset_in_full, "the options of one"),
}


def _more(verb: str) -> str:
    return f", or {_IN_FULL[verb][1]}" if verb in _IN_FULL else ""
