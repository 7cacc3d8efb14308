"""Single faces of the embedded world, for validation, test and prediction of landmark models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule, check_groups, groups_of
from dife_lightning.data.pairs import FramingName, Split, check_names
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import crop_of
from dife_lightning.utils.checks import require, require_choice

if TYPE_CHECKING:
    from dife_lightning.world import WorldFaces


class WorldFaceSets(FaceSetsDataModule):
    """The first renders of some species with their nine landmarks and the box of the face.

    Validation faces are of the split ``val``, test faces of the split ``test``; both share none with ``train``.

    Args:
        species: names of species of the world, one set for each.
        count: test faces of each species.
        val_count: validation faces of each.
        framing: of the images; ``jittered`` rotates, scales and moves them, ``plain`` leaves them as they are.
        size: image side in pixels.
        batch_size: faces in a batch.
        num_workers: processes that render and load.
        groups: group -> species, further rows of the results: ``{known: [dog, cat], unknown: [sheep]}``.
        seed: of the framings.

    Raises:
        ConfigError: unknown or repeated species, wrong groups, a count below 1, a size below 8 or a negative seed.
    """

    def __init__(
        self,
        species: Sequence[str] = ("dog",),
        count: int = 500,
        val_count: int = 100,
        framing: FramingName = "jittered",
        size: int = 64,
        batch_size: int = 32,
        num_workers: int = 0,
        groups: dict[str, list[str]] | None = None,
        seed: int = 0,
    ) -> None:
        from dife_lightning.world import list_species

        super().__init__(batch_size, num_workers, groups)
        check_names("species", species, list_species())
        if len(set(species)) < len(species):
            raise ConfigError(f"species: {', '.join(species)}; expected each once")
        check_groups(self.groups, species)
        require_choice("framing", framing, ("jittered", "plain"))
        require(at_least=1, count=count, val_count=val_count)
        require(at_least=8, size=size)
        require(at_least=0, seed=seed)
        self.species, self.size, self.seed = list(species), size, seed
        self.framing: FramingName = framing
        self.counts: dict[Split, int] = {"val": val_count, "test": count}

    def list_hashes(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every validation and test list, by species."""
        splits: tuple[Split, ...] = ("val", "test")
        return {split: {name: self._hash(name, split) for name in self.species} for split in splits}

    def describe(self) -> dict[str, Any]:
        """Return the version of the world and the settings that the faces depend on."""
        from dife_lightning.world import WORLD_VERSION

        return {
            "kind": type(self).__name__,
            "world_version": WORLD_VERSION,
            "species": self.species,
            "counts": dict(self.counts),
            "framing": self.framing,
            "size": self.size,
            "seed": self.seed,
            "groups": self.groups,
        }

    def _make_sets(self, split: Split) -> list[FaceSet]:
        return [self._set(name, split) for name in self.species]

    def _set(self, name: str, split: Split) -> FaceSet:
        from dife_lightning.world import WorldFaces

        renders = WorldFaces(name, split, self.counts[split], framing=self.framing, size=self.size, seed=self.seed)
        return FaceSet(
            BoxedRenders(renders),
            domain=name,
            list_name=split,
            scheme=renders.scheme,
            size=self.size,
            groups=groups_of(name, self.groups),
            list_hash=self._hash(name, split),
            framing=self.framing,
        )

    def _hash(self, name: str, split: Split) -> str:
        """Return the SHA-256 of everything that says which faces are in a list."""
        from dife_lightning.world import WORLD_VERSION

        seed = self.seed if self.framing == "jittered" else None
        text = json.dumps([WORLD_VERSION, name, split, self.counts[split], self.framing, seed])
        return hashlib.sha256(text.encode()).hexdigest()


class BoxedRenders:
    """Renders of the world as a set of faces has them, with their boxes."""

    def __init__(self, renders: WorldFaces) -> None:
        self.renders = renders

    def __len__(self) -> int:
        return len(self.renders)

    def __getitem__(self, index: int) -> FaceArrays:
        from dife_lightning.world import face_box, framing_for

        faces, item = self.renders, self.renders[index]
        framing = framing_for(faces.framing, faces.seed, index)
        box = face_box(faces.species, faces.split, index, size=faces.size, framing=framing)
        return FaceArrays(item["image"], item["points"], item["visible"], box, item["name"], crop_of(item))
