"""The doctor's checks of files: whether generators, teachers and data sets exist, and where to get missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dife_lightning.cli.doctor.findings import Finding, Level
from dife_lightning.cli.errors import one_line
from dife_lightning.errors import DifeError, MissingError
from dife_lightning.utils.files import sha256
from dife_lightning.utils.notes import many
from dife_lightning.weights.assets import list_assets
from dife_lightning.weights.user_paths import PREFIX

if TYPE_CHECKING:
    from dife_lightning.data.photos.face_domains import DomainFaces
    from dife_lightning.data.photos.pair_lists import Split
    from dife_lightning.data.photos.stream_photos import StreamPhotos

#: Images of each data set that are opened.
SAMPLE = 8
_SPLITS: tuple[Split, ...] = ("test", "val")


class Origin(NamedTuple):
    """Where a user can get weights or a data set, and under which terms."""

    place: str
    terms: str


GENERATOR = Origin("NVlabs' stylegan2-ada-pytorch (FFHQ, AFHQ dog, cat, wild) or your own training", "non-commercial")
HRNET = Origin("the README of github.com/danzeng1990/Meta-CSKT (HR18-AFLW and tuned weights)", "see its page")
TEACHER = Origin("detectron2's DensePose model zoo (CSE)", "see its page")
CATS = Origin("github.com/SunghwanHong/Cost-Aggregation-transformers (trained weights)", "see its page")
DATASETS = {
    "celeba": Origin(
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html, MAFL lists from TCDCN-face-alignment", "research only"
    ),
    "wflw": Origin("wywu.github.io/projects/LAB/WFLW.html", "research only"),
    "w300": Origin("ibug.doc.ic.ac.uk/resources/300-W", "research only"),
    "ap10k": Origin("github.com/AlexTheBad/AP-10K", "CC BY 4.0 by its README; mmpose says non-commercial"),
    "animalweb": Origin("the AnimalWeb authors (link in Meta-CSKT's README)", "terms not stated"),
    "horse": Origin("github.com/menoRashid/animal_human_kp", "terms not stated"),
    "catflw": Origin("kaggle.com/georgemartvel/catflw", "treat as non-commercial"),
    "dogflw": Origin("kaggle.com/georgemartvel/dogflw", "CC BY-NC 4.0"),
}


def _where(error: DifeError, origin: Origin | None) -> str:
    """Return where to get the missing file; an empty text for other errors."""
    return f" Get it from {origin.place} ({origin.terms})." if isinstance(error, MissingError) and origin else ""


def look_at_weights(names: Mapping[str, Origin]) -> Iterator[Finding]:
    """Find generators, teachers and CATs; ``names``: name -> where to get such a file."""
    from dife_lightning.pretrained.formats import cats
    from dife_lightning.weights.checkpoints import find_weights

    hashes: dict[str, str] = {}
    for name, origin in names.items():
        try:
            path = find_weights(name, cats.in_folder) if origin is CATS else find_weights(name)
        except DifeError as error:
            yield Finding("error", "assets", f"{one_line(error)}{_where(error, origin)}")
            continue
        digest = sha256(path)
        own, shipped = name.startswith(PREFIX), name in list_assets()
        what = " as recorded" if shipped else f"; terms: {origin.terms}" if own else ", a file"
        text = f"{name}: {path if own else path.name}, {path.stat().st_size / 1e6:.1f} MB, sha256 {digest[:12]}{what}"
        yield Finding("ok", "assets", text)
        if digest in hashes:
            yield Finding(
                "error", "assets", f"{name} and {hashes[digest]} are the same network; each domain needs its own"
            )
        hashes[digest] = name


def look_at_photos(photos: StreamPhotos, domains: Iterable[str], size: int) -> Iterator[Finding]:
    """Read the unlabelled photos of each domain, and the annotations of faces that are cropped for them."""
    from dife_lightning.data.photos.folder_check import check_folder
    from dife_lightning.data.photos.stream_photos import face_summary, photo_summary

    for domain, folder in photos.folders(domains).items():
        try:
            report = check_folder(folder, size)
        except DifeError as error:
            yield Finding("error", "photos", f"{domain}: {one_line(error)}")
            continue
        usable = report.count - len(report.damaged)
        if report.damaged:
            level: Level = "warning" if photos.skip_broken and usable else "error"
            hint = "skipped" if level == "warning" else "cannot be read (--skip-broken skips them)"
            files, first = many(len(report.damaged), "file"), next(iter(report.damaged.values()))
            yield Finding(level, "photos", f"{domain}: {files} {hint}, the first: {first}")
        if usable:
            yield Finding("ok", "photos", f"{domain}: {photo_summary(usable, photos)}")
    annotated = photos.annotated()
    for domain in annotated.domains:
        try:
            faces = annotated.usable(domain, "test")
        except DifeError as error:
            yield Finding("error", "photos", f"{domain}: {one_line(error)}")
            continue
        if faces.order:
            yield Finding("ok", "photos", f"{domain}: {face_summary(len(faces.order))}")
        else:
            yield Finding("error", "photos", f"{domain}: no annotated face can be cropped: {faces.summary()}")


def look_at_faces(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the annotations of all domains of a ``FacePairs``, count faces and pairs, and open some images."""
    from dife_lightning.data.photos.face_pairs import FacePairs
    from dife_lightning.geometry.crops import CropOptions

    crop = arguments.get("crop") or {}
    data = FacePairs(**{**arguments, "crop": CropOptions(**crop) if isinstance(crop, Mapping) else crop})
    domains = dict.fromkeys(name for pair in data.lists.pairs for name in pair.split("+"))
    found = [finding for name in domains for finding in look_at_domain(data.faces, name)]
    yield from found
    if all(finding.level != "error" for finding in found):
        for split in _SPLITS:
            for pairs in data.lists.of(split).values():
                yield Finding("ok", "data", data.lists.heading(pairs))


def look_at_domain(
    faces: DomainFaces, name: str, splits: Sequence[Split] = _SPLITS, called: str | None = None
) -> Iterator[Finding]:
    """Read the annotations of a domain, and open some images; ``called`` is the word for its split."""
    from dife_lightning.datasets.parsing.files import skipped_faces

    for split in splits:
        try:
            usable = faces.usable(name, split)
            for index in usable.order[:SAMPLE]:
                usable.faces[index]
        except DifeError as error:
            where = _where(error, DATASETS.get(faces.domains[name].dataset))
            yield Finding("error", "data", f"{name}: {one_line(error)}{where}")
            return
        yield Finding("ok", "data", f"{name}, {called or split}: {usable.summary()}")
        left_out = skipped_faces(usable.faces.facts)
        if left_out:
            yield Finding("warning", "data", f"{name}, {called or split}: {left_out}")
