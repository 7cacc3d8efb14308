"""HRNet against the official network, and against a straight computation on its public tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.geometry.heatmaps import DecodeOptions, decode, flip_average, gaussian_targets, mirror_maps
from dife_lightning.nn.hrnet import HRNET_SMALL, HRNet, HRNetOptions
from tests.nn.filled import load_filled, read_golden

Shared = Callable[[str], Path]
GOLDEN = "golden/hrnet_meta_cskt"
#: Different numbers everywhere, and two neighbouring channels that are equal to those of the stem or of each other.
TINY = HRNetOptions(points=3, stem=4, bottlenecks=2, channels=(16, 5, 5, 6), modules=(1, 2, 1), blocks=2)


def from_bytes(pictures: Tensor) -> Tensor:
    return pictures.float() / 127.5 - 1


def filled(options: HRNetOptions = TINY) -> HRNet:
    network = load_filled(HRNet(options))
    assert isinstance(network, HRNet)
    return network


def test_names_order_and_shapes_of_the_tensors_are_the_official_ones(shared: Shared) -> None:
    shapes = json.loads(shared(f"{GOLDEN}/hrnet_w18_9joints_shapes.json").read_text())
    ours = {name: list(value.shape) for name, value in HRNet().state_dict().items()}
    assert list(ours.items()) == list(shapes.items())


def test_default_network_has_the_official_number_of_parameters() -> None:
    network = HRNet()
    assert sum(p.numel() for p in network.parameters()) == 9_638_409
    assert len(network.state_dict()) == 1839


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(("case", "tolerance"), [("a", 0.04), ("b", 0.02)])
def test_full_network_is_reproduced(shared: Shared, case: str, tolerance: float) -> None:
    io = read_golden(shared(f"{GOLDEN}/io_full_fill.npz"))
    maps = filled(HRNetOptions())(from_bytes(io[f"{case}.x_u8"]))
    torch.testing.assert_close(maps, io[f"{case}.heatmaps"], atol=tolerance, rtol=0)


@torch.no_grad()
@pytest.mark.slow
def test_every_branch_of_the_full_network_is_reproduced(shared: Shared) -> None:
    io = read_golden(shared(f"{GOLDEN}/io_full_fill.npz"))
    network, found = filled(HRNetOptions()), {}
    network.layer1.register_forward_hook(lambda _, __, out: found.update({"b.layer1": out[0, ::8]}))
    for number, stage in ((2, network.stage2), (3, network.stage3), (4, network.stage4)):
        stage.register_forward_hook(
            lambda _, __, out, number=number: found.update({f"b.stage{number}.{k}": x[0] for k, x in enumerate(out)})
        )
    network(from_bytes(io["b.x_u8"][:1]))
    assert len(found) == 1 + 2 + 3 + 4
    for name, maps in found.items():
        expected = io[name].reshape(maps.shape)
        torch.testing.assert_close(maps, expected, atol=1e-4 * expected.std().item(), rtol=0)


def norm(x: Tensor, state: dict[str, Tensor], key: str) -> Tensor:
    scale = state[f"{key}.weight"] / (state[f"{key}.running_var"] + 1e-5).sqrt()
    return x * scale[:, None, None] + (state[f"{key}.bias"] - state[f"{key}.running_mean"] * scale)[:, None, None]


def straight(images: Tensor, state: dict[str, Tensor]) -> Tensor:
    """Run the network by its public names, as its papers say; which layers there are is seen from the names."""

    def conv(x: Tensor, key: str, bn: str, stride: int = 1, relu: bool = True) -> Tensor:
        weight = state[f"{key}.weight"]
        y = norm(F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2), state, bn)
        return y.clamp(min=0) if relu else y

    def unit(x: Tensor, key: str, stride: int = 1, relu: bool = True) -> Tensor:
        return conv(x, f"{key}.0", f"{key}.1", stride, relu)

    def residual(x: Tensor, key: str, convs: int) -> Tensor:
        y = x
        for k in range(1, convs + 1):
            y = conv(y, f"{key}.conv{k}", f"{key}.bn{k}", relu=k < convs)
        projected = unit(x, f"{key}.downsample", relu=False) if f"{key}.downsample.0.weight" in state else x
        return (y + projected).clamp(min=0)

    def grown(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[-2:], mode="bilinear")

    def many(prefix: str) -> range:
        return range(1 + max((int(k[len(prefix) :].split(".")[0]) for k in state if k.startswith(prefix)), default=-1))

    def exchanged(maps: list[Tensor], key: str) -> list[Tensor]:
        for branch in range(len(maps)):
            for block in many(f"{key}.branches.{branch}."):
                maps[branch] = residual(maps[branch], f"{key}.branches.{branch}.{block}", convs=2)
        sums = []
        for i, own in enumerate(maps):
            total = own
            for j, x in enumerate(maps):
                at = f"{key}.fuse_layers.{i}.{j}"
                if j > i:
                    total = total + grown(unit(x, at, relu=False), own)
                elif j < i:
                    for step in range(i - j):
                        x = unit(x, f"{at}.{step}", stride=2, relu=step < i - j - 1)
                    total = total + x
            sums.append(total.clamp(min=0))
        return sums

    x = (images + 1) / 2 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    x = x / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = conv(conv(x, "conv1", "bn1", stride=2), "conv2", "bn2", stride=2)
    for block in many("layer1."):
        x = residual(x, f"layer1.{block}", convs=3)
    maps = [x]
    for stage in (2, 3, 4):
        key, last = f"transition{stage - 1}", len(maps)
        new = unit(maps[-1], f"{key}.{last}.0", stride=2)
        maps = [unit(m, f"{key}.{b}") if f"{key}.{b}.0.weight" in state else m for b, m in enumerate(maps)] + [new]
        for module in many(f"stage{stage}."):
            maps = exchanged(maps, f"stage{stage}.{module}")
    x = torch.cat([maps[0], *(grown(m, maps[0]) for m in maps[1:])], dim=1)
    x = norm(F.conv2d(x, state["head.0.weight"], state["head.0.bias"]), state, "head.1").clamp(min=0)
    return F.conv2d(x, state["head.3.weight"], state["head.3.bias"])


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (63, 63), (96, 64), (40, 70)])
def test_maps_are_those_of_a_straight_computation(size: tuple[int, int]) -> None:
    network = filled()
    images = torch.rand(2, 3, *size) * 2 - 1
    expected = straight(images, network.state_dict())
    torch.testing.assert_close(network(images), expected, atol=1e-4 * expected.std().item(), rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "cells"), [((255, 255), (64, 64)), ((256, 256), (64, 64)), ((96, 64), (24, 16)), ((5, 4), (2, 1))]
)
def test_maps_have_a_quarter_of_the_images_sides_rounded_up(size: tuple[int, int], cells: tuple[int, int]) -> None:
    assert HRNet(TINY).eval()(torch.zeros(1, 3, *size)).shape == (1, 3, *cells)
    assert HRNet.map_size(*size) == cells


@torch.no_grad()
def test_mirrored_kernels_see_a_mirrored_image_as_the_network_sees_the_image() -> None:
    network, mirror = filled(), filled()
    for module in mirror.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(module.weight.flip(-1))
    # 65 px halve to 33, 17, 9, 5 and 3 cells, with the first and the last cell on the first and the last pixel.
    images = torch.rand(1, 3, 65, 65) * 2 - 1
    found, expected = mirror(images.flip(-1)), network(images).flip(-1)
    torch.testing.assert_close(found, expected, atol=1e-4 * expected.std().item(), rtol=0)


@torch.no_grad()
def test_maps_are_float32_under_autocast_and_near_those_without() -> None:
    network = filled()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    exact = network(images)
    with torch.autocast("cpu", torch.bfloat16):
        maps = network(images)
    assert maps.dtype == torch.float32
    assert 0 < (maps - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_new_network_starts_near_zero_and_learns_everywhere() -> None:
    network = HRNet(TINY)
    maps = network(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert maps.abs().max() < 0.1
    for name, value in network.named_parameters():
        if name.endswith("weight") and value.ndim == 4:
            assert value.std() < 0.002, name
    (maps - 1).square().mean().backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    still = [n for n, p in network.named_parameters() if p.ndim == 4 and p.grad is not None and not p.grad.any()]
    assert missing == still == []


def test_the_small_network_is_small() -> None:
    assert sum(p.numel() for p in HRNet(HRNET_SMALL).parameters()) < 9_638_409 / 30


def lights(count: int) -> tuple[Tensor, Tensor]:
    """Return images (count, 3, 64, 64) with a light of each colour, and its places (count, 3, 2)."""
    points = 8 + torch.rand(count, 3, 2) * 47
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    squares = (x - points[..., 0, None, None]).square() + (y - points[..., 1, None, None]).square()
    return 1.2 * torch.exp(-squares / 18) - 0.5 + 0.1 * torch.randn(count, 3, 64, 64), points


@pytest.mark.slow
def test_a_trained_network_finds_points_in_images_and_in_mirrored_ones() -> None:
    network = HRNet(replace(HRNET_SMALL, points=3))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(120):
        images, points = lights(8)
        targets, _ = gaussian_targets(points, torch.ones(8, 3, dtype=torch.bool), (64, 64), network.map_size(64, 64))
        optimizer.zero_grad()
        (network(images) - targets).square().mean().backward()
        optimizer.step()
    images, points = lights(32)
    with torch.no_grad():
        maps, of_mirrored = (network.eval()(seen) for seen in (images, images.flip(-1)))
    order = [0, 1, 2]
    for seen in (maps, mirror_maps(of_mirrored, order), flip_average(maps, of_mirrored, order)):
        off = decode(seen, (64, 64), DecodeOptions("dark")).points - points
        assert off.norm(dim=-1).mean() < 0.5  # a cell has 4 px
        assert off.mean(dim=(0, 1)).abs().max() < 0.25


@torch.no_grad()
def test_another_head_leaves_the_rest_as_it_is() -> None:
    network = filled()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.replace_head(5)
    assert network.options == replace(TINY, points=5)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 8, 8)
    for name, value in network.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, before[name])
    assert not torch.equal(network.state_dict()["head.0.weight"], before["head.0.weight"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"points": 0}, r"network\.points is 0"),
        ({"channels": (8, 16, 32)}, r"network\.channels is \[8, 16, 32\]; expected 4 numbers"),
        ({"modules": (1, 1, 0)}, r"network\.modules is \(1, 1, 0\); expected at least 1"),
        ({"momentum": 0.0}, r"network\.momentum is 0\.0"),
    ],
)
def test_senseless_sizes_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        HRNetOptions(**settings)  # type: ignore[arg-type]
