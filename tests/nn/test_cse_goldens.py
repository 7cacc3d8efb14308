from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dife_lightning.nn.cse import CSENetwork
from dife_lightning.nn.cse.architecture import read_architecture
from dife_lightning.nn.cse.roi_heads import V1ConvXHead
from tests.nn.filled import load_filled, read_golden
from tests.nn.public_cse import GOLDEN, empty, read_shapes

Shared = Callable[[str], Path]
R50 = "shapes_R_50_FPN_soft_animals_finetune_16k.json"
R101_DL = "shapes_R_101_FPN_DL_soft_s1x.json"


def hollow(shared: Shared, shapes: str) -> CSENetwork:
    """The public network without weights: tests fill the parts they need."""
    with torch.device("meta"):
        return CSENetwork(read_architecture(empty(read_shapes(shared(f"{GOLDEN}/{shapes}")))))


def filled_part(network: CSENetwork, name: str) -> nn.Module:
    return load_filled(network.get_submodule(name).to_empty(device="cpu"), f"{name}.")


def read(shared: Shared, name: str) -> dict[str, Tensor]:
    return read_golden(shared(f"{GOLDEN}/{name}"))


def close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@torch.no_grad()
def test_backbone_pyramid_and_decoder_are_reproduced(shared: Shared) -> None:
    io = read(shared, "io_backbone_fpn_decoder_R50.npz")
    network = hollow(shared, R50)
    backbone, decoder = filled_part(network, "backbone"), filled_part(network, "roi_heads.decoder")
    image = io["image_bgr_u8"].float() - torch.tensor([103.530, 116.280, 123.675]).reshape(3, 1, 1)
    maps = backbone.bottom_up(image)
    for number, found in zip((2, 3, 4, 5), maps, strict=True):
        close(found[:, ::32], io[f"bottom_up.res{number}_ch32"], 5e-3)
    levels = backbone.pyramid(maps)
    for number, found in zip((2, 3, 4, 5), levels, strict=True):
        close(found[:, ::16], io[f"p{number}_ch16"], 5e-3)
    close(levels[-1][:, ::16, ::2, ::2], io["p6_ch16"], 5e-3)  # as the docstring says of the level that is left out
    close(decoder(levels)[:, ::16], io["decoder_ch16"], 5e-3)


@torch.no_grad()
def test_plain_head_and_predictor_are_reproduced(shared: Shared) -> None:
    io = read(shared, "io_head_v1convx_R50.npz")
    network = hollow(shared, R50)
    head = filled_part(network, "roi_heads.densepose_head")
    predictor = filled_part(network, "roi_heads.densepose_predictor")
    features = head(io["roi_feature_i8"].float() / 16)
    close(features[:, ::8], io["head_out_ch8"], 1e-5)
    close(predictor.embed_lowres(features), io["embed_lowres"], 1e-5)
    embedding = predictor(features)
    assert embedding.shape == (1, 16, 112, 112)
    close(embedding[:, :, ::2, ::2], io["embedding_px2"], 1e-5)
    close(embedding[:, 0], io["embedding_ch0"], 1e-5)


@torch.no_grad()
def test_deeplab_head_is_reproduced(shared: Shared) -> None:
    io = read(shared, "io_head_deeplab_R101DL.npz")
    network = hollow(shared, R101_DL)
    head = filled_part(network, "roi_heads.densepose_head")
    predictor = filled_part(network, "roi_heads.densepose_predictor")
    pooled = head.ASPP(io["roi_feature_i8"].float() / 16)
    close(pooled[:, ::8], io["aspp_ch8"], 1e-4)
    features = V1ConvXHead.forward(head, pooled)
    close(features[:, ::8], io["head_out_ch8"], 1e-4)
    embedding = predictor(head(io["roi_feature_i8"].float() / 16))
    close(embedding[:, :, ::2, ::2], io["embedding_px2"], 1e-4)
