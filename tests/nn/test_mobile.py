"""Mobile networks against a straight computation on their public tensors, which shares no code with the modules."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.nn.mobile import EFFICIENTNET_LITE0, MOBILENET_V2, MobileNet
from dife_lightning.pretrained.imagenet import FILES

#: Strides and kernels of the blocks, typed from the papers' tables.
V2_STRIDES = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
LITE_STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
LITE_KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]


def filled(network: MobileNet) -> MobileNet:
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.normal_(std=0.3)
    return network.eval()


def norm(x: Tensor, state: dict[str, Tensor], key: str, epsilon: float) -> Tensor:
    scale = state[f"{key}.weight"] / (state[f"{key}.running_var"] + epsilon).sqrt()
    return x * scale[:, None, None] + (state[f"{key}.bias"] - state[f"{key}.running_mean"] * scale)[:, None, None]


def mobilenet(x: Tensor, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Run MobileNetV2 by torchvision's keys, as its paper says."""
    x = norm(F.conv2d(x, state["features.0.0.weight"], stride=2, padding=1), state, "features.0.1", 1e-5).clamp(0, 6)
    yield x
    for block, stride in enumerate(V2_STRIDES, 1):
        at, y = f"features.{block}.conv", x
        parts = [f"{at}.0"] if block == 1 else [f"{at}.0", f"{at}.1"]
        for k, part in enumerate(parts):
            weight = state[f"{part}.0.weight"]
            deep = k == len(parts) - 1
            options = {"stride": stride, "padding": 1, "groups": len(weight)} if deep else {}
            y = norm(F.conv2d(y, weight, **options), state, f"{part}.1", 1e-5).clamp(0, 6)
        last = len(parts)
        y = norm(F.conv2d(y, state[f"{at}.{last}.weight"]), state, f"{at}.{last + 1}", 1e-5)
        x = x + y if y.shape == x.shape else y
        yield x


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad by TensorFlow's rule: the output has ceil(side / stride) cells, the odd pixel is at the right and bottom."""
    height, width = x.shape[-2:]
    pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (width, height)]
    return F.pad(x, (pads[0] // 2, pads[0] - pads[0] // 2, pads[1] // 2, pads[1] - pads[1] // 2))


def efficientnet(x: Tensor, state: dict[str, Tensor]) -> Iterator[Tensor]:
    """Run EfficientNet-Lite0 by the keys of EfficientNet-PyTorch, as its table says."""
    x = norm(F.conv2d(same(x, 3, 2), state["_conv_stem.weight"], stride=2), state, "_bn0", 1e-3).clamp(0, 6)
    yield x
    for block, (stride, kernel) in enumerate(zip(LITE_STRIDES, LITE_KERNELS, strict=True)):
        at, y = f"_blocks.{block}", x
        if block:
            y = norm(F.conv2d(y, state[f"{at}._expand_conv.weight"]), state, f"{at}._bn0", 1e-3).clamp(0, 6)
        weight = state[f"{at}._depthwise_conv.weight"]
        assert weight.shape[-1] == kernel
        y = F.conv2d(same(y, kernel, stride), weight, stride=stride, groups=len(weight))
        y = norm(y, state, f"{at}._bn1", 1e-3).clamp(0, 6)
        y = norm(F.conv2d(y, state[f"{at}._project_conv.weight"]), state, f"{at}._bn2", 1e-3)
        x = x + y if y.shape == x.shape else y
        yield x


def public_keys(name: str, network: MobileNet) -> dict[str, Tensor]:
    """Return the network's tensors by their public keys, found by trying all keys of the file's form."""
    rename, own = FILES[name].rename, network.state_dict()
    leaves = ("weight", "bias", "running_mean", "running_var")
    if name == "mobilenet_v2":
        keys = [f"features.0.{k}.{leaf}" for k in (0, 1) for leaf in leaves]
        keys += [f"features.{b}.conv.{k}.{leaf}" for b in range(1, 18) for k in range(4) for leaf in leaves]
        keys += [
            f"features.{b}.conv.{k}.{j}.{leaf}" for b in range(1, 18) for k in (0, 1) for j in (0, 1) for leaf in leaves
        ]
    else:
        parts = ("_expand_conv", "_depthwise_conv", "_project_conv", "_bn0", "_bn1", "_bn2")
        keys = [f"{part}.{leaf}" for part in ("_conv_stem", "_bn0") for leaf in leaves]
        keys += [f"_blocks.{b}.{part}.{leaf}" for b in range(16) for part in parts for leaf in leaves]
    found = {key: own[rename(key)] for key in keys if rename(key) in own}
    assert len(found) == sum(not key.endswith("num_batches_tracked") for key in own)
    return found


@pytest.mark.parametrize(
    ("name", "options", "reference", "count"),
    [("mobilenet_v2", MOBILENET_V2, mobilenet, 18), ("efficientnet_lite0", EFFICIENTNET_LITE0, efficientnet, 17)],
)
@pytest.mark.parametrize("side", [64, 70])
def test_every_map_is_that_of_a_straight_computation(name, options, reference, count, side) -> None:
    network = filled(MobileNet(options))
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        found = network(images).hidden_states
    expected = list(reference(images, public_keys(name, network)))
    assert len(found) == len(expected) == count
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sizes_are_those_of_the_papers() -> None:
    for options, millions in ((MOBILENET_V2, 1.81), (EFFICIENTNET_LITE0, 2.96)):
        count = sum(value.numel() for value in MobileNet(options).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.01), f"{count}"
    assert all(re.fullmatch(r"[0-9a-f]{64}", known.sha256) for known in FILES.values())
