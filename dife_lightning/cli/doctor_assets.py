"""The doctor's look at files: generators, teachers and data sets, found or not, what they are and where to get them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dife_lightning.assets import list_assets
from dife_lightning.cli.errors import one_line
from dife_lightning.cli.findings import Finding
from dife_lightning.errors import DifeError
from dife_lightning.files import sha256
from dife_lightning.own_files import PREFIX

#: Pictures of each data set that are opened.
SAMPLE = 8


class Source(NamedTuple):
    """Where a user obtains something, and under which terms."""

    place: str
    terms: str


GENERATOR = Source("NVlabs' stylegan2-ada-pytorch (FFHQ, AFHQ dog, cat, wild) or your own training", "non-commercial")
TEACHER = Source("detectron2's DensePose model zoo (CSE)", "see its page")
CATS = Source("github.com/SunghwanHong/Cost-Aggregation-transformers (trained weights)", "see its page")
DATASETS = {
    "celeba": Source(
        "mmlab.ie.cuhk.edu.hk/projects/CelebA.html, MAFL lists from TCDCN-face-alignment", "research only"
    ),
    "wflw": Source("wywu.github.io/projects/LAB/WFLW.html", "research only"),
    "w300": Source("ibug.doc.ic.ac.uk/resources/300-W", "research only"),
    "ap10k": Source("github.com/AlexTheBad/AP-10K", "CC BY 4.0 by its README; mmpose says non-commercial"),
    "animalweb": Source("the AnimalWeb authors (link in Meta-CSKT's README)", "terms not stated"),
    "horse": Source("github.com/menoRashid/animal_human_kp", "terms not stated"),
    "catflw": Source("kaggle.com/georgemartvel/catflw", "treat as non-commercial"),
    "dogflw": Source("kaggle.com/georgemartvel/dogflw", "CC BY-NC 4.0"),
}


def _where(error: DifeError, source: Source | None) -> str:
    """Return where to get what ``error`` says is missing; nothing for other errors."""
    missing = any(words in str(error) for words in ("no entry for", "does not exist"))
    return f" Get it from {source.place} ({source.terms})." if missing and source else ""


def look_at_weights(names: Mapping[str, Source]) -> Iterator[Finding]:
    """Find each generator, teacher or CATs; name -> where such a thing comes from."""
    from dife_lightning.formats.cats import find_weights
    from dife_lightning.generators import find_generator

    hashes: dict[str, str] = {}
    for name, source in names.items():
        try:
            path = find_weights(name) if source is CATS else find_generator(name)
        except DifeError as error:
            yield Finding("error", "assets", f"{one_line(error)}{_where(error, source)}")
            continue
        digest = sha256(path)
        own, shipped = name.startswith(PREFIX), name in list_assets()
        what = " as recorded" if shipped else f"; terms: {source.terms}" if own else ", a file"
        text = f"{name}: {path if own else path.name}, {path.stat().st_size / 1e6:.1f} MB, sha256 {digest[:12]}{what}"
        yield Finding("ok", "assets", text)
        if digest in hashes:
            yield Finding(
                "error", "assets", f"{name} and {hashes[digest]} are the same network; each domain needs its own"
            )
        hashes[digest] = name


def look_at_faces(arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Read the annotations of every domain of a ``FacePairs``, count the faces, and open a few pictures."""
    from dife_lightning.crops import CropOptions
    from dife_lightning.data.face_domains import DomainFaces, to_domain

    protocol, given = str(arguments.get("protocol", "3-point")), arguments["domains"]
    crop = arguments.get("crop") or {}
    options = CropOptions(**crop) if isinstance(crop, Mapping) else crop
    domains = {name: to_domain(name, domain) for name, domain in given.items()}
    used = {name for pair in arguments.get("pairs", []) for name in pair.split("+")}
    faces = DomainFaces(domains, protocol, options, int(arguments.get("seed", 0)), arguments.get("eye_order", "viewer"))
    for name in (name for name in domains if name in used):
        yield from _look_at_domain(faces, name, domains[name].dataset)


def _look_at_domain(faces: Any, name: str, dataset: str) -> Iterator[Finding]:
    source = DATASETS.get(dataset)
    for split in ("test", "val"):
        try:
            usable = faces.usable(name, split)
            for index in usable.order[:SAMPLE]:
                usable.faces[index]
        except DifeError as error:
            yield Finding("error", "data", f"{name}: {one_line(error)}{_where(error, source)}")
            return
        yield Finding("ok", "data", f"{name}, {split}: {usable.told()}")
