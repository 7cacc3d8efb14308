"""The files of a table's rows: found before the first training, so that a missing one is told at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dife_lightning.errors import AssetError, MissingAssetError
from dife_lightning.pretrained.imagenet import imagenet_path
from dife_lightning.weights.user_paths import PREFIX, find_own_file
from experiments.common.keys import own_names
from experiments.common.plan import Plan, TableRow
from experiments.tables.workspace import Workspace


def without_missing(workspace: Workspace) -> tuple[Workspace, dict[str, str]]:
    """Leave out optional rows whose files are missing; returns the workspace, and row -> the reason.

    Files are those of ``own/...`` names, and networks of ImageNet that an encoder starts from.

    Raises:
        AssetError: the pairs, or a row that is not optional, need a missing file; it says what makes that.
    """
    plan, left_out = workspace.plan, dict[str, str]()
    domains = plan.measure.arguments_of_data().get("domains") or {}
    used = {name for pair in plan.pairs() for name in pair.split("+")}
    _require(own_names([domain for name, domain in domains.items() if name in used]), plan, "the pairs")
    for row in plan.in_order():
        reasons = [left_out[name] for name in row.needs if name in left_out]
        try:
            settings = [workspace.settings(row, model) for model in plan.models(row)] if row.fit else []
            _require(_names_of(row, settings), plan, f"row '{row.name}'")
            for backbone in filter(None, map(_backbone, settings)):
                imagenet_path(backbone)
        except AssetError as error:
            reasons.append(str(error))
            if not row.optional:
                raise
        if reasons:
            left_out[row.name] = reasons[0]
            print(f"{row.name} is left out: {reasons[0]}", flush=True)
    return replace(workspace, plan=plan.without(left_out)), left_out


def _backbone(settings: dict[str, Any]) -> str | None:
    encoder = settings.get("model", {}).get("init_args", {}).get("encoder") or {}
    return encoder.get("backbone")


def _names_of(row: TableRow, settings: list[dict[str, Any]]) -> list[str]:
    """Return the ``own/...`` names of the arguments or the settings of a row; none of a row that continues another."""
    if row.test is not None:
        return own_names(row.arguments)
    return own_names([(part.get("model"), part.get("data")) for part in settings])


def _require(names: list[str], plan: Plan, who: str) -> None:
    for name in names:
        try:
            find_own_file(name)
        except MissingAssetError as error:
            entry = name.removeprefix(PREFIX)
            known = next((own for own in (entry, *map(str, Path(entry).parents)) if own in plan.files), None)
            found = str(error).partition(". ")[0]  # without similar names
            advice = f"; what it is: {plan.files[known]}" if known else ""
            raise MissingAssetError(f"{who} of the table: {found}{advice}") from None
