"""The doctor's checks of single faces: what is tested, what is labelled, and the pool of faces without labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dife_lightning.cli.doctor.files import look_at_domain
from dife_lightning.cli.doctor.findings import Finding
from dife_lightning.cli.errors import one_line
from dife_lightning.errors import DifeError
from dife_lightning.utils.notes import many

#: Arguments of ``FewLabels`` that say nothing of its files.
_OTHERS = ("evaluation", "augment", "augment_unlabelled")


def look_at_face_sets(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the annotations of all domains of a ``FaceSets``, open some images, and count the lists."""
    from dife_lightning.data.photos.face_sets import FaceSets

    data = FaceSets(**_with_crop(arguments))
    found = [finding for name in data.faces.domains for finding in look_at_domain(data.faces, name)]
    yield from found
    if all(finding.level != "error" for finding in found):
        for split in ("test", "val"):
            counts = ", ".join(f"{name} {len(one)}" for name, one in data.lists.of(split).items())
            yield Finding("ok", "data", f"{split} faces: {counts}")


def look_at_few_labels(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the annotations of the labelled faces and of the pool of a ``FewLabels``; open some images."""
    from dife_lightning.data.photos.few_labels import FewLabels
    from dife_lightning.datasets._load import load_dataset
    from dife_lightning.faces.images import list_images
    from dife_lightning.weights.user_paths import user_path

    data = FewLabels(**_with_crop({key: value for key, value in arguments.items() if key not in _OTHERS}))
    for name in data.domains.domains:
        yield from look_at_domain(data.domains, name, ("test",), "labelled")
    for name, domain in data.more.items():
        try:
            count = len(load_dataset(domain.dataset, domain.root, **domain.options))
        except DifeError as error:
            yield Finding("error", "data", f"{name}, pool: {one_line(error)}")
        else:
            yield Finding("ok", "data", f"{name}, pool: {many(count, 'face')}")
    for name, folder in data.folders.items():
        try:
            yield Finding("ok", "data", f"{name}, pool: {many(len(list_images(user_path(folder))), 'picture')}")
        except DifeError as error:
            yield Finding("error", "data", f"{name}, pool: {one_line(error)}")


def look_at_shifts(mining: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the files of shifts that a method's ``mining`` names."""
    from dife_lightning.mining.shift_csv import read_shifts

    for key in ("flip", "human"):
        if isinstance(file := mining.get(key), str):
            try:
                yield Finding("ok", "mining", f"{key} shifts of {many(len(read_shifts(file)), 'face')} in {file}")
            except DifeError as error:
                yield Finding("error", "mining", one_line(error))


def _with_crop(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with crop options instead of their mapping."""
    from dife_lightning.geometry.crops import CropOptions

    crop = arguments.get("crop")
    return dict(arguments) | ({"crop": CropOptions(**crop)} if isinstance(crop, Mapping) else {})
