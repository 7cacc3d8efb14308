"""Unlabelled photos beside the samples of a stream: equation 1 of DIFE needs a teacher, and no generator.

The photos that the generators hold back for their Fréchet distance stay unseen here, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from dife_lightning.data.images import read_folder, split_held_out
from dife_lightning.errors import ConfigError, did_you_mean, printable
from dife_lightning.utils.checks import require
from dife_lightning.utils.notes import many


@dataclass(frozen=True)
class StreamPhotos:
    """Unlabelled photos of some or all domains of a stream.

    Attributes:
        folder: a folder, or ``own/...`` of ``paths.yaml``, with a folder of photos for each domain, named like it; or
            domain -> its folder of photos. The central squares are used, as by the generators' trainings.
        batch_size: photos per step over all domains; each domain of the stream gets ``batch_size // domains``. None
            takes as many as samples.
        held_out: photos that generators hold back (``GeneratorImages``), at most a tenth of a folder; they are not
            used.
        held_out_seed: ``seed`` of the generators' images, by which they were chosen.
        skip_broken: skip damaged files and report them. ``--skip-broken`` sets it.
    """

    folder: str | dict[str, str]
    batch_size: int | None = None
    held_out: int = 1000
    held_out_seed: int = 0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        require("photos.", at_least=1, batch_size=self.batch_size)
        require("photos.", at_least=0, held_out=self.held_out, held_out_seed=self.held_out_seed)

    def folders(self, domains: Iterable[str]) -> dict[str, str]:
        """Return domain -> folder of photos; ConfigError if a folder is of none of ``domains``, or there is none."""
        names = list(domains)
        if isinstance(self.folder, str):
            return {name: f"{self.folder.rstrip('/')}/{name}" for name in names}
        unknown = next((name for name in self.folder if name not in names), None)
        if unknown is not None:
            raise ConfigError(f"photos.folder: '{unknown}' is no domain of the stream. {did_you_mean(unknown, names)}")
        if not self.folder:
            raise ConfigError("photos.folder is empty; name the folder of a domain, for example {dog: my/dogs}")
        return dict(self.folder)

    def per_domain(self, samples: int, domains: int) -> int:
        """Return the photos of a domain per step, of a stream of ``samples`` per step; ConfigError if it is 0."""
        total = samples if self.batch_size is None else self.batch_size
        if total < domains:
            raise ConfigError(f"photos.batch_size is {total} for {domains} domains; each needs a photo")
        return total // domains


def check_use(method: object) -> None:
    """Raise ConfigError if a method does not say by ``uses_photos`` that it learns from the photos of a stream."""
    if method is not None and not getattr(method, "uses_photos", False):
        raise ConfigError(
            f"the stream has photos, and {type(method).__name__} with these settings does not learn from them; "
            "type --data.init_args.photos null"
        )


def read_photos(options: StreamPhotos, domains: Iterable[str], side: int) -> dict[str, NDArray[np.uint8]]:
    """Read the photos of each domain as central squares (N, side, side, 3), without those held out.

    DataError if a folder is missing or empty, or a photo is damaged and not skipped.
    """
    found = {}
    for domain, folder in options.folders(domains).items():
        images, report = read_folder(folder, side, options.skip_broken)
        if report.damaged:
            files, first = many(len(report.damaged), "file"), next(iter(report.damaged.values()))
            rank_zero_warn(printable(f"photos of {domain}: {files} skipped, the first: {first}"))
        found[domain] = kept_photos(images, options)
        rank_zero_info(printable(f"photos of {domain}: {photo_summary(len(images), options)}"))
    without = [domain for domain in domains if domain not in found]
    if without:
        rank_zero_info(printable(f"no photos of {', '.join(without)}: photos.folder does not name them"))
    return found


def kept_photos(images: NDArray[np.uint8], options: StreamPhotos) -> NDArray[np.uint8]:
    """Return ``images`` (N, ...) without those that the generators hold back."""
    return split_held_out(images, options.held_out, options.held_out_seed)[0]


def photo_summary(count: int, options: StreamPhotos) -> str:
    """Return how many of ``count`` photos of a domain are used, and how many are held out."""
    used = len(kept_photos(np.arange(count), options))  # type: ignore[arg-type]
    return f"{many(used, 'photo')} for the distillation, {count - used} held out as by the generators"
