"""Generator features without an encoder: invert both images and search in the tapped layer."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError, did_you_mean
from dife_lightning.faces.batches import PairBatch
from dife_lightning.latent.exploration import ExplorationOptions, Space
from dife_lightning.latent.inversion import Inversion, invert, posed
from dife_lightning.latent.inversion_cache import InversionCache
from dife_lightning.matching import MatchingOptions
from dife_lightning.methods._base import DEFAULT_MATCHING, FloorModule, search
from dife_lightning.methods._dife.setup import feature_statistics
from dife_lightning.pretrained.generators import Generator, load_generator
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.randomness import normal

METHOD = "GeneratorFeatures"
_STATISTICS = 256


class GeneratorFeatures(FloorModule):
    """Nearest-neighbour search in the features F^d of the generators of both species, by inversion of each image.

    It shows what DIFE's second teacher achieves alone. It learns nothing and is tested like a floor. The result for an
    image depends on that image and the options, not on its batch. The defaults are the best of a few settings on
    validation pairs (``configs/world/generator_features.yaml``).

    Args:
        generators: domain -> generator, a shipped name or a file.
        layer: tapped layer in the paper's numbers.
        steps: Adam steps of each inversion; 0 uses the mean face.
        lr: Adam's learning rate in w.
        weight_w: weight of the distance to the mean w, which acts like truncation.
        space: ``w`` (one vector for all layers) or ``w+`` (one per layer).
        pose: also search for rotation, scale and shift of the face (see ``inversion``).
        bfloat16: run the generators in bfloat16 during the inversion; the features are always float32.
        normalize_features: ``channel`` gives each feature channel mean 0 and deviation 1 over samples of its generator;
            ``none`` leaves its scale.
        upsample: resize the map to the image, so that a search answers with a pixel, as for the other methods.
        stand_in: domain without a generator -> the domain whose generator is used.
        cache: store inversions in the cache folder (``DIFE_CACHE``), so that an interrupted test can continue.

    Raises:
        ConfigError: no generator, negative steps, or a stand-in that has no generator.
    """

    needs_species = True

    def __init__(
        self,
        generators: dict[str, str] = {"human": "world/human", "dog": "world/dog", "cat": "world/cat"},  # noqa: B006
        layer: int = 1,
        steps: int = 20,
        lr: float = 0.1,
        weight_w: float = 1.0,
        space: Space = "w",
        pose: bool = True,
        bfloat16: bool = False,
        normalize_features: Literal["channel", "none"] = "none",
        upsample: bool = True,
        stand_in: dict[str, str] = {},  # noqa: B006
        cache: bool = True,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not generators:
            raise ConfigError("generators is empty; name at least one, for example {human: world/human}")
        require(at_least=0, steps=steps, weight_w=weight_w)
        require(at_least=1, layer=layer)
        require(above=0, lr=lr)
        require_choice("space", space, get_args(Space))
        require_choice("normalize_features", normalize_features, ("channel", "none"))
        for domain, other in stand_in.items():
            if other not in generators:
                raise ConfigError(f"stand_in.{domain}: '{other}' has no generator. {did_you_mean(other, generators)}")
        self.generator_names, self.stand_in = dict(generators), dict(stand_in)
        self.layer, self.pose, self.fast_search = layer, pose, bfloat16
        self.normalize_features, self.upsample = normalize_features, upsample
        self.search_options = ExplorationOptions(steps, lr, space, weight_w) if steps else None
        self._inversions = InversionCache((self.search_options, pose, bfloat16), disk=cache)
        self._statistics: dict[str, tuple[Tensor, Tensor]] = {}

    def transfer_batch(self, batch: PairBatch, matching: MatchingOptions = DEFAULT_MATCHING) -> Tensor:
        """Invert both images of each pair and search in the features."""
        images = (batch.source_image, batch.target_image)
        source, target = (self.features(one, domain) for one, domain in zip(images, batch.species, strict=True))
        return search(source, target, batch, matching)

    def features(self, images: Tensor, domain: str) -> Tensor:
        """Return unit vectors (B, C, h, w), float32, of ``images`` (B, 3, H, W) in [-1, 1] of a domain.

        Raises:
            ConfigError: the domain has neither generator nor stand-in.
        """
        name = self._generator_name(domain)
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            generator = load_generator(name).to(images.device)
            found = self.invert(images, generator)
            maps = generator.features(found.w, self.layer).float()
            if self.normalize_features == "channel":
                mean, deviation = self._channel_statistics(name, generator)
                maps = (maps - mean[:, None, None]) / deviation[:, None, None]
            height, width = images.shape[-2:] if self.upsample else maps.shape[-2:]
            return F.normalize(posed(maps, found.pose, height, width), dim=1)

    def invert(self, images: Tensor, generator: Generator) -> Inversion:
        """Return w and pose of ``images`` in [-1, 1]; inversions are cached."""
        return self._inversions.get(
            images, generator, lambda new: invert(generator, new, self.search_options, self.pose, self.fast_search)
        )

    def _generator_name(self, domain: str) -> str:
        known = self.stand_in.get(domain, domain)
        if known not in self.generator_names:
            hint = f"type --model.init_args.stand_in.{domain} {next(iter(self.generator_names))}, or give it one"
            raise ConfigError(f"'{domain}' has no generator among {', '.join(self.generator_names)}; {hint}")
        return self.generator_names[known]

    def _channel_statistics(self, name: str, generator: Generator) -> tuple[Tensor, Tensor]:
        if name not in self._statistics:
            z = normal((_STATISTICS, generator.z_dim), 0, "generator features")
            self._statistics[name] = feature_statistics(generator, z, self.layer, 1.0)
        return self._statistics[name]
