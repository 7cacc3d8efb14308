"""The rows of the results of a landmark model: of each domain, of each group of domains, and of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dife_lightning.callbacks._detections import FoundFaces
from dife_lightning.errors import printable
from dife_lightning.metrics.landmark_curves import nme_interval
from dife_lightning.metrics.landmark_error import FaceErrors, landmark_error_scores
from dife_lightning.metrics.nme_rules import NmeRule
from dife_lightning.utils.run_folder import PREDICTIONS, TEST_METRICS

#: Domain and group of the row of all faces, and domain of the rows of groups.
ALL = "all"
_SHOWN = ("domain", "group", "list", "framing", "landmarks")


def group_names(sets: Sequence[FoundFaces]) -> list[str]:
    """Return the names of the groups, in the order of their first domains."""
    return list(dict.fromkeys(group for found in sets for group in found.faces.groups))


def landmark_rows(
    sets: Sequence[FoundFaces], rule: NmeRule, *, method: str, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.json``: of the domains, then of the groups, then of all (with several domains).

    In rows of several domains each face counts alike; their ``nme_of_domains`` is the mean over the domains.
    """
    options: dict[str, Any] = {"rule": rule, "method": method, "resamples": resamples, "seed": seed}
    rows = [_row([found], found.faces.domain, ",".join(found.faces.groups), **options) for found in sets]
    for group in group_names(sets):
        rows.append(_row([found for found in sets if group in found.faces.groups], ALL, group, **options))
    return [*rows, _row(sets, ALL, ALL, **options)] if len(sets) > 1 else rows


def joined_errors(sets: Sequence[FoundFaces]) -> FaceErrors:
    """Return the errors of the faces of several sets."""
    return FaceErrors(*(torch.cat(parts) for parts in zip(*(found.errors for found in sets), strict=True)))


def _row(
    sets: Sequence[FoundFaces], domain: str, group: str, *, rule: NmeRule, method: str, resamples: int, seed: int
) -> dict[str, Any]:
    faces, errors = sets[0].faces, joined_errors(sets)
    names = faces.scheme.landmarks
    scores = asdict(landmark_error_scores(errors, names, domain if len(sets) == 1 else group))
    means = [landmark_error_scores(found.errors, names, found.faces.name).nme for found in sets]
    subjects = [subject for found in sets for subject in found.subjects]
    drawn = [subject for subject, scored in zip(subjects, errors.scored.tolist(), strict=True) if scored]
    known = drawn if any(drawn) else None
    ci95 = nme_interval(errors.nme[errors.scored], known, resamples=resamples, seed=seed)
    return {
        "method": method,
        "domain": domain,
        "group": group,
        "landmarks": faces.scheme.name,
        "list": faces.list_name,
        "framing": faces.framing,
        "list_hash": faces.list_hash if len(sets) == 1 else "",
        "nme": scores.pop("nme"),
        "ci95": list(ci95),
        "interval": "subjects" if known else "faces",
        "nme_of_domains": sum(means) / len(means),
        **scores.pop("failure"),
        **scores,
        "rule": asdict(rule),
    }


def print_landmark_scores(rows: Sequence[Mapping[str, Any]], folder: Path, console: Console | None = None) -> None:
    """Print the rows of ``metrics.json``, one line each, and where they were written (standard output if None)."""
    console = console or Console()
    over = " or ".join(sorted({row["interval"] for row in rows}))
    table = Table(
        title=Text(printable(f"{rows[0]['method']}: landmarks, NME in %"), style="table.title"),
        caption=f"95 %: interval over {over}; fail: share of faces above 10 %; AUC: of the curve up to 10 %",
        padding=(0, 0),
    )
    for name in _SHOWN:
        table.add_column(name, no_wrap=True)
    for name in ("NME", "95 %", "fail", "AUC", "faces"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["ci95"]
        table.add_row(
            *(Text(printable(row[name])) for name in _SHOWN), f"{row['nme']:.2f}",
            f"{low:.2f}-{high:.2f}", f"{row['failure_10']:.0%}", f"{row['auc_10']:.3f}", str(row["faces"]),
        )  # fmt: skip
    console.print(table)
    console.print(Text(printable(f"{folder}/{TEST_METRICS}, {PREDICTIONS}")), soft_wrap=True)
