"""Names and shapes of CSE checkpoints, for tests only: a tiny network, and those of the public ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tests.nn.filled import fill

GOLDEN = "golden/cse_detectron2"
Shapes = dict[str, tuple[int, ...]]


def read_shapes(path: Path) -> Shapes:
    """Names and shapes of a public checkpoint."""
    return {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}


def empty(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes without values."""
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these shapes with values that follow from their names."""
    return {key: fill(key, shape) for key, shape in shapes.items()}


def tiny_shapes(deeplab: bool = False) -> Shapes:
    """Tensors of a narrower and shallower network in the public layout, with segmentation and two meshes."""
    return {
        **dict(_backbone()),
        **dict(_decoder()),
        **dict(_head(deeplab)),
        **_embedder("cat_50"),
        **_embedder("dog_31"),
    }


def _norm_conv(name: str, out: int, inputs: int, kernel: int) -> Shapes:
    norm = {f"{name}.norm.{kind}": (out,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.weight": (out, inputs, kernel, kernel), **norm}


def _conv(name: str, out: int, inputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (out, inputs, kernel, kernel), f"{name}.bias": (out,)}


def _backbone() -> Iterator[tuple[str, tuple[int, ...]]]:
    stem = 8
    yield from _norm_conv("backbone.bottom_up.stem.conv1", stem, 3, 7).items()
    inputs = stem
    for level, blocks, planes, width in ((2, 1, 4, 8), (3, 2, 6, 12), (4, 1, 6, 16), (5, 1, 8, 20)):
        for block in range(blocks):
            name = f"backbone.bottom_up.res{level}.{block}"
            if block == 0:
                yield from _norm_conv(f"{name}.shortcut", width, inputs, 1).items()
            yield from _norm_conv(f"{name}.conv1", planes, inputs, 1).items()
            yield from _norm_conv(f"{name}.conv2", planes, planes, 3).items()
            yield from _norm_conv(f"{name}.conv3", width, planes, 1).items()
            inputs = width
        yield from _conv(f"backbone.fpn_lateral{level}", 10, width, 1).items()
        yield from _conv(f"backbone.fpn_output{level}", 10, 10, 3).items()


def _decoder() -> Iterator[tuple[str, tuple[int, ...]]]:
    for level, places in ((2, (0,)), (3, (0,)), (4, (0, 2)), (5, (0, 2, 4))):
        for place in places:
            yield from _conv(f"roi_heads.decoder.p{level}.{place}", 9, 9 if place else 10, 3).items()
    yield from _conv("roi_heads.decoder.predictor", 11, 9, 1).items()


def _head(deeplab: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    head, inputs, width = "roi_heads.densepose_head", 11, 32 if deeplab else 12
    if deeplab:
        for branch, (place, kernel) in enumerate(((0, 1), (0, 3), (0, 3), (0, 3), (1, 1))):
            name = f"{head}.ASPP.convs.{branch}"
            yield f"{name}.{place}.weight", (32, inputs, kernel, kernel)
            yield f"{name}.{place + 1}.weight", (32,)
            yield f"{name}.{place + 1}.bias", (32,)
        yield f"{head}.ASPP.project.0.weight", (32, 5 * 32, 1, 1)
        inputs = 32
    for number in (1, 2):
        name = f"{head}.body_conv_fcn{number}"
        yield f"{name}.weight", (width, inputs, 3, 3)
        yield from ((f"{name}.norm.{kind}", (width,)) for kind in ("weight", "bias") if deeplab)
        yield from ((f"{name}.bias", (width,)) for _ in range(not deeplab))
        inputs = width
    for name, channels in (("embed_lowres", 6), ("coarse_segm_lowres", 2)):
        yield f"roi_heads.densepose_predictor.{name}.weight", (width, channels, 4, 4)
        yield f"roi_heads.densepose_predictor.{name}.bias", (channels,)


def _embedder(mesh: str) -> Shapes:
    name = f"roi_heads.embedder.embedder_{mesh}"
    return {f"{name}.embeddings": (13, 6), f"{name}.features": (int(mesh.split("_")[1]), 13)}
