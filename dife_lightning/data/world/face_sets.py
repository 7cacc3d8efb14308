"""Single faces of the embedded world, for validation, test and prediction of landmark models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from dife_lightning.data.cache import itself, one_thread
from dife_lightning.data.evaluation import Split
from dife_lightning.data.face_sets import FaceSet, FaceSetsDataModule, check_groups, groups_of
from dife_lightning.data.pairs import FramingName, check_names
from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import FaceArrays
from dife_lightning.faces.items import PictureCrop, crop_of
from dife_lightning.utils.caching import cache_file, read_arrays, write_arrays
from dife_lightning.utils.checks import require, require_choice

#: Increase it when the content of a cache file changes its meaning; and the arrays that it has.
_FORMAT = 1
_ARRAYS = ("image", "points", "visible", "box", "name")

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
        cache: keep the faces in the cache folder (``DIFE_CACHE``).

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
        cache: bool = True,
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
        self.species, self.size, self.seed, self.cache = list(species), size, seed, cache
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
        from dife_lightning.world import WorldFaces, load_species

        renders = WorldFaces(name, split, self.counts[split], framing=self.framing, size=self.size, seed=self.seed)
        boxed = BoxedRenders(renders)
        key = repr((_FORMAT, self._hash(name, split), self.size, load_species(name))).encode()
        return FaceSet(
            cached_faces(boxed, cache_file("faces", key), self.num_workers) if self.cache else boxed,
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


class CachedFaces:
    """Faces from arrays of one row a face; each image is a whole picture."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays["name"])

    def __getitem__(self, index: int) -> FaceArrays:
        image, points, visible, box = (self.arrays[name][index] for name in _ARRAYS[:-1])
        name = str(self.arrays["name"][index])
        height, width = image.shape[:2]
        return FaceArrays(image, points, visible, box, name, PictureCrop(name, width, height, np.eye(2, 3)))


def cached_faces(faces: BoxedRenders, path: Path, num_workers: int = 0) -> CachedFaces:
    """Return faces from a file of the cache, or make and store them; a render with its box takes 0.1 seconds."""
    arrays, side = read_arrays(path, _ARRAYS), faces.renders.size
    fits = arrays is not None and all(len(array) == len(faces) for array in arrays.values())
    if arrays is None or not fits or arrays["image"].shape[1:] != (side, side, 3):
        options: dict[str, Any] = {"collate_fn": itself, "worker_init_fn": one_thread}
        made = list(DataLoader(faces, None, num_workers=num_workers, **options))  # type: ignore[arg-type]
        arrays = {name: np.stack([np.asarray(getattr(face, name)) for face in made]) for name in _ARRAYS}
        write_arrays(path, arrays)
    return CachedFaces(arrays)
