"""Sets of single annotated faces: items, batches and data module of all evaluations of landmark models.

A set holds the faces of one domain. All sets of an evaluation have the same landmarks, in the order of one scheme, so
the output of a landmark model means the same on each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dife_lightning.data.cache import itself, one_thread
from dife_lightning.data.evaluation import EvaluationDataModule
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import FaceArrays, FaceBatch, image_tensor
from dife_lightning.faces.few_labels import PreparedFaces
from dife_lightning.faces.schemes import Scheme, get_scheme

#: Groups of domains, by their name: ``{known: [dog, cat], unknown: [sheep]}``.
Groups = Mapping[str, Sequence[str]]


class FaceSet(Dataset[FaceArrays]):
    """The faces of one domain in one list.

    Args:
        faces: the faces, all with images of ``size`` x ``size`` pixels.
        domain: their name: ``dog``.
        list_name: name of the list: ``val`` or ``test``.
        scheme: of the landmarks.
        size: side of the images in pixels.
        groups: names of the groups that the domain belongs to.
        list_hash: SHA-256 of the list, recorded with the results.
        framing: ``plain`` or ``jittered``.
        subjects: the animal or person on each face, empty where it is unknown; None where all faces are of others.

    Raises:
        DataError: no face.
        ConfigError: an unknown scheme.
    """

    def __init__(
        self,
        faces: PreparedFaces,
        *,
        domain: str,
        list_name: str,
        scheme: str | Scheme = "animalweb-9",
        size: int = 64,
        groups: Sequence[str] = (),
        list_hash: str = "",
        framing: str = "plain",
        subjects: Sequence[str] | None = None,
    ) -> None:
        if not len(faces):
            raise DataError(f"the {list_name} list of {domain} is empty: expected at least one face")
        self.faces, self.domain, self.list_name, self.scheme = faces, domain, list_name, get_scheme(scheme)
        self.size, self.groups, self.list_hash, self.framing = size, tuple(groups), list_hash, framing
        self.subjects = subjects
        self._kept: list[FaceArrays] | None = None

    @property
    def name(self) -> str:
        """Name of the set: ``dog/test/plain``."""
        return f"{self.domain}/{self.list_name}/{self.framing}"

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> FaceArrays:
        return self.faces[index] if self._kept is None else self._kept[index]

    def keep(self, num_workers: int = 0) -> None:
        """Load all faces into memory, once, for a set that is evaluated again and again."""
        if self._kept is None:
            options: dict[str, Any] = {"collate_fn": itself, "worker_init_fn": one_thread}
            self._kept = list(DataLoader(self.faces, None, num_workers=num_workers, **options))  # type: ignore[arg-type]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[int, FaceArrays]]:
        """Return numbered faces; the DataLoader calls it for a batch."""
        return [(index, self[index]) for index in indices]

    def collate(self, items: Sequence[tuple[int, FaceArrays]]) -> FaceBatch:
        """Make a batch of (number, face) tuples."""
        index, faces = zip(*items, strict=True)
        points, visible, boxes = (
            torch.from_numpy(np.stack([getattr(face, name) for face in faces])) for name in ("points", "visible", "box")
        )
        return FaceBatch(
            images=image_tensor([face.image for face in faces]),
            points=points,
            visible=visible,
            boxes=boxes,
            index=torch.tensor(index, dtype=torch.int64),
            names=[face.name for face in faces],
            crops=[face.crop for face in faces],
            domain=self.domain,
            list_name=self.list_name,
        )

    def loader(self, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> DataLoader[Any]:
        """Return the loader of the set, in list order."""
        return DataLoader(
            self,
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=self.collate,
            pin_memory=pin_memory,
            worker_init_fn=one_thread,
            persistent_workers=num_workers > 0,
        )


def face_set_of(loader: Any) -> FaceSet:
    """Return the set behind a loader; ConfigError for a loader of something else."""
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, FaceSet):
        return dataset
    found = type(dataset).__name__
    raise ConfigError(f"a loader of {found} has no single faces: use a data module of these, e.g. WorldFaceSets")


def groups_of(domain: str, groups: Groups) -> tuple[str, ...]:
    """Return the names of the groups that a domain belongs to."""
    return tuple(name for name, members in groups.items() if domain in members)


def check_groups(groups: Groups, domains: Sequence[str]) -> None:
    """Raise ConfigError for a group without domains, with unknown ones, or named as a domain or ``all``."""
    for name, members in groups.items():
        if name in (*domains, "all"):
            raise ConfigError(f"groups: '{name}' is the name of other rows of the results; choose another one")
        if unknown := [member for member in members if member not in domains]:
            raise ConfigError(f"groups: '{name}' has '{unknown[0]}', which is not in domains: {', '.join(domains)}")
        if not members:
            raise ConfigError(f"groups: '{name}' is empty; expected one or more of {', '.join(domains)}")


class FaceSetsDataModule(EvaluationDataModule[FaceSet]):
    """Base of data modules that evaluate landmark models on single faces, a set for each domain; a subclass makes them.

    Args:
        batch_size: faces in a batch.
        num_workers: loader processes.
        groups: further rows of the results, each over several domains.
    """

    def __init__(self, batch_size: int = 32, num_workers: int = 0, groups: Groups | None = None) -> None:
        super().__init__(batch_size, num_workers)
        self.groups = {name: list(members) for name, members in (groups or {}).items()}

    def setup(self, stage: str) -> None:
        """Make the sets that ``stage`` needs; ConfigError for a fit on them alone."""
        trainer = self.trainer
        if stage == "fit" and trainer is not None and trainer.datamodule is self:  # type: ignore[attr-defined]
            name = type(self).__name__
            raise ConfigError(f"{name} has no faces to train on; give it as `evaluation` of a data module that has")
        super().setup(stage)
        for faces in self.val_sets:
            faces.keep(self.num_workers)

    def train_dataloader(self) -> DataLoader[Any]:
        """Never reached: ``setup`` refuses."""
        raise ConfigError(f"{type(self).__name__} has no faces to train on")
