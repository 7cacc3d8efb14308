"""Semi-supervised landmark models with one network: pseudo-labels, UDA and FixMatch, beside which Meta-CSKT stands.

All three add to the loss on the labelled faces one on the unlabelled faces. Its targets come from the network's own
heat maps of a weak view, through which no gradient passes:

- ``pseudo-labels`` fits Gaussians around the points found, in the same view [0];
- ``uda`` fits the heat maps in a strong view, warped as the view is [1];
- ``fixmatch`` fits Gaussians around the points found, in a strong view, moved as the view is [2].

The publications are about classes. Heat maps take the place of class probabilities here, their highest values that of
confidence, and mean squared errors that of cross-entropies.

References:
    - [0]: Pseudo-Label (Lee, ICML workshop 2013), equation 15.
    - [1]: Unsupervised Data Augmentation (Xie et al., NeurIPS 2020), equation 1, with its confidence mask.
    - [2]: FixMatch (Sohn et al., NeurIPS 2020), equations 3 and 4.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dife_lightning.errors import DataError
from dife_lightning.faces.few_labels import FewLabelBatch
from dife_lightning.faces.own_schemes import Left
from dife_lightning.geometry.affine import AFFINE_NUMBERS, COLOR_NUMBERS, AugmentOptions, color_jitter, draw_affine
from dife_lightning.geometry.coordinates import apply_affine, sampling_grid, warp
from dife_lightning.geometry.heatmaps import DecodeOptions, decode, gaussian_targets
from dife_lightning.losses.heatmaps import heatmap_loss
from dife_lightning.methods._heatmap_networks import BackboneOptions, HeatmapModule, copy_weights, plain_landmarks
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._stylegan2.parts import average_into
from dife_lightning.methods._training import ScheduledModule, make_optimizer
from dife_lightning.nn.hrnet import HRNetOptions
from dife_lightning.utils.checks import as_options, require, require_choice
from dife_lightning.utils.randomness import uniform

METHOD = "ConsistencyNet"

Kind = Literal["pseudo-labels", "uda", "fixmatch"]
#: Colour is jittered more, and always, in a strong view.
STRONG = AugmentOptions(brightness=0.4, contrast=0.4, saturation=0.4, color_probability=1.0)


class ConsistencyNet(HeatmapModule, ScheduledModule):  # type: ignore[misc]  # it predicts single faces, too
    """An HRNet trained on few labelled faces, and on its own heat maps of unlabelled ones.

    The weak view of an unlabelled face is the image of the batch, as the data module augments it.

    Args:
        kind: ``pseudo-labels``, ``uda`` or ``fixmatch``.
        network: sizes; the defaults are the published W18.
        landmarks: a scheme such as ``animalweb-9``, or names of points.
        left: whose left such names mean: the viewer's, or the face's own (``subject``).
        warmup_steps: on the labelled faces alone.
        weight: of the loss on unlabelled faces.
        ramp: steps after the warm-up over which ``weight`` rises linearly from 0, as in [0].
        threshold: a landmark counts if the highest value of its heat map exceeds it; 0 to below 1, the peak of a
            target. 0 counts all that are found, as in [0].
        strong: changes that make a strong view of a weak one, for ``uda`` and ``fixmatch``.
        refresh: steps after which the network that gives the targets is renewed: 1 takes them from the trained network
            itself in each step, as all three publications do; with more, a frozen copy gives them.
        ema_half_life: half-life in steps of a running average of the network, which is then evaluated; 0 evaluates the
            network. The average gives no targets.
        sigma: deviation of the Gaussians in cells.
        decode: how points are read from heat maps.
        flip_test: detect on the mirrored image, too.
        published_targets: Gaussians as in the published training of Meta-CSKT.
        optimizer: Adam and its schedule, which starts after the warm-up.
        init_from: start weights, as in ``LandmarkNet``.
        seed: of the strong views.
        backbone: a network of ImageNet in place of the HRNet, which starts from ImageNet's weights.

    Raises:
        ConfigError: an unknown kind or scheme, a repeated name, or a number out of its range.
    """

    def __init__(
        self,
        kind: Kind = "fixmatch",
        network: HRNetOptions = HRNetOptions(),  # noqa: B008 - frozen
        landmarks: str | list[str] = "animalweb-9",
        left: Left = "viewer",
        warmup_steps: int = 0,
        weight: float = 1.0,
        ramp: int = 0,
        threshold: float = 0.5,
        strong: AugmentOptions = STRONG,
        refresh: int = 1,
        ema_half_life: float = 0.0,
        sigma: float = 1.0,
        decode: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        flip_test: bool = True,
        published_targets: bool = False,
        optimizer: OptimizerOptions = OptimizerOptions(lr=1e-4, schedule="cosine"),  # noqa: B008 - frozen
        init_from: str | None = None,
        seed: int = 0,
        backbone: BackboneOptions | None = None,
    ) -> None:
        super().__init__(network, landmarks, left, sigma, decode, flip_test, published_targets, backbone)
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None, landmarks=plain_landmarks(landmarks))
        require_choice("kind", kind, get_args(Kind))
        require(at_least=0, warmup_steps=warmup_steps, weight=weight, ramp=ramp, ema_half_life=ema_half_life, seed=seed)
        require(at_least=0, below=1, threshold=threshold)
        require(at_least=1, refresh=refresh)
        self.kind, self.warmup_steps, self.weight, self.ramp = kind, warmup_steps, weight, ramp
        self.threshold, self.refresh, self.ema_half_life, self.seed = threshold, refresh, ema_half_life, seed
        self.strong = as_options(AugmentOptions, strong)
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.init_from = init_from
        self.network = self.build_network()
        self.teacher = self._frozen_copy() if refresh > 1 else None
        self.average = self._frozen_copy() if ema_half_life else None

    def _frozen_copy(self) -> nn.Module:
        copy = self.build_network()
        copy_weights(copy, self.network)
        return copy.requires_grad_(False)

    @property
    def evaluated(self) -> nn.Module:
        """The network that finds the landmarks."""
        return self.network if self.average is None else self.average

    def setup(self, stage: str) -> None:
        """For fit: check the data, and load the weights of ``init_from`` unless the run is resumed.

        Raises:
            ConfigError: another data module, or other landmarks.
            DataError: no unlabelled face.
        """
        if stage != "fit":
            return
        if not self.check_data().faces().names:
            raise DataError(
                f"no unlabelled face: {self.kind} needs some; give more photos, set unlabelled_batch above 0, or train "
                "LandmarkNet on the labels alone"
            )
        if self.trainer.ckpt_path is None:
            self.start(self.network, self.init_from)
            for copy in (self.teacher, self.average):
                if copy is not None:
                    copy_weights(copy, self.network)

    # Training

    def training_step(self, batch: FewLabelBatch, batch_idx: int) -> Tensor:
        """Fit the labels and, after the warm-up, the network's own heat maps of the unlabelled faces."""
        if self.global_step < self.warmup_steps or not batch.names:
            loss = self._on_labels(self.network(batch.labelled), batch)
        else:
            loss = self._with_unlabelled(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _with_unlabelled(self, batch: FewLabelBatch) -> Tensor:
        self._renew_teacher()
        own = self._maps_of_weak_view(batch.unlabelled)
        view, moved = self._fitted_view(batch.unlabelled)
        maps = self.network(torch.cat((batch.labelled, view)))
        count = len(batch.labelled)
        labelled = self._on_labels(maps[:count], batch)
        found = maps[count:].detach() if own is None else own
        targets, known = self.targets(found, moved, batch.unlabelled)
        unlabelled = heatmap_loss(maps[count:], targets, known)
        self.log("train/labelled_loss", labelled.detach())
        self.log("train/unlabelled_loss", unlabelled.detach())
        self.log("train/confident", known.float().mean())
        return labelled + self._weight() * unlabelled

    def targets(self, maps: Tensor, moved: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what heat maps of the fitted view should be.

        Args:
            maps: (U, K, h, w) heat maps of the weak view.
            moved: (U, 2, 3) map from pixels of the weak view to pixels of the fitted one.
            images: (U, 3, H, W) of the weak view.

        Returns:
            Targets (U, K, h, w) float32, and (U, K) bool: the landmark is found with confidence, and inside the view.
        """
        (height, width), size = maps.shape[-2:], (images.shape[-1], images.shape[-2])
        points, peaks = decode(maps, size, self.decode_options)
        there = apply_affine(moved, points)
        confident = peaks > self.threshold
        targets, known = gaussian_targets(there, confident, size, (width, height), self.sigma, self.published_targets)
        if self.kind == "uda":
            # A cell from outside the weak view shows padding in the strong one, and no landmark.
            targets = warp(maps.float(), sampling_grid(moved, height, width, *size), "zeros")
        return targets, known

    def _maps_of_weak_view(self, images: Tensor) -> Tensor | None:
        """Return heat maps without a gradient; None where the fitted view is the same, by the same network."""
        if self.teacher is not None:
            with torch.no_grad():
                return self.teacher.eval()(images)
        if self.kind == "pseudo-labels":
            return None
        with torch.no_grad():
            return self.network(images)

    def _fitted_view(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the view (U, 3, H, W) that is fitted, and the map (U, 2, 3) of pixels to it."""
        if self.kind == "pseudo-labels":
            return images, torch.eye(2, 3, device=images.device).expand(len(images), -1, -1)
        numbers = self.strong_numbers(len(images)).to(images.device)
        height, width = images.shape[-2:]
        moved = draw_affine(numbers[:, :AFFINE_NUMBERS], self.strong, width, height)
        warped = warp(images, sampling_grid(moved, height, width, width, height), self.strong.padding)
        return color_jitter(warped, numbers[:, AFFINE_NUMBERS:], self.strong), moved

    def strong_numbers(self, count: int) -> Tensor:
        """Return the numbers (count, 9) in [0, 1) of this batch's strong views: a function of seed, batch and rank."""
        return uniform((count, AFFINE_NUMBERS + COLOR_NUMBERS), self.seed, "strong", self.draw, self.global_rank)

    def _on_labels(self, maps: Tensor, batch: FewLabelBatch) -> Tensor:
        return self.labelled_loss(maps, batch.labelled, batch.points, batch.visible)

    def _weight(self) -> float:
        done = self.global_step - self.warmup_steps
        return self.weight * (min(1.0, done / self.ramp) if self.ramp else 1.0)

    def _renew_teacher(self) -> None:
        due = (self.global_step - self.warmup_steps) % self.refresh == 0
        if self.teacher is not None and due and self.micro_batch == 0:
            copy_weights(self.teacher, self.network)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the running average; until the warm-up ends, it is the network itself."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            share = 1.0 if self.global_step < self.warmup_steps else 1 - 0.5 ** (1 / self.ema_half_life)
            average_into(self.average, self.network, share)

    def configure_optimizers(self) -> Any:
        """Adam over the network, with the chosen schedule."""
        lr = self.optimizer_options.lr
        groups = [{**group, "lr": lr * group["share"]} for group in self.parameter_groups(self.network)]
        return make_optimizer(groups, self.optimizer_options, self.warmup_steps, self.trainer.max_steps)
