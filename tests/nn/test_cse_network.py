from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.nn.cse import CSENetwork
from dife_lightning.nn.cse.layers import ConvLayer, FrozenBatchNorm
from tests.nn.public_cse import filled, tiny_shapes
from tests.nn.slow_roi_align import slow_roi_align


def tiny(deeplab: bool = False, side: int | None = None, normalize: bool = True) -> CSENetwork:
    return CSENetwork.from_tensors(filled(tiny_shapes(deeplab)), side=side, normalize=normalize)


def pictures(batch: int, height: int, width: int) -> Tensor:
    """Smooth pictures in [-1, 1] that differ from each other."""
    coarse = torch.rand(batch, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("deeplab", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (32, 96), (50, 70)])
@torch.no_grad()
def test_embedding_has_the_images_size_and_unit_length(deeplab: bool, size: tuple[int, int]) -> None:
    embedding = tiny(deeplab).embed(pictures(2, *size))
    assert embedding.shape == (2, 6, *size)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2, *size))
    assert float(embedding.std(dim=(2, 3)).mean()) > 1e-3  # it depends on the pixel


@pytest.mark.parametrize("deeplab", [False, True])
@torch.no_grad()
def test_a_batch_equals_its_images_one_by_one(deeplab: bool) -> None:
    network, images = tiny(deeplab), pictures(2, 64, 96)
    first, second = network(images[:1]), network(images[1:])
    torch.testing.assert_close(network(images), torch.cat((first, second)), atol=1e-3, rtol=1e-3)
    assert float((first - second).abs().max()) > 1e-2


@torch.no_grad()
def test_the_box_is_the_image_without_its_padding() -> None:
    network, images = tiny(normalize=False), pictures(1, 50, 70)
    mean = torch.tensor([103.530, 116.280, 123.675]).reshape(3, 1, 1)
    pixels = torch.zeros(1, 3, 64, 96)
    pixels[:, :, :50, :70] = ((images + 1) * 127.5)[:, [2, 1, 0]] - mean
    features = network.roi_heads.decoder(network.backbone(pixels))
    assert features.shape == (1, 11, 16, 24)
    pooled = slow_roi_align(features, torch.tensor([[0.0, 0.0, 70.0, 50.0]]), 28, 1 / 4)
    maps = network.roi_heads.densepose_predictor(network.roi_heads.densepose_head(pooled))
    found = network(images)
    assert found.shape == (1, 6, 112, 112)
    torch.testing.assert_close(found, maps, atol=1e-3, rtol=1e-4)
    resized = F.interpolate(maps, (50, 70), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network.embed(images), resized, atol=1e-3, rtol=1e-4)


@torch.no_grad()
def test_normalisation_only_changes_the_length() -> None:
    images = pictures(1, 64, 64)
    unit, raw = tiny().embed(images), tiny(normalize=False).embed(images)
    torch.testing.assert_close(unit, raw / raw.norm(dim=1, keepdim=True))
    assert float((raw.norm(dim=1) - 1).abs().mean()) > 0.01


def test_the_mean_colour_is_zero_to_the_network() -> None:
    red_green_blue = torch.tensor([123.675, 116.280, 103.530]).reshape(1, 3, 1, 1)
    images = (red_green_blue / 127.5 - 1).expand(1, 3, 32, 32)
    torch.testing.assert_close(tiny().preprocess(images), torch.zeros(1, 3, 32, 32), atol=2e-5, rtol=0)


def test_the_first_channel_of_the_network_is_blue_from_0_to_255() -> None:
    blue = torch.tensor([-1.0, -1.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    expected = torch.tensor([255 - 103.530, -116.280, -123.675])
    torch.testing.assert_close(tiny().preprocess(blue)[0, :, 0, 0], expected)


@pytest.mark.parametrize(
    ("size", "expected"), [((48, 48), (64, 64)), ((96, 48), (128, 64)), ((50, 75), (64, 96)), ((200, 100), (128, 64))]
)
def test_the_short_side_is_resized(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert tiny(side=64).preprocess(pictures(1, *size)).shape == (1, 3, *expected)


def test_shrinking_averages_what_it_leaves_out() -> None:
    stripes = -torch.ones(1, 3, 128, 128)
    stripes[..., ::4] = 1  # a quarter of the columns is white; plain bilinear sampling would miss them all
    pixels = tiny(side=32).preprocess(stripes)
    grey = 255 / 4 - torch.tensor([103.530, 116.280, 123.675])
    torch.testing.assert_close(pixels[0, :, 4:-4, 4:-4].mean(dim=(1, 2)), grey, atol=0.5, rtol=0)


@torch.no_grad()
def test_the_embedding_has_the_images_size_whatever_the_networks_side() -> None:
    images = pictures(1, 40, 60)
    large, small = tiny(side=96).embed(images), tiny(side=64).embed(images)
    assert large.shape == small.shape == (1, 6, 40, 60)
    assert float((large - small).abs().max()) > 1e-3


def test_512_pixels_are_the_default() -> None:
    assert CSENetwork.from_tensors(filled(tiny_shapes())).side == 512


def test_a_side_below_one_cell_is_refused() -> None:
    with pytest.raises(ConfigError, match="side=16 is below 32"):
        tiny(side=16)


@torch.no_grad()
def test_bfloat16_is_close_and_comes_out_as_float32() -> None:
    network, images = tiny(deeplab=True), pictures(1, 64, 64)
    expected = network.embed(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network.embed(images)
        maps = network(images)
    assert {found.dtype, maps.dtype} == {torch.float32}
    assert float((found * expected).sum(dim=1).mean()) > 0.999
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 64, 64))


@pytest.mark.parametrize("deeplab", [False, True])
def test_gradients_reach_the_image_and_every_parameter_of_the_embedding(deeplab: bool) -> None:
    network, images = tiny(deeplab, side=64), pictures(2, 48, 48).requires_grad_()
    network.embed(images)[:, 0].sum().backward()
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())
    assert float(images.grad.abs().min(dim=1).values.max()) > 0
    assert all(value.grad is not None for value in network.parameters())


def test_training_mode_changes_nothing() -> None:
    network, images = tiny(deeplab=True), pictures(1, 64, 64)
    assert torch.equal(network.train().embed(images), network.eval().embed(images))


def test_frozen_norm_is_its_formula_in_any_precision() -> None:
    norm = FrozenBatchNorm(3)
    values = {name: torch.rand(3) + 0.5 for name in norm.state_dict()}
    norm.load_state_dict(values)
    x = torch.randn(2, 3, 4, 5)
    weight, bias, mean, variance = (
        values[name].reshape(3, 1, 1) for name in ("weight", "bias", "running_mean", "running_var")
    )
    expected = weight * (x - mean) / (variance + 1e-5).sqrt() + bias
    torch.testing.assert_close(norm(x), expected)
    low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, atol=0.05, rtol=0.01)
    assert list(norm.parameters()) == []


def test_the_stride_sits_in_the_first_convolution_of_a_block() -> None:
    network = tiny()
    strides = {
        name: module.stride for name, module in network.backbone.named_modules() if isinstance(module, ConvLayer)
    }
    strided = {name.removeprefix("bottom_up.") for name, stride in strides.items() if stride == (2, 2)}
    assert strided == {"stem.conv1", *(f"res{n}.0.{part}" for n in (3, 4, 5) for part in ("conv1", "shortcut"))}
