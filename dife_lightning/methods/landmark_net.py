"""HRNet for landmarks, trained with labels alone: the start of Meta-CSKT and its supervised baseline."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dife_lightning.faces.few_labels import FewLabelBatch
from dife_lightning.faces.own_schemes import Left
from dife_lightning.geometry.heatmaps import DecodeOptions
from dife_lightning.methods._heatmap_networks import BackboneOptions, HeatmapModule, plain_landmarks
from dife_lightning.methods._options import OptimizerOptions
from dife_lightning.methods._training import ScheduledModule, make_optimizer
from dife_lightning.nn.hrnet import HRNetOptions
from dife_lightning.utils.checks import as_options

METHOD = "LandmarkNet"


class LandmarkNet(HeatmapModule, ScheduledModule):  # type: ignore[misc]  # predict_step takes both kinds of batch
    """HRNetV2, or a network of ImageNet, trained on labelled faces, by the mean squared error of its heat maps.

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
            ``own/hr18-aflw``. Points that it has by name keep their part of the last layer.
        backbone: a network of ImageNet in place of the HRNet, which starts from ImageNet's weights.

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
        backbone: BackboneOptions | None = None,
    ) -> None:
        super().__init__(network, landmarks, left, sigma, decode, flip_test, published_targets, backbone)
        self.save_hyperparameters(ignore=["init_from"])
        self.keep_plain_settings(init_from=None, landmarks=plain_landmarks(landmarks))
        self.optimizer_options = as_options(OptimizerOptions, optimizer)
        self.init_from = init_from
        self.network = self.build_network()

    @property
    def evaluated(self) -> nn.Module:
        """The network."""
        return self.network

    def setup(self, stage: str) -> None:
        """For fit: check the landmarks of the data, and load the weights of ``init_from`` unless the run is resumed."""
        if stage != "fit":
            return
        self.check_data()
        if self.trainer.ckpt_path is None:
            self.start(self.network, self.init_from)

    def training_step(self, batch: FewLabelBatch, batch_idx: int) -> Tensor:
        """Fit the labelled faces."""
        loss = self.labelled_loss(self.network(batch.labelled), batch.labelled, batch.points, batch.visible)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        """Adam over the network, with the chosen schedule."""
        lr = self.optimizer_options.lr
        groups = [{**group, "lr": lr * group.pop("share")} for group in self.parameter_groups(self.network)]
        return make_optimizer(groups, self.optimizer_options, 0, self.trainer.max_steps)
