"""Meta-CSKT: landmarks of animals from few labelled and many unlabelled faces.

Two networks teach each other. The base network B learns from labels and gives soft heat maps for unlabelled faces; the
adaptation network A fits them. How much this step helped A on the labelled faces, h, is the feedback to B: it is drawn
to its own hard pseudo-labels if they helped, and away from them if they harmed. Faces on which A and a model of human
faces agree (positives) become labels; faces on which A contradicts itself in the mirror (hard negatives) are dropped.

Reference: Meta-CSKT, ACM MM 2023, and its published training, which decides where both differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.few_labels import FewLabelBatch
from dife_lightning.faces.own_schemes import Left
from dife_lightning.geometry.coordinates import apply_affine, invert_affine
from dife_lightning.geometry.heatmaps import DecodeOptions, decode, gaussian_targets
from dife_lightning.losses.heatmaps import heatmap_loss
from dife_lightning.methods._heatmap_networks import BackboneOptions, HeatmapModule, copy_weights, plain_landmarks
from dife_lightning.methods._meta_cskt.label_source import LabelSource
from dife_lightning.methods._meta_cskt.options import MiningOptions, published_factor
from dife_lightning.methods._meta_cskt.shifts import (
    Others,
    as_state,
    check_files,
    from_state,
    human_model,
    sorted_faces,
)
from dife_lightning.methods._meta_cskt.views import VIEWS, points_of_views
from dife_lightning.methods._meta_cskt.votes import VoteOptions, voted_labels, voted_points
from dife_lightning.methods._stylegan2.parts import average_into
from dife_lightning.methods._training import fused_on_cpu
from dife_lightning.mining import LabelPool, Mining
from dife_lightning.nn.hrnet import HRNetOptions
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.utils.checks import as_options, require, require_choice
from dife_lightning.utils.distributed import check_strategy, gather_objects
from dife_lightning.utils.notes import note
from dife_lightning.utils.run_folder import RunFolder

METHOD = "MetaCSKT"

#: Images (B, 3, S, S), or the features of a backbone.
Seen = Tensor | list[Tensor]


class MetaCSKT(HeatmapModule):
    """Meta-CSKT.

    The first ``warmup_steps`` train B alone on the labelled faces; then A becomes a copy of B, the unlabelled faces are
    sorted, and both networks are trained. Both optimisers step in each batch, so Lightning's ``global_step`` grows by
    two: the length of a training is ``steps``, not ``max_steps``.

    Args:
        network: sizes of both networks; the defaults are the published W18.
        landmarks: a scheme such as ``animalweb-9``, or names of points.
        left: whose left such names mean: the viewer's, or the face's own (``subject``).
        steps: of the training, with the warm-up (published: 10,000 without one).
        warmup_steps: on the labelled faces alone.
        lr: Adam's rate of both networks (published: 1e-4); 0 in the first ``wait`` steps after the warm-up, then a
            cosine that falls to 0.
        warmup_lr: Adam's rate of the warm-up, falling to 0 by a cosine; None for ``lr``.
        wait: see ``lr`` (published: 50).
        feedback: weight of the feedback loss (published: 1); 0 omits it.
        mining: how unlabelled faces are sorted.
        refresh: steps between two refreshes of the labels (published: 600).
        views: at a refresh, label the positives by the mean of what the evaluated network finds in so many views of
            each, up to 5: as it is, turned and scaled, each also mirrored (``flip_test``). 0 takes the points that A
            found in its last training step with the face, as published.
        ema_half_life: half-life in steps of a running average of A, which is then evaluated; 0 evaluates A itself.
        evaluate: ``adaptation`` (published) or ``base``: which network finds the landmarks.
        micro_batches: split each batch into so many, and accumulate their gradients; saves memory. All parts weigh
            alike, so their number should divide both parts of the batch; each has its own batch normalisation.
        clip: largest norm of each network's gradient; 0 for no limit.
        sigma: deviation of the Gaussians in cells.
        decode: how points are read from heat maps.
        flip_test: detect on the mirrored image, too.
        published_targets: Gaussians as in the published training.
        init_from: start weights of both networks, as in ``LandmarkNet``.
        backbone: a network of ImageNet in place of each HRNet, which starts from ImageNet's weights.
        votes: label unlabelled faces for the warm-up, and choose positives, by DIFE; None as in the paper.

    Raises:
        ConfigError: an unknown scheme, a repeated name, or a number out of its range.
    """

    version = 2  # 2: other faces stand in for hard negatives, so that batches keep their size
    steps_done: Tensor

    def __init__(
        self,
        network: HRNetOptions = HRNetOptions(),  # noqa: B008 - frozen
        landmarks: str | list[str] = "animalweb-9",
        left: Left = "viewer",
        steps: int = 10_000,
        warmup_steps: int = 0,
        lr: float = 1e-4,
        warmup_lr: float | None = None,
        wait: int = 0,
        feedback: float = 1.0,
        mining: MiningOptions = MiningOptions(),  # noqa: B008 - frozen
        refresh: int = 600,
        views: int = 0,
        ema_half_life: float = 0.0,
        evaluate: Literal["adaptation", "base"] = "adaptation",
        micro_batches: int = 1,
        clip: float = 0.0,
        sigma: float = 1.0,
        decode: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        flip_test: bool = True,
        published_targets: bool = False,
        init_from: str | None = None,
        backbone: BackboneOptions | None = None,
        votes: VoteOptions | None = None,
    ) -> None:
        super().__init__(network, landmarks, left, sigma, decode, flip_test, published_targets, backbone)
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None, landmarks=plain_landmarks(landmarks))
        self.automatic_optimization = False
        require(at_least=1, steps=steps, refresh=refresh, micro_batches=micro_batches)
        require(at_least=0, warmup_steps=warmup_steps, wait=wait, feedback=feedback, clip=clip)
        require(at_least=0, at_most=len(VIEWS), views=views)
        require(at_least=0, ema_half_life=ema_half_life)
        require(above=0, lr=lr, warmup_lr=warmup_lr)
        require_choice("evaluate", evaluate, ("adaptation", "base"))
        if warmup_steps >= steps:
            raise ConfigError(f"warmup_steps={warmup_steps} of steps={steps}: nothing is left for the two networks")
        self.steps, self.warmup_steps, self.wait = steps, warmup_steps, wait
        self.lr, self.warmup_lr = lr, lr if warmup_lr is None else warmup_lr
        self.feedback, self.refresh, self.views, self.evaluate = feedback, refresh, views, evaluate
        self.mining_options = as_options(MiningOptions, mining)
        self.ema_half_life, self.micro_batches, self.clip = ema_half_life, micro_batches, clip
        self.votes = None if votes is None else as_options(VoteOptions, votes)
        self.init_from = init_from
        self.base, self.adaptation = self.build_network(), self.build_network()
        copy_weights(self.adaptation, self.base)
        self.average: nn.Module | None = None
        if ema_half_life:
            self.average = self.build_network().requires_grad_(False)
            copy_weights(self.average, self.base)
        self.register_buffer("steps_done", torch.zeros([], dtype=torch.long))
        self._pool: LabelPool | None = None
        self._mined: Mining | None = None
        self._state: dict[str, Any] = {}
        self._voted: tuple[Others, dict[str, float]] | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The network that finds the landmarks: B during the warm-up, then the chosen one."""
        if self.evaluate == "base" or 0 < self.warmup_steps >= int(self.steps_done):
            return self.base
        return self.average or self.adaptation

    # Training

    def training_step(self, batch: FewLabelBatch, batch_idx: int) -> None:
        """One step: of B alone in the warm-up, else of A on B's heat maps, then of B on labels and feedback."""
        if int(self.steps_done) < self.warmup_steps:
            self._warm_up(batch)
        else:
            self._teach(batch)
        self._count()

    def _warm_up(self, batch: FewLabelBatch) -> None:
        _, for_base = self._both_optimizers()
        parts = batch.parts(self.micro_batches)
        total = 0.0
        for part in parts:
            loss = self._on_labels(self.base(part.labelled), part) / len(parts)
            self.manual_backward(loss)
            total += float(loss.detach())
        self._step(for_base)
        self.log("train/labelled_loss", total, prog_bar=True)

    def _teach(self, batch: FewLabelBatch) -> None:
        for_adaptation, for_base = self._both_optimizers()
        parts = batch.parts(self.micro_batches)
        seen = [self._seen(part) for part in parts]
        # 1, 2: B gives soft heat maps of all faces, and A fits them
        soft = [self._soft_maps(images, keep=len(parts) == 1) for images in seen]
        fitted = [self._fit(images, maps.detach(), len(parts)) for images, maps in zip(seen, soft, strict=True)]
        self._step(for_adaptation)
        # 3: h, what the step changed for A on the labelled faces
        with torch.no_grad():
            after = [
                self._on_labels(heat_maps(self.adaptation, images, len(part.labelled)), part)
                for part, images in zip(parts, seen, strict=True)
            ]
        before = [self._on_labels(maps[: len(part.labelled)], part) for maps, part in zip(fitted, parts, strict=True)]
        h = self._mean(before) - self._mean(after)
        # 4: B learns from the labels, and h times from its own hard pseudo-labels
        for part, images, maps in zip(parts, seen, soft, strict=True):
            self._teach_base(part, maps if len(parts) == 1 else self._soft_maps(images, keep=True), h, len(parts))
        self._step(for_base)
        # 5: the points that A found become labels of the positives
        for part, maps in zip(parts, fitted, strict=True):
            self._store(part, maps[len(part.labelled) :])
        self.log("train/feedback", h)
        self.log("train/pooled_labels", float(batch.pooled.float().mean()))

    def _seen(self, part: FewLabelBatch) -> Seen:
        """Return the images of all faces; or what a backbone that stays as it is makes of them, for both networks."""
        images = torch.cat((part.labelled, part.unlabelled))
        if self.backbone is None or self.backbone.rate > 0:
            return images
        assert isinstance(self.base, PyramidEncoder)
        with torch.no_grad():
            return self.base.features(images)

    def _soft_maps(self, seen: Seen, keep: bool) -> Tensor:
        """Return B's heat maps (L + U, K, h, w); ``keep`` the graph, or compute it again later."""
        with torch.set_grad_enabled(keep):
            return heat_maps(self.base, seen)

    def _fit(self, seen: Seen, soft: Tensor, several: int) -> Tensor:
        """Add the gradient of L_u to A; return A's heat maps (L + U, K, h, w)."""
        maps = heat_maps(self.adaptation, seen)
        loss = heatmap_loss(maps, soft)
        self.manual_backward(loss / several)
        self.log("train/unlabelled_loss", loss.detach(), prog_bar=True)
        return maps.detach()

    def _teach_base(self, part: FewLabelBatch, maps: Tensor, h: Tensor, several: int) -> None:
        """Add the gradient of L_s + L_f to B."""
        labelled = len(part.labelled)
        loss = self._on_labels(maps[:labelled], part)
        self.log("train/labelled_loss", loss.detach(), prog_bar=True)
        if self.feedback and len(part.names):
            hard = self._against_own_peaks(maps[labelled:])
            self.log("train/hard_loss", hard.detach())
            loss = loss + self.feedback * h * hard
        self.manual_backward(loss / several)

    def _on_labels(self, maps: Tensor, part: FewLabelBatch) -> Tensor:
        return self.labelled_loss(maps, part.labelled, part.points, part.visible)

    def _against_own_peaks(self, maps: Tensor) -> Tensor:
        """Return the loss of heat maps against Gaussians around their own highest cells.

        Maps whose highest cell is in the first column do not count: the published training draws no Gaussian there.
        """
        height, width = maps.shape[-2:]
        index = maps.detach().flatten(2).argmax(dim=-1)
        cells = torch.stack((index % width, index // width), dim=-1).float()
        known = cells[..., 0] > 0
        targets, _ = gaussian_targets(cells, known, (width, height), (width, height), self.sigma, False)
        return heatmap_loss(maps, targets, known)

    def _store(self, part: FewLabelBatch, maps: Tensor) -> None:
        if self.views or self._pool is None or not self._pool.positives or not part.names:
            return
        side = part.unlabelled.shape[-1]
        found = decode(maps, (side, side), self.decode_options).points
        self._pool.store(part.names, apply_affine(invert_affine(part.affine), found), int(self.steps_done))

    def _mean(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the mean over micro-batches and processes."""
        mean: Any = self.trainer.strategy.reduce(torch.stack(list(losses)).mean().detach(), reduce_op="mean")
        return mean

    def _step(self, optimizer: LightningOptimizer) -> None:
        optimizer.step()
        optimizer.zero_grad()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Limit the norm of the gradient, after loss scaling has been undone."""
        if self.clip:
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], self.clip)

    def _count(self) -> None:
        """Count the step: rates, running average, start of the teaching, new labels, end of the training."""
        self.steps_done += 1
        done = int(self.steps_done)
        if self.average is not None and done > self.warmup_steps:
            average_into(self.average, self.adaptation, 1 - 0.5 ** (1 / self.ema_half_life))
        self._set_rates()
        if done == self.warmup_steps:
            self._start_teaching()
        teaching = done - self.warmup_steps
        if self.mining_options.every and teaching > 0 and teaching % self.mining_options.every == 0:
            self._mine()
        if self._pool is not None and self._pool.due(teaching):
            self._refresh()
        self.log("train/step", float(done), prog_bar=True)
        if done >= self.steps:
            self.trainer.should_stop = True

    def _start_teaching(self) -> None:
        """Make A, and its average, copies of B; sort the faces."""
        copy_weights(self.adaptation, self.base)
        if self.average is not None:
            copy_weights(self.average, self.base)
        for optimizer in self._both_optimizers():
            optimizer.optimizer.state.clear()
        data = self._data()
        data.labels = data.true_labels()
        try:
            self._mine()
        except ConfigError as error:  # thresholds that do not fit what was measured
            run = Path(self.trainer.default_root_dir)
            last = RunFolder(run.parent, run.name).last_checkpoint
            self.trainer.save_checkpoint(last)
            raise ConfigError(f"{error}; the warm-up is kept: change it, and go on with --ckpt_path {last}") from None

    def _refresh(self) -> None:
        """Make the points of the positives labels; with ``views``, find them anew."""
        assert self._pool is not None
        if self.views and self._pool.positives:
            with self._evaluating():
                part = self.global_rank, self.trainer.world_size
                faces, positives = self._data().faces(), self._pool.positives
                found = points_of_views(faces, positives, self._points, self.views, self.device, part)
            if found:
                self._pool.store(list(found), torch.stack(list(found.values())), int(self.steps_done))
        self._pool.share(gather_objects(self._pool.entries))
        self._data().labels = self._pool.refresh()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode, without gradients, in the precision of the training."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad(), self.trainer.precision_plugin.forward_context():
                yield
        finally:
            self.train(training)

    def _mine(self) -> None:
        """Sort the unlabelled faces, and let the positives among them into the pool of labels."""
        data = self._data()
        with self._evaluating():
            self._mined = sorted_faces(
                data.faces(),
                self._plain_points,
                self.mining_options,
                self.device,
                Path(self.trainer.default_root_dir) / "mining",
                (self.global_rank, self.trainer.world_size),
                self._vote()[0] if self.votes is not None else None,
            )
        note(f"unlabelled faces: {self._mined}")
        data.dropped = frozenset(self._mined.hard_negatives)
        pool = LabelPool(data.true_labels(), self._mined.positives, self.refresh)
        if self._pool is not None:
            kept = {name: entry for name, entry in self._pool.entries.items() if name in pool.positives}
            pool.share(gather_objects(kept))
            data.labels = pool.refresh()
        self._pool = pool
        if self.views:
            self._refresh()

    def _vote(self) -> tuple[Others, dict[str, float]]:
        """Return the voted points of all unlabelled faces, and the score of each."""
        assert self.votes is not None
        if self._voted is None:
            part = self.global_rank, self.trainer.world_size
            self._voted = voted_points(self.votes, self._data(), self.device, part)
        return self._voted

    def _plain_points(self, images: Tensor) -> Tensor:
        size = images.shape[-1], images.shape[-2]
        return decode(self.evaluated(images), size, self.decode_options).points

    def _points(self, images: Tensor) -> Tensor:
        return self.detect(images).points

    def _data(self) -> LabelSource:
        data: LabelSource = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def _both_optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        """Return the optimisers of A and B."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        first, second = optimizers
        assert isinstance(first, LightningOptimizer)
        assert isinstance(second, LightningOptimizer)
        return first, second

    def rate(self, step: int) -> float:
        """Return the learning rate at a step, counted from 0."""
        if step < self.warmup_steps:
            return self.warmup_lr * published_factor(step, 0, self.warmup_steps)
        return self.lr * published_factor(step - self.warmup_steps, self.wait, self.steps - self.warmup_steps)

    def _set_rates(self) -> None:
        for optimizer in self._both_optimizers():
            for group in optimizer.param_groups:
                group["lr"] = self.rate(int(self.steps_done)) * group["share"]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for A and for B; ``rate`` sets their rates."""
        found: list[torch.optim.Optimizer] = []
        for network in (self.adaptation, self.base):
            groups = self.parameter_groups(network)
            found.append(torch.optim.Adam(groups, self.rate(0), fused=fused_on_cpu(network.parameters())))
        return found

    # Start and checkpoints

    def setup(self, stage: str) -> None:
        """For fit: check data and options, and load the weights of ``init_from`` unless the run is resumed.

        Raises:
            ConfigError: another data module, other landmarks, or no model of human faces for the mining.
            DataError: no unlabelled face, or a file of shifts that does not fit.
        """
        if stage != "fit":
            return
        check_strategy(self.trainer, type(self).__name__)
        data = self.check_data()
        if not data.faces().names:
            raise DataError(
                "no unlabelled face: Meta-CSKT needs some; give more photos, set unlabelled_batch above 0, or train "
                "LandmarkNet on the labels alone"
            )
        if self.mining_options.t_neg is not None and self.mirror_order is None and self.mining_options.flip is None:
            raise ConfigError(
                f"scheme '{self.scheme.name}' has no left/right pairs, so no flip shift can be measured; set "
                "mining.t_neg to null"
            )
        check_files(data.faces().names, self.mining_options)
        if self.mining_options.needs_network and self.votes is None:
            human_model(self.mining_options)
        if self.trainer.ckpt_path is None:
            self.start(self.base, self.init_from)
            copy_weights(self.adaptation, self.base)
            if self.average is not None:
                copy_weights(self.average, self.base)

    def on_train_start(self) -> None:
        """Go on with the pool of labels of a checkpoint; without a warm-up, sort the faces."""
        self.trainer.should_stop = int(self.steps_done) >= self.steps  # a finished training that is resumed
        self._set_rates()
        data, state = self._data(), self._state
        self._state = {}
        if state:
            self._mined = from_state(state["mining"], data.faces().names)
            positives = self._mined.positives if self._mined is not None else ()
            data.dropped = frozenset(self._mined.hard_negatives if self._mined is not None else ())
            self._pool = LabelPool(data.true_labels(), positives, self.refresh)
            self._pool.load_state_dict(state["pool"])
            data.labels = self._pool.current
        elif int(self.steps_done) == self.warmup_steps:
            self._mine()
        elif self.votes is not None and self.votes.share:
            data.labels = voted_labels(data.true_labels(), *self._vote(), self.votes.share)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the sorted faces and the pool of labels."""
        super().on_save_checkpoint(checkpoint)
        if self._pool is not None:
            entries = self._pool.entries
            self._pool.share(gather_objects(entries))
            checkpoint["meta_cskt"] = {"mining": as_state(self._mined), "pool": self._pool.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them; they are put in place when training starts."""
        super().on_load_checkpoint(checkpoint)
        self._state = dict(checkpoint.get("meta_cskt") or {})


def heat_maps(network: nn.Module, seen: Seen, count: int | None = None) -> Tensor:
    """Return a network's heat maps of images, or of a backbone's features; of the first ``count`` faces alone."""
    if isinstance(seen, Tensor):
        maps: Tensor = network(seen[:count])
        return maps
    assert isinstance(network, PyramidEncoder)
    return network.finest_map([maps[:count] for maps in seen])
