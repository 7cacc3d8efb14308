from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork, image_net_normalized, move_points, read_architecture
from dife_lightning.nn.cats.aggregator import Block, TransformerAggregator
from dife_lightning.nn.cats.backbone import HyperpixelFeatures, ResNet
from dife_lightning.nn.cats.correlation import correlate, mutual, soft_argmax, to_flow, unit_length
from tests.nn.filled import fill, load_filled
from tests.tiny import TINY_CATS

Shared = Callable[[str], Path]
GOLDEN = "golden/cats"
TINY = CATsArchitecture(**TINY_CATS)
LINE = torch.linspace(-1, 1, 16)


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def shapes(module: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in module.state_dict().items()}


# Against the public network


def test_names_and_shapes_are_the_official_ones(shared: Shared) -> None:
    expected = json.loads(shared(f"{GOLDEN}/cats_depth1_shapes.json").read_text())
    with torch.device("meta"):
        network = CATsNetwork(CATsArchitecture(classes=1000))
        deeper = CATsNetwork(CATsArchitecture(classes=1000, depth=4))
    assert shapes(network) == expected
    assert sum(p.numel() for p in network.parameters()) == 49_173_320
    more = json.loads(shared(f"{GOLDEN}/cats_extra_keys_of_class_default_depth4.json").read_text())
    assert set(deeper.state_dict()) - set(expected) == set(more)


@pytest.mark.parametrize(
    ("name", "sizes"), [("agg_a", (3, 6, 12, 2, 6)), ("agg_b_1level", (1, 5, 7, 1, 4))], ids=["a", "one_level"]
)
def test_aggregators_of_several_sizes_are_reproduced(shared: Shared, name: str, sizes: tuple[int, ...]) -> None:
    aggregator = load_filled(TransformerAggregator(*sizes))
    assert shapes(aggregator) == json.loads(shared(f"{GOLDEN}/{name}_shapes.json").read_text())
    checks = json.loads(shared(f"{GOLDEN}/fill_checks.json").read_text())[name]
    filled = sum(value.double().abs().sum().item() for value in aggregator.state_dict().values())
    assert filled == pytest.approx(checks["abs_sum"], rel=1e-6)
    io = arrays(shared(f"{GOLDEN}/io_aggregator.npz"))
    with torch.no_grad():
        found = aggregator(*(io[f"{name}.{part}"] for part in ("corr", "source", "target")))
    torch.testing.assert_close(found, io[f"{name}.out"], atol=1e-4, rtol=0)


def test_stored_weights_of_an_aggregator_load_as_they_are(shared: Shared) -> None:
    aggregator = TransformerAggregator(3, 6, 12, 2).eval()
    aggregator.load_state_dict(torch.load(shared(f"{GOLDEN}/agg_a.pth"), weights_only=True))
    io = arrays(shared(f"{GOLDEN}/io_aggregator.npz"))
    with torch.no_grad():
        found = aggregator(io["agg_a.corr"], io["agg_a.source"], io["agg_a.target"])
    torch.testing.assert_close(found, io["agg_a.out"], atol=1e-4, rtol=0)


def test_pieces_without_weights_are_reproduced(shared: Shared) -> None:
    io = arrays(shared(f"{GOLDEN}/io_pieces.npz"))
    positions = soft_argmax(io["softargmax.in"].flatten(2), LINE, LINE, 0.02)
    found = {
        "mutual.out": mutual(io["mutual.in"]),
        "l2norm.out": unit_length(io["l2norm.in"]),
        "softargmax.grid_x": positions[:, :1],
        "softargmax.grid_y": positions[:, 1:],
        "softargmax.flow": to_flow(positions),
    }
    for name, value in found.items():
        torch.testing.assert_close(value, io[name], atol=1e-5, rtol=0, msg=name)


def test_points_rounded_as_in_public_are_moved_as_there(shared: Shared) -> None:
    io = arrays(shared(f"{GOLDEN}/io_pieces.npz"))
    points, expected = (io[f"flow2kps.{name}"].transpose(1, 2) for name in ("trg_kps", "out"))
    moved = move_points(points, io["softargmax.flow"], 256, rounding=True)
    given = torch.arange(points.shape[1]) < io["flow2kps.n_pts"][:, None]
    assert given.sum() == 17
    torch.testing.assert_close(moved[given], expected[given], atol=2e-5, rtol=0)
    unrounded = move_points(points, io["softargmax.flow"], 256)
    assert (unrounded - moved)[given].abs().max() > 0.5


@torch.no_grad()
def test_the_full_size_network_is_reproduced(shared: Shared) -> None:
    io = arrays(shared(f"{GOLDEN}/io_cats_depth1_fill.npz"))
    network = CATsNetwork(CATsArchitecture(classes=1000)).eval()
    kept = ("x_normal", "y_normal")
    weights = {k: fill(k, tuple(v.shape)) for k, v in network.state_dict().items() if k not in kept}
    network.load_state_dict(weights, strict=False)
    source, target = (
        image_net_normalized(F.interpolate(io[f"{name}_u8"].float(), scale_factor=8.0) / 127.5 - 1)
        for name in ("source", "target")
    )
    both = network.features(torch.cat((source, target)))
    features, others = [maps[:1] for maps in both], [maps[1:] for maps in both]
    for i, maps in enumerate(features):
        torch.testing.assert_close(maps[:, ::32], io[f"src_feat{i}_ch32"], atol=1e-3, rtol=0)
    for i in (0, 7):
        found = mutual(correlate(features[i], others[i]))[:, ::2, ::2]
        torch.testing.assert_close(found, io[f"corr_level{i}"], atol=1e-3, rtol=0)
    torch.testing.assert_close(network._appearance(features)[:, 3], io["src_proj_level3"], atol=1e-3, rtol=0)
    torch.testing.assert_close(network.refined(others, features), io["refined"], atol=1e-3, rtol=0)
    torch.testing.assert_close(network.flow(others, features), io["flow"], atol=5e-3, rtol=0)


# Against closed forms and torch


def test_a_block_of_one_level_is_torchs_encoder_layer() -> None:
    block = Block(levels=1, dim=12, heads=3, hidden=20).eval()
    layer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True)
    names = {
        "attn.qkv.": "self_attn.in_proj_",
        "attn.proj.": "self_attn.out_proj.",
        "mlp.fc1.": "linear1.",
        "mlp.fc2.": "linear2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    state = {k: torch.randn_like(v) for k, v in block.state_dict().items()}
    block.load_state_dict(state)
    ends = ("weight", "bias")
    layer.load_state_dict({theirs + end: state[ours + end] for ours, theirs in names.items() for end in ends})
    x = torch.randn(2, 1, 7, 12)
    torch.testing.assert_close(block(x)[:, 0], layer(x[:, 0]), atol=1e-4, rtol=1e-4)


def test_levels_see_each_other_at_one_cell_only() -> None:
    block = Block(levels=2, dim=12, heads=3, hidden=20)
    block.attn = nn.Identity()  # type: ignore[assignment]  # so that cells do not see each other
    x = torch.randn(1, 2, 5, 12)
    changed = x.clone()
    changed[0, 1, 3] += torch.randn(12)
    differs = (block(changed) - block(x)).abs().amax(-1)[0] > 1e-6
    assert differs.nonzero().tolist() == [[0, 3], [1, 3]]


def test_mutual_leaves_a_matching_as_it_is_and_lessens_what_is_no_ones_best() -> None:
    matching = torch.eye(5)[torch.tensor([2, 0, 4, 1, 3])][None] * 0.7
    assert torch.equal(mutual(matching), matching)
    found = mutual(torch.tensor([[1.0, 0.5], [0.5, 0.25]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.25], [0.25, 0.25 * 0.5 * 0.5]]))
    assert torch.equal(mutual(torch.zeros(1, 3, 3)), torch.zeros(1, 3, 3))


def test_soft_argmax_equals_a_slow_twin() -> None:
    correlation = torch.randn(2, 12, 12).double() * 0.1
    x, y = torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 3)
    found = soft_argmax(correlation, x, y, 0.3)
    assert found.shape == (2, 2, 3, 4)
    for b, row, column in np.ndindex(2, 3, 4):
        values = [np.exp(correlation[b, s, row * 4 + column].item() / 0.3) for s in range(12)]
        expected = [sum(v * line[index(s)] for s, v in enumerate(values)) / sum(values) for line, index in BY_CELL]
        torch.testing.assert_close(found[b, :, row, column].double(), torch.tensor(expected), atol=1e-6, rtol=0)


BY_CELL: list[tuple[list[float], Callable[[int], int]]] = [
    ([-1, -1 / 3, 1 / 3, 1], lambda s: s % 4),
    ([-1, 0, 1], lambda s: s // 4),
]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, -2)])
def test_features_moved_by_whole_cells_give_that_flow(dx: int, dy: int) -> None:
    target = torch.randn(1, 64, 16, 16)
    source = target.roll((dy, dx), (2, 3))
    positions = soft_argmax(mutual(correlate(source, target)), LINE, LINE, 0.02)
    flow = to_flow(positions)[0, :, max(0, -dy) : 16 - max(0, dy), max(0, -dx) : 16 - max(0, dx)]
    expected = torch.tensor([dx, dy]).float()[:, None, None].expand_as(flow)
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=0)


def test_points_move_by_the_flow_under_them_in_pixels() -> None:
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    flow = torch.stack((0.5 * x + 1, -0.25 * y))[None]  # linear, so that reading it bilinearly is exact
    points = torch.rand(1, 20, 2) * 200 + 20
    cells = (points + 0.5) / 16 - 0.5
    expected = points + 16 * torch.stack((0.5 * cells[..., 0] + 1, -0.25 * cells[..., 1]), -1)
    torch.testing.assert_close(move_points(points, flow, 256), expected, atol=1e-3, rtol=0)


def test_points_on_pixels_are_read_as_from_the_enlarged_flow() -> None:
    flow = torch.randn(2, 2, 16, 16)
    large = F.interpolate(flow, (64, 64), mode="bilinear", align_corners=False) * 4
    points = torch.randint(0, 64, (2, 9, 2))
    read = torch.stack([large[b, :, points[b, :, 1], points[b, :, 0]].T for b in range(2)])
    torch.testing.assert_close(move_points(points, flow, 64), points + read)


def test_the_mean_colour_of_imagenet_becomes_zero() -> None:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = torch.stack((mean, mean + deviation))[:, :, None, None] * 2 - 1
    expected = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1)
    torch.testing.assert_close(image_net_normalized(images), expected, atol=1e-6, rtol=0)


# Networks of other sizes


@pytest.mark.parametrize("changes", [{}, {"hyperpixels": (2,)}, {"classes": 3, "blocks": (1, 1, 1)}], ids=str)
def test_what_is_trained_gets_a_gradient_and_nothing_else_is(changes: dict[str, Any]) -> None:
    more = {"planes": (4, 4, 4)} if "blocks" in changes else {}
    network = CATsNetwork(replace(TINY, **changes, **more))
    network(torch.randn(3, 3, 32, 32), torch.randn(3, 3, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert {"x_normal", "y_normal", "decoder.norm.weight"} <= frozen
    assert "decoder.proj.weight" not in frozen


def test_what_lies_behind_the_last_hyperpixel_is_not_computed() -> None:
    backbone = ResNet(4, (1, 2), (4, 4))
    features = HyperpixelFeatures(backbone, (0, 2), 6).eval()
    found = features(torch.randn(1, 3, 32, 32))
    assert [tuple(maps.shape) for maps in found] == [(1, 4, 6, 6), (1, 16, 6, 6)]
    backbone.bottlenecks()[2].register_forward_hook(lambda *_: pytest.fail("computed"))
    features(torch.randn(1, 3, 32, 32))


def test_hyperpixels_are_the_sums_before_the_relu() -> None:
    backbone = ResNet(4, (1, 1), (4, 4)).eval()
    maps = list(backbone.maps(torch.randn(1, 3, 32, 32)))
    assert [m.shape[1] for m in maps] == [4, 16, 16] == list(backbone.widths)
    assert [m.shape[-1] for m in maps] == [8, 8, 4]
    assert maps[0].min() >= 0 > maps[1].min()
    block = backbone.bottlenecks()[1]
    torch.testing.assert_close(maps[2], block(maps[1].clamp(min=0)))


def test_the_target_comes_first_and_the_flow_starts_there() -> None:
    network = CATsNetwork(TINY).eval()
    a, b = torch.randn(2, 1, 3, 32, 32).unbind(0)
    features = [network.features(x) for x in (a, b)]
    found = network(a, b)
    torch.testing.assert_close(found, network.flow(target=features[0], source=features[1]), atol=1e-3, rtol=0)
    assert (found - network(b, a)).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_correlations_and_flow_are_float32_under_autocast(dtype: torch.dtype) -> None:
    maps = torch.randn(2, 1, 8, 6, 6)
    line = torch.linspace(-1, 1, 6)
    whole = mutual(correlate(*maps))
    with torch.autocast("cpu", dtype):
        half = mutual(correlate(*maps))
        flow = to_flow(soft_argmax(half, line, line, 0.02))
        network_flow = CATsNetwork(TINY)(torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32))
    assert torch.equal(half, whole)
    assert torch.equal(flow, to_flow(soft_argmax(whole, line, line, 0.02)))
    assert network_flow.dtype == torch.float32
    assert network_flow.isfinite().all()


@pytest.mark.parametrize("changes", [{}, {"classes": 7}, {"depth": 3, "mlp_ratio": 2.3}, {"hyperpixels": (2,)}])
def test_sizes_are_read_back_from_the_tensors(changes: dict[str, Any]) -> None:
    wanted = replace(TINY, size=16 * TINY.side, **changes)
    state = CATsNetwork(wanted).state_dict()
    found = read_architecture(state, wanted.hyperpixels, wanted.heads)
    assert replace(found, mlp_ratio=wanted.mlp_ratio) == wanted
    assert shapes(CATsNetwork(found)) == {name: list(value.shape) for name, value in state.items()}


def test_levels_that_no_hyperpixels_are_named_for_are_told() -> None:
    with pytest.raises(CheckpointError, match=r"2 levels, but 8 hyperpixels.*args\.pkl"):
        read_architecture(CATsNetwork(TINY).state_dict())


BAD: list[tuple[dict[str, Any], str]] = [
    ({"heads": 5}, r"6 \* 6 \+ 12 = 48 channels.*5 heads"),
    ({"appearance": 13, "heads": 7}, "even"),
    ({"hyperpixels": ()}, r"hyperpixels \[\]"),
    ({"hyperpixels": (0, 9)}, r"from 0 to 2"),
    ({"hyperpixels": (2, 1)}, "rising"),
    ({"blocks": (1, 1, 1)}, "planes"),
    ({"blocks": (0, 1)}, "blocks"),
    ({"temperature": 0.0}, "temperature is 0.0"),
    ({"side": 1}, "side is 1; expected at least 2"),
]


@pytest.mark.parametrize(("changes", "text"), BAD, ids=[str(changes) for changes, _ in BAD])
def test_sizes_that_do_not_fit_are_refused_in_one_line(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        CATsNetwork(CATsArchitecture(**{**TINY_CATS, **changes}))
    assert "\n" not in str(error.value)
