"""Keypoint pairs of photographs, for validation, test and prediction."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from dife_lightning.data.cache import prepare
from dife_lightning.data.evaluation import Split
from dife_lightning.data.pairs import (
    FramingName,
    KeypointPairs,
    PairsDataModule,
    check_names,
    check_pairs,
)
from dife_lightning.data.photos.cropped_faces import CroppedFaces
from dife_lightning.data.photos.face_domains import DomainFaces, FaceDomain, fingerprint, to_domain
from dife_lightning.data.photos.face_lists import FaceLists, ListName, paper_count
from dife_lightning.data.photos.framed_faces import FramedFaces, pair_framing
from dife_lightning.data.photos.pair_draws import Apart
from dife_lightning.data.photos.pair_lists import FacePairList
from dife_lightning.errors import ConfigError, DataError, did_you_mean, printable
from dife_lightning.faces.landmark_sets import COMMON
from dife_lightning.faces.schemes import PROTOCOLS, EyeOrder, check_eye_order, to_layout
from dife_lightning.geometry.affine_crops import AFFINE_VERSION
from dife_lightning.geometry.crops import CROP_VERSION, CropOptions
from dife_lightning.utils.checks import require_choice

#: Most faces that a mean shape is computed from.
MEAN_FACES = 200


class FacePairs(PairsDataModule):
    """Pairs of photographed faces, cropped around their landmarks.

    Validation and test lists share no picture. Test lists use the first faces in drawing order: ``count``, or as many
    as the paper has of that domain. Validation lists avoid the pictures of all these faces, also if this evaluation
    does not test them, so with one seed and count no evaluation selects on pictures that another one tests. Pairs
    within a domain use twice ``count`` faces of it; give such a domain ``val_options``.

    Args:
        domains: name (``human``, ``dog``, ...) -> data set, folder and options of its reader.
        pairs: kinds of pair, source domain first.
        protocol: landmarks that are scored, that every face must show, and that crops are placed by: ``3-point``,
            ``9-point``, ``common`` (the points that the schemes of all domains share by name or ``same_as``), or names
            of such points separated by commas.
        crop: crop options; a domain may have its own.
        size: side of the crops in pixels.
        eye_order: ``viewer``, or ``stored`` to pair eyes as the data sets number them (see ``schemes.py``).
        test_lists: kind of pair -> file to read instead of drawing a list; ``pair/list`` where ``lists`` are named.
        val_lists: kind of pair -> file, for validation.
        seed: of the lists that are drawn.
        count: pairs in each test list; None for the paper's numbers.
        val_count: most pairs in each validation list.
        batch_size: pairs in a batch.
        num_workers: processes that read, crop and load.
        cache: keep the crops, and the sizes of pictures, in the cache folder (``DIFE_CACHE``).
        skip_broken: skip faces that cannot be used (missing or damaged pictures, rows of another form). A result says
            how many each reader skipped, and lists the first. ``--skip-broken`` sets it.
        keep_apart: what validation and test lists, and the two faces of a pair, share none of beside pictures:
            ``subject`` (animals or persons, where a data set states them), ``group`` (where that column holds them), or
            ``picture`` for nothing else. A result says by what the faces of each domain were kept apart.
        lists: test lists of each kind of pair: ``paper`` (the paper's numbers) and ``long`` (1,000 pairs, for claims).
            By default one list, as long as ``count`` says.
        repeat: faces may be in several pairs of a list that needs more than there are, each about equally often. Then
            intervals are over persons and photos instead of pairs.
        framings: test framings: ``plain`` as cropped; ``jittered`` rotates, scales and moves the crops of source and
            target, each by itself, as in the embedded world.
        val_framings: framings of the validation pairs.

    Raises:
        ConfigError: unknown names, or counts and sizes out of range.
    """

    def __init__(
        self,
        domains: dict[str, FaceDomain],
        pairs: Sequence[str] = ("human+dog",),
        protocol: str = "3-point",
        crop: CropOptions = CropOptions(),  # noqa: B008 - frozen
        size: int = 96,
        eye_order: EyeOrder = "viewer",
        test_lists: dict[str, str] | None = None,
        val_lists: dict[str, str] | None = None,
        seed: int = 0,
        count: int | None = None,
        val_count: int = 50,
        batch_size: int = 32,
        num_workers: int = 0,
        cache: bool = True,
        skip_broken: bool = False,
        keep_apart: Apart = "subject",
        lists: Sequence[ListName] | None = None,
        repeat: bool = False,
        framings: Sequence[FramingName] = ("plain",),
        val_framings: Sequence[FramingName] = ("plain",),
    ) -> None:
        super().__init__(batch_size, num_workers, cache)
        if protocol not in (*PROTOCOLS, COMMON) and "," not in protocol:
            raise ConfigError(f"unknown protocol '{protocol}'. {did_you_mean(protocol, (*PROTOCOLS, COMMON))}")
        check_eye_order(eye_order)
        require_choice("keep_apart", keep_apart, get_args(Apart))
        check_pairs(pairs, domains, val_count, size, count)
        given: dict[Split, dict[str, str]] = {"test": test_lists or {}, "val": val_lists or {}}
        for option, values, known_values in (
            ("lists", ("paper",) if lists is None else lists, get_args(ListName)),
            ("framings", framings, get_args(FramingName)),
            ("val_framings", val_framings, get_args(FramingName)),
        ):
            check_names(option, values, known_values)
        named = [pair if lists is None else f"{pair}/{name}" for pair in pairs for name in lists or ("",)]
        for names, known_names in ((given["test"], named), (given["val"], list(pairs))):
            for name in names:
                if name not in known_names:
                    where, hint = "pairs" if lists is None else "pairs and lists", did_you_mean(name, known_names)
                    raise ConfigError(f"there is a list for '{name}', which is not in {where}. {hint}")
        self.protocol, self.size, self.seed = protocol, size, seed
        self.eye_order: EyeOrder = eye_order
        known = {name: to_domain(name, domain) for name, domain in domains.items()}
        self.faces = DomainFaces(known, protocol, crop, seed, eye_order, cache, skip_broken, keep_apart)
        self.lists = FaceLists(self.faces, pairs, given, count, val_count, lists, repeat)
        self.framings: dict[Split, tuple[FramingName, ...]] = {"test": tuple(framings), "val": tuple(val_framings)}

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every validation and test list, by ``pair/list``; nothing is cropped for it."""
        return {split: self.lists.hashes(split) for split in ("val", "test")}

    def describe(self) -> dict[str, Any]:
        """Return domains with their crops and face counts, and the number of pairs in each test list."""
        return {
            "kind": type(self).__name__,
            "protocol": self.protocol,
            "eye_order": self.eye_order,
            "size": self.size,
            "seed": self.seed,
            "domains": self.faces.describe(),
            "framings": {split: list(framings) for split, framings in self.framings.items()},
            "repeat": self.lists.repeat,
            "test_pairs": {
                key: {
                    "pairs": len(found),
                    "paper": paper_count(found.pair),
                    "hash": found.hash,
                    "units": [len(set(side)) for side in zip(*self.lists.units(found), strict=True)],
                }
                for key, found in self.lists.of("test").items()
            },
        }

    def mean_points(self, domain: str) -> NDArray[np.float32]:
        """Return the mean landmarks (P, 2) of a domain's crops, in ``LAYOUT``, pixels of the crops.

        It is computed from up to 200 usable validation faces, none of whose pictures is in a test list; DataError if
        the test lists use all faces.
        """
        usable = self.faces.usable(domain, "val")
        reserved = self.lists.test_pictures()
        chosen = [index for index in usable.order if usable.units(index).isdisjoint(reserved)][:MEAN_FACES]
        if not chosen:
            raise DataError(
                f"domain '{domain}': no faces are left for the mean shape: the test lists use all; set val_options"
            )
        crops = CroppedFaces(usable.faces, self.size, self.faces.crop(domain), self.faces.landmarks(domain))
        items = [crops[index] for index in chosen]
        shared = self.faces.shared()
        own = shared[1][domain] if shared else ()
        layouts = [to_layout(item["points"], item["visible"], crops.scheme, self.eye_order, own) for item in items]
        points, visible = (np.stack(part) for part in zip(*layouts, strict=True))
        weights = visible[..., None].astype(np.float64)
        return ((points * weights).sum(axis=0) / weights.sum(axis=0).clip(min=1)).astype(np.float32)

    def save_lists(self, folder: str | Path) -> None:
        """Write the test lists to ``folder``, in the form that ``test_lists`` reads."""
        for key, found in self.lists.of("test").items():
            found.write(Path(folder) / f"test_{key.replace('/', '_')}.json")

    def _make_sets(self, split: Split) -> list[KeypointPairs]:
        sets = []
        for found in self.lists.of(split).values():
            _print(self.lists.summary(found))
            sets += [self._prepared(found, framing) for framing in self.framings[split]]
        return sets

    def _framed(self, faces: CroppedFaces, found: FacePairList, side: int, indices: Sequence[int]) -> FramedFaces:
        framings = [pair_framing("jittered", self.seed, found.pair, names, side) for names in found.pairs]
        return FramedFaces(faces, indices, framings)

    def _prepared(self, found: FacePairList, framing: FramingName) -> KeypointPairs:
        names = found.pair.split("+")
        readers, indices = self.lists.readers(found), self.lists.indices(found)
        crops = [self.faces.crop(name) for name in names]
        sets, shared = [self.faces.landmarks(name) for name in names], self.faces.shared()
        cropped = [
            CroppedFaces(reader, self.size, crop, landmarks)
            for reader, crop, landmarks in zip(readers, crops, sets, strict=True)
        ]
        columns = list(zip(*indices, strict=True))
        source, target = (
            faces if framing == "plain" else self._framed(faces, found, side, columns[side])
            for side, faces in enumerate(cropped)
        )
        pairs = KeypointPairs(
            source,
            target,
            indices if framing == "plain" else [(k, k) for k in range(len(indices))],
            pair=found.pair,
            list_name=self.lists.name(found),
            framing=framing,
            list_hash=found.hash,
            size=self.size,
            scheme=(cropped[0].scheme, cropped[1].scheme),
            eye_order=self.eye_order,
            protocols=[self.protocol],
            own=(shared[0], [shared[1][name] for name in names]) if shared else None,
            units=self.lists.units(found),
        )
        sides = zip(readers, columns, strict=True)
        state = [fingerprint(reader, chosen, pictures=True) for reader, chosen in sides]
        options = [crop.published(landmarks) for crop, landmarks in zip(crops, sets, strict=True)]
        maps = [dict(scheme.maps) for scheme in pairs.schemes]
        own = [shared[1][name] for name in names] if shared else []
        made = (self.protocol, self.eye_order, self.size, *options, *maps, *state, *own)
        made += () if framing == "plain" else (framing, AFFINE_VERSION, self.seed)
        prepare(pairs, ("faces", CROP_VERSION, found.hash, *made), self.num_workers, disk=self.cache)
        return pairs


@rank_zero_only
def _print(text: str) -> None:
    print(printable(text), file=sys.stderr)
