"""Landmark transfer by the flow of a CATs network."""

from __future__ import annotations

from torch import Tensor

from dife_lightning.errors import TrainingError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.geometry.coordinates import resize_maps, resize_points
from dife_lightning.nn.cats import CATsNetwork, image_net_normalized, move_points


def network_images(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) in [-1, 1] to ``size`` x ``size`` and normalise them as for ImageNet."""
    return image_net_normalized(resize_maps(images, size))


def transfer_by_flow(network: CATsNetwork, batch: PairBatch, rounding: bool = False) -> Tensor:
    """Transfer the source points of a batch to its target images.

    The network's flow starts in what it calls the target. Our points are in the source image, so our source is the
    network's target, and the flow ends in our target image.

    Args:
        network: in eval mode.
        batch: pairs of images of any size.
        rounding: truncate points to whole pixels first, as the public evaluation does.

    Returns:
        (B, P, 2) float32, pixels of the target images.

    Raises:
        TrainingError: the flow is not finite.
    """
    size = network.architecture.size
    flow = network(network_images(batch.source_image, size), network_images(batch.target_image, size))
    if not bool(flow.isfinite().all()):
        raise TrainingError("the flow contains NaN or infinity; use an earlier checkpoint or lower the learning rate")
    sides = [(images.shape[-1], images.shape[-2]) for images in (batch.source_image, batch.target_image)]
    points = resize_points(batch.source_points.float(), sides[0], (size, size))
    return resize_points(move_points(points, flow, size, rounding), (size, size), sides[1])
