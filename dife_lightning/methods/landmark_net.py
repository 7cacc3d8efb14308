"""HRNet for landmarks, trained with labels alone: the start of Meta-CSKT and its supervised baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dife_lightning.faces.few_label_batches import FewLabelBatch
from dife_lightning.faces.own_schemes import Left
from dife_lightning.geometry.heatmaps import DecodeOptions
from dife_lightning.methods._heatmap_networks import HeatmapModule, network_of, plain_landmarks, start_from
from dife_lightning.methods._options import OptimizerOptions, as_options
from dife_lightning.methods._training import ScheduledModule, make_optimizer
from dife_lightning.nn.hrnet import HRNet, HRNetOptions

METHOD = "LandmarkNet"


class LandmarkNet(HeatmapModule, ScheduledModule):  # type: ignore[misc]  # predict_step takes both kinds of batch
    """HRNetV2 trained on labelled faces, by the mean squared error of its heat maps.

    Args:
        network: sizes; the defaults are the published W18.
        landmarks: a scheme such as ``animalweb-9``, or names of points.
        left: whose left such names mean: the viewer's, or the face's own (``subject``).
        sigma: deviation of the Gaussians in cells.
        decode: how points are read from heat maps.
        flip_test: detect on the mirrored image, too.
        published_targets: Gaussians as in the published training.
        optimizer: Adam and its schedule (Meta-CSKT: 1e-4).
        init_from: start weights: a shipped landmark model, a checkpoint or run of one, or a public file such as
            ``own/hr18-aflw``. Points that it has by name keep their part of the head.

    Raises:
        ConfigError: an unknown scheme, a repeated name, or a number out of its range.
    """

    def __init__(
        self,
        network: HRNetOptions = HRNetOptions(),  # noqa: B008 - frozen
        landmarks: str | list[str] = "animalweb-9",
        left: Left = "viewer",
        sigma: float = 1.0,
        decode: DecodeOptions = DecodeOptions(),  # noqa: B008 - frozen
        flip_test: bool = True,
        published_targets: bool = False,
        optimizer: OptimizerOptions = OptimizerOptions(lr=1e-4, schedule="cosine"),  # noqa: B008 - frozen
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, landmarks, left, sigma, decode, flip_test, published_targets)
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None, landmarks=plain_landmarks(landmarks))
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.init_from = init_from
        self.network = network_of(self.network_options)

    @property
    def evaluated(self) -> HRNet:
        """The network."""
        return self.network

    def setup(self, stage: str) -> None:
        """For fit: check the landmarks of the data, and load the weights of ``init_from`` unless the run is resumed."""
        if stage != "fit":
            return
        self.check_data()
        if self.init_from is not None and self.trainer.ckpt_path is None:
            start_from(self.network, self.scheme, self.init_from)

    def training_step(self, batch: FewLabelBatch, batch_idx: int) -> Tensor:
        """Fit the labelled faces."""
        loss = self.labelled_loss(self.network(batch.labelled), batch.labelled, batch.points, batch.visible)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam over the network, with the chosen schedule."""
        parameters: Sequence[Any] = [{"params": list(self.network.parameters())}]
        return make_optimizer(list(parameters), self.optimizer_options, 0, self.trainer.max_steps)
