"""Base of landmark models with heat maps: options, networks, start weights, detection with the mirrored image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.faces.own_schemes import Left, landmark_scheme
from dife_lightning.faces.point_names import canonical
from dife_lightning.faces.scheme_tables import mirrored
from dife_lightning.faces.schemes import Scheme, flip_permutation
from dife_lightning.geometry.heatmaps import DecodeOptions, Detections, decode, flip_average, gaussian_targets
from dife_lightning.losses.heatmaps import heatmap_loss
from dife_lightning.methods._landmarks import LandmarkModule
from dife_lightning.nn.hrnet import HRNet, HRNetOptions
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.pretrained.formats.hrnet import load_hrnet
from dife_lightning.pretrained.imagenet import imagenet_file, load_imagenet
from dife_lightning.utils.checks import as_options, require
from dife_lightning.utils.notes import note, some
from dife_lightning.weights.checkpoints import load_state

#: Key of a checkpoint for the faces of its training, and which of their facts it holds.
_RECORD, _FACTS = "training_faces", ("kind", "labelled", "pool", "unlabelled", "transductive", "pool_species")
#: Standard deviation of the last weights of a new network, as usual for heat maps.
_INITIAL = 0.001


@dataclass(frozen=True)
class BackboneOptions:
    """A network of ImageNet under a feature pyramid in place of the HRNet, for photographs and few labels.

    Attributes:
        name: ``imagenet/mobilenet_v2`` or ``imagenet/efficientnet_lite0``. A fit without other start weights needs its
            file (docs/backbones.md); a checkpoint holds all weights.
        side: the shorter side of the images that it sees, in pixels.
        rate: learning rate of its weights, as a share of the rate of the others; 0 keeps them as they are, which is
            faster, since nothing is propagated back through them.
    """

    name: str = "imagenet/mobilenet_v2"
    side: int = 128
    rate: float = 0.15

    def __post_init__(self) -> None:
        imagenet_file(self.name)
        require("backbone.", at_least=32, side=self.side)
        require("backbone.", at_least=0, rate=self.rate)

    def build(self, points: int) -> PyramidEncoder:
        """Return an untrained network with ``points`` heat maps, which are empty at the start."""
        known = imagenet_file(self.name)
        network = PyramidEncoder(known.options, known.pixels, points, side=self.side, keep_size=False)
        nn.init.normal_(network.out.weight, std=_INITIAL)
        network.out.bias.data.zero_()  # type: ignore[union-attr]
        network.network.requires_grad_(self.rate > 0)
        return network


class HeatmapModule(LandmarkModule):
    """Base of methods that train networks with one heat map a landmark; a subclass says which is ``evaluated``.

    Args:
        network: sizes of the HRNet; ``points`` is set to the number of landmarks.
        landmarks: a scheme such as ``animalweb-9``, or the names of the points in the order of the training faces.
        left: whose left such names mean: the viewer's, or the face's own (``subject``); a scheme states it itself.
        sigma: deviation of the Gaussians, in cells of the heat maps: 4 px of an HRNet's image, or of a ``backbone``'s,
            whose side may be another.
        decode: how points are read from heat maps; its ``sigma`` is set to this one's.
        flip_test: detect on the image and the mirrored one, and average the heat maps (if there are mirror pairs).
        published_targets: Gaussians around the middle of a cell and cut off, as in the published training.
        backbone: see :class:`BackboneOptions`.

    Raises:
        ConfigError: an unknown scheme, network or name, or a number out of its range.
    """

    scheme: Scheme

    def __init__(
        self,
        network: HRNetOptions | dict[str, Any],
        landmarks: str | Sequence[str],
        left: Left,
        sigma: float,
        decode: DecodeOptions | dict[str, Any],
        flip_test: bool,
        published_targets: bool,
        backbone: BackboneOptions | dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        require(above=0, sigma=sigma)
        self.scheme = landmark_scheme(landmarks, left)
        count = len(self.scheme.landmarks)
        options = as_options(HRNetOptions, network)
        self.network_options = HRNetOptions(**{**vars(options), "points": count})
        self.backbone = None if backbone is None else as_options(BackboneOptions, backbone)
        given = as_options(DecodeOptions, decode)
        self.decode_options = DecodeOptions(given.rule, sigma, given.temperature)
        self.sigma, self.flip_test, self.published_targets = sigma, flip_test, published_targets
        self._training_faces: dict[str, Any] = {}
        pairs = self.scheme.flip_pairs
        self.mirror_order = flip_permutation(count, pairs) if pairs else None

    @property
    def evaluated(self) -> nn.Module:
        """The network that finds the landmarks: images (B, 3, H, W) in [-1, 1] to heat maps (B, K, h, w)."""
        raise NotImplementedError

    def build_network(self) -> nn.Module:
        """Return an untrained network in the memory format in which convolutions are fast."""
        count = self.network_options.points
        network = HRNet(self.network_options) if self.backbone is None else self.backbone.build(count)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def start(self, network: nn.Module, init_from: str | None) -> None:
        """Load the start weights of a fit: those of ``init_from``, or of ImageNet for a ``backbone``; else none.

        Raises what ``start_from`` and ``load_imagenet`` do.
        """
        if init_from is not None:
            start_from(network, self.scheme, init_from)
        elif self.backbone is not None and isinstance(network, PyramidEncoder):
            network.network.load_state_dict(load_imagenet(self.backbone.name)[0].state_dict())

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Return Adam's groups: ``share`` of the rate is 1, but ``rate`` of the backbone's options for its weights."""
        if self.backbone is None or not isinstance(network, PyramidEncoder):
            return [{"params": list(network.parameters()), "share": 1.0}]
        pretrained = list(network.network.parameters())
        known = set(map(id, pretrained))
        fresh = [parameter for parameter in network.parameters() if id(parameter) not in known]
        return [{"params": fresh, "share": 1.0}, {"params": pretrained, "share": self.backbone.rate}]

    def detect(self, images: Tensor) -> Detections:
        """Find the landmarks of images (B, 3, H, W) in [-1, 1]; see the base class."""
        return self.detect_with(self.evaluated, images)

    def detect_with(self, network: nn.Module, images: Tensor) -> Detections:
        """Find the landmarks of images (B, 3, H, W) with one of the networks."""
        maps = network(images)
        if self.flip_test and self.mirror_order is not None:
            maps = flip_average(maps, network(images.flip(-1)), self.mirror_order)
        return decode(maps, (images.shape[-1], images.shape[-2]), self.decode_options)

    def labelled_loss(self, maps: Tensor, images: Tensor, points: Tensor, visible: Tensor) -> Tensor:
        """Return the mean squared error of heat maps (B, K, h, w) of images against the Gaussians of known points."""
        sizes = (images.shape[-1], images.shape[-2]), (maps.shape[-1], maps.shape[-2])
        targets, known = gaussian_targets(points, visible, *sizes, self.sigma, self.published_targets)
        return heatmap_loss(maps, targets, known)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result must record of the faces that the model was trained on, as plain values; {} if not known."""
        return {"training_faces": self._training_faces} if self._training_faces else {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the faces of the training, also whether test faces were among the unlabelled ones."""
        super().on_save_checkpoint(checkpoint)
        trainer = self._trainer
        fits = trainer is not None and trainer.state.fn == TrainerFn.FITTING
        source: Any = getattr(trainer, "datamodule", None) if fits else None
        faces = source.faces().facts if hasattr(source, "faces") else {}
        kept = {key: faces[key] for key in _FACTS if key in faces} or self._training_faces
        if kept:
            checkpoint[_RECORD] = kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what the checkpoint states of the faces of the training."""
        super().on_load_checkpoint(checkpoint)
        found = checkpoint.get(_RECORD)
        self._training_faces = dict(found) if isinstance(found, dict) else {}

    def check_data(self) -> Any:
        """Return the trainer's data module; ConfigError unless its labelled faces have the landmarks of the model."""
        data = getattr(self.trainer, "datamodule", None)
        scheme = getattr(data, "scheme", None)
        if not isinstance(scheme, Scheme):
            name = type(data).__name__
            raise ConfigError(
                f"{type(self).__name__} trains on few labelled faces (FewLabels, WorldFewLabels); found {name}"
            )
        if scheme.landmarks != self.scheme.landmarks:
            names = ", ".join(scheme.landmarks)
            raise ConfigError(
                f"the faces have the landmarks {names}; the model {', '.join(self.scheme.landmarks)}; set "
                f"--model.init_args.landmarks '[{names}]'"
            )
        if self.scheme.flip_pairs and scheme.eye_convention != self.scheme.eye_convention:
            left = "subject" if scheme.eye_convention == "subject" else "viewer"
            raise ConfigError(
                f"left and right of the faces are {_WHOSE[scheme.eye_convention]}, of the model "
                f"{_WHOSE[self.scheme.eye_convention]}; set --model.init_args.left {left}"
            )
        return data


#: Whose left a scheme's names mean, in words.
_WHOSE = {"image": "the viewer's", "subject": "the face's own", "unknown": "not known"}


def plain_landmarks(landmarks: str | Sequence[str]) -> str | list[str]:
    """Return ``landmarks`` as a checkpoint stores them."""
    return landmarks if isinstance(landmarks, str) else [str(name) for name in landmarks]


def load_start(name_or_path: str | Path) -> tuple[nn.Module, Scheme | None]:
    """Return a trained network and the scheme of its points, None for a public file, which does not state it.

    Args:
        name_or_path: a shipped landmark model, a checkpoint or run of one, or a public HRNet such as ``HR18-AFLW.pth``.

    Raises:
        CheckpointError: no such file, a damaged one, or another method.
    """
    found = _trained(name_or_path)
    if isinstance(found, HeatmapModule):
        return found.evaluated, found.scheme
    if isinstance(found, HRNet):
        return found, None
    raise CheckpointError(f"start weights: {name_or_path} is a {type(found).__name__}, without heat maps of landmarks")


def _trained(name_or_path: str | Path) -> nn.Module:
    """Return a trained method, or the HRNet of a public file; CheckpointError if there is none."""
    from dife_lightning.loading import load, method_file  # imports all methods

    try:
        path = method_file(name_or_path)
    except CheckpointError as error:
        raise CheckpointError(f"start weights: {error}") from None
    return load_hrnet(path) if path.suffix in (".pth", ".pt", ".tar") else load(path)


def start_from(network: nn.Module, scheme: Scheme, name_or_path: str | Path) -> None:
    """Copy trained weights into ``network``; of its last layer, those of points that both have by name.

    A note says which points start untrained: all, after an embedder such as ``photos/dife``.

    Raises:
        CheckpointError: what ``load_start`` raises, or another network or other sizes.
    """
    embedder = getattr(_trained(name_or_path), "encoder", None)
    found, known = load_start(name_or_path) if embedder is None else (embedder, None)
    state, own = dict(found.state_dict()), network.state_dict()
    last = "head.3" if isinstance(network, HRNet) else "out"
    if f"{last}.weight" not in state:
        kinds = ("an HRNet", "a backbone of ImageNet") if last == "head.3" else ("a backbone of ImageNet", "an HRNet")
        raise CheckpointError(
            f"start weights {name_or_path} are of {kinds[1]}, the model has {kinds[0]}; give others, or set `backbone`"
        )
    ours, theirs = viewer_names(scheme), [] if known is None else viewer_names(known)
    if known is None and embedder is None and len(state[f"{last}.bias"]) == len(scheme.landmarks):
        theirs = ours  # a public file for as many points
    rows = [theirs.index(name) if name in theirs else -1 for name in ours]
    for key in (f"{last}.weight", f"{last}.bias"):
        fresh = own[key].clone()
        for row, there in enumerate(rows):
            if there >= 0:
                fresh[row] = state[key][there]
        state[key] = fresh
    untrained = [name for name, row in zip(scheme.landmarks, rows, strict=True) if row < 0]
    if untrained:
        note(f"start weights {name_or_path}: {some(untrained, 9)} start untrained, as they are not among its points")
    load_state(network, state, source=f"start weights {name_or_path}")


def viewer_names(scheme: Scheme) -> list[str]:
    """Return the names of a scheme's points in their common form, with the viewer's left and right."""
    own = scheme.eye_convention == "subject"
    return [canonical(mirrored(name) if own else name) for name in scheme.landmarks]


@torch.no_grad()
def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """Copy all parameters and buffers."""
    target.load_state_dict(source.state_dict())
