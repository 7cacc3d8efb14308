"""The doctor's look at a folder of photographs: `unlabelled/<species>` and the three tables of `faces/<species>`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.cli.doctor.findings import Finding
from dife_lightning.cli.errors import one_line
from dife_lightning.errors import DifeError, MissingAssetError
from dife_lightning.faces.images import list_images
from dife_lightning.utils.notes import many
from dife_lightning.weights.user_paths import user_path

if TYPE_CHECKING:
    from dife_lightning.data.photos.face_domains import FaceDomain

FACES, UNLABELLED = "faces", "unlabelled"
TABLES = ("train.csv", "val.csv", "test.csv")


def look_at_layout(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the folder of each species that a ``FacePairs`` tests, where it has the layout of docs/photos.md."""
    from dife_lightning.data.photos.face_domains import to_domain

    for name in dict.fromkeys(name for pair in arguments.get("pairs", ()) for name in pair.split("+")):
        domain = to_domain(name, arguments["domains"][name])
        if domain.options.get("file") in TABLES and Path(domain.root).parent.name == FACES:
            yield from _species(name, domain)


def _species(name: str, domain: FaceDomain) -> Iterator[Finding]:
    advice = f"`dife data convert MY_PROJECT photos/{FACES}/{name} --to csv --split 60,10,30`"
    try:
        folder = user_path(domain.root)
    except MissingAssetError as error:
        yield Finding(
            "error", "photos", f"{name}: {one_line(error)}; docs/photos.md shows the folder, {advice} makes it"
        )
        return
    yield _pictures(name, folder.parents[1] / UNLABELLED / folder.name)
    missing = [table for table in TABLES if not (folder / table).is_file()]
    if missing:
        text = f"{name}: no {' and no '.join(missing)} in {folder}; {advice} makes the tables"
        yield Finding("error", "photos", text)
        return
    try:
        yield _tables(name, domain, advice)
    except DifeError as error:
        yield Finding("error", "photos", f"{name}: {one_line(error)}")


def _pictures(name: str, folder: Path) -> Finding:
    try:
        return Finding("ok", "photos", f"{name}: {many(len(list_images(folder)), 'picture')} in {folder}")
    except DifeError:
        text = (
            f"{name}: no pictures in {folder}; put thousands there to type `dife fit --config photos/generator_{name}`"
        )
        return Finding("warning", "photos", text)


def _tables(name: str, domain: FaceDomain, advice: str) -> Finding:
    """Count the faces of the three tables, and find what is in two of them."""
    from dife_lightning.data.photos.pair_draws import units_of
    from dife_lightning.datasets._load import load_dataset

    units, counts = {}, []
    for table in TABLES:
        faces = load_dataset(domain.dataset, domain.root, **domain.options | {"file": table})
        units[table] = set[str]().union(*(units_of(faces, index, "subject") for index in range(len(faces))))
        counts.append(f"{table} {len(faces)}")
    for a, b in itertools.combinations(TABLES, 2):
        if both := sorted(Path(unit).name for unit in units[a] & units[b]):
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            return Finding("error", "photos", f"{name}: {both[0]}{more} in both {a} and {b}; {advice} keeps them apart")
    return Finding("ok", "photos", f"{name}: faces in {', '.join(counts)}; no photo or subject in two of them")
