"""The generator against public networks, and what it computes and does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dife_lightning.errors import ConfigError
from dife_lightning.methods._stylegan2.parts import average_into
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator, layer_resolution, truncate
from tests.nn.filled import read_golden
from tests.nn.public_stylegan2 import read_nvlabs, read_rosinality

Shared = Callable[[str], Path]
TINY = Architecture((8, 8, 6, 4), z_dim=8, w_dim=8, mapping_layers=2)


@pytest.fixture
def rosinality(shared: Shared) -> StyleGAN2Generator:
    network = StyleGAN2Generator(Architecture((32, 32, 32, 24, 16, 8), 64, 64, 0, 4))
    state = read_rosinality(shared("golden/stylegan2_rosinality/generator_128.pt"))
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("resample_filter") for name in missing)
    return network.requires_grad_(False)


@pytest.fixture
def nvlabs(shared: Shared) -> StyleGAN2Generator:
    network = StyleGAN2Generator(Architecture((32, 32, 32, 32, 16, 8), 64, 64, 0, 4))
    network.load_state_dict(read_nvlabs(shared("golden/stylegan2_ada_nvlabs/network_uncond_128.pkl"))["G_ema"])
    return network.requires_grad_(False)


def close(found: Tensor | None, expected: Tensor, tolerance: float = 1e-4) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_images_and_w_equal_rosinality(rosinality: StyleGAN2Generator, shared: Shared) -> None:
    io = read_golden(shared("golden/stylegan2_rosinality/io_main.npz"))
    close(rosinality.map(io["z"]), io["latent_psi1"], 1e-5)
    close(rosinality.map(io["z"], truncation=0.7), io["latent_psi07"], 1e-5)
    close(rosinality(io["z"]), io["image_psi1"])
    close(rosinality(io["z"], truncation=0.7), io["image_psi07"])
    close(rosinality.mapping(io["z_for_latent_avg"]).mean(0), io["latent_avg"], 1e-5)


def test_every_layer_equals_rosinality(rosinality: StyleGAN2Generator, shared: Shared) -> None:
    z = read_golden(shared("golden/stylegan2_rosinality/io_main.npz"))["z"]
    features = read_golden(shared("golden/stylegan2_rosinality/features_psi1.npz"))
    ws = rosinality.map(z)
    for layer in (1, 3, 5, 7, 9):
        side = layer_resolution(layer)
        _, found = rosinality.synthesis(ws, layer)
        assert found is not None
        close(found[:1], features[f"layer_i{layer}_{side}x{side}"])


def test_mixed_and_free_w_equal_rosinality(rosinality: StyleGAN2Generator, shared: Shared) -> None:
    io = read_golden(shared("golden/stylegan2_rosinality/io_mix_wplus.npz"))
    close(rosinality.synthesis(io["wplus"])[0], io["image_wplus"])
    mixed = torch.cat((rosinality.map(io["z"])[:, :4], rosinality.map(io["z2"])[:, 4:]), dim=1)
    close(mixed, io["latent_mix_inject4"], 1e-5)
    close(rosinality.synthesis(mixed)[0], io["image_mix_inject4"])


def test_images_truncation_and_noise_equal_nvlabs(nvlabs: StyleGAN2Generator, shared: Shared) -> None:
    io = read_golden(shared("golden/stylegan2_ada_nvlabs/io_uncond_128.npz"))
    close(nvlabs.map(io["z"]), io["ws_psi1"], 1e-5)
    close(nvlabs.map(io["z"], truncation=0.7), io["ws_psi07"], 1e-5)
    close(nvlabs.map(io["z"], truncation=0.5, cutoff=5), io["ws_psi05_cutoff5"], 1e-5)
    close(nvlabs(io["z"]), io["image_psi1"])
    close(nvlabs(io["z"], truncation=0.7), io["image_psi07"])
    close(nvlabs(io["z"][:1], noise="none"), io["image_psi1_noise_none"])


def test_inner_maps_equal_nvlabs(nvlabs: StyleGAN2Generator, shared: Shared) -> None:
    z = read_golden(shared("golden/stylegan2_ada_nvlabs/io_uncond_128.npz"))["z"][:1]
    expected = read_golden(shared("golden/stylegan2_ada_nvlabs/features_uncond_128_psi1.npz"))
    found: dict[str, Tensor] = {}
    for name in expected:
        if name.endswith(("conv0", "conv1", "torgb")):
            module = nvlabs.synthesis.get_submodule(name)
            module.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: out}))
    nvlabs(z)
    assert len(found) > 12
    for name, value in found.items():
        close(value, expected[name])


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("uncond_128", Architecture((32, 32, 32, 32, 16, 8), 64, 64, 0, 4)),
        ("cond3_32", Architecture((24, 24, 24, 16), 64, 64, 3, 4)),
    ],
)
def test_tensor_names_and_shapes_are_those_of_nvlabs(shared: Shared, name: str, architecture: Architecture) -> None:
    shapes = json.loads(shared("golden/stylegan2_ada_nvlabs/state_dict_shapes.json").read_text())[name]["G_ema"]
    own = StyleGAN2Generator(architecture).state_dict()
    assert {key: list(value.shape) for key, value in own.items()} == shapes


def test_a_published_256_px_network_has_its_published_size() -> None:
    channels = (512, 512, 512, 512, 256, 128, 64)
    with torch.device("meta"):
        network = StyleGAN2Generator(Architecture(channels))
    assert network.architecture.num_ws == 14
    assert sum(p.numel() for p in network.parameters()) == 24_767_458


def count_calls(network: nn.Module) -> list[str]:
    called: list[str] = []
    for name, module in network.named_modules():
        if not list(module.children()) or name.endswith(("conv0", "conv1", "torgb")):
            module.register_forward_hook(lambda _m, _i, _o, name=name: called.append(name))
    return called


def test_a_tap_computes_nothing_above_it_and_no_rgb() -> None:
    network = StyleGAN2Generator(TINY)
    called = count_calls(network.synthesis)
    image, features = network.synthesis(torch.randn(2, 8, 8), 3)
    assert image is None
    assert features is not None
    assert features.shape == (2, 6, 16, 16)
    assert not [name for name in called if "torgb" in name or "b32" in name]
    assert {name.split(".")[0] for name in called} == {"b4", "b8", "b16"}


def test_one_pass_gives_the_same_image_and_features_as_two() -> None:
    network = StyleGAN2Generator(TINY)
    ws = torch.randn(2, 8, 8)
    image, features = network.synthesis(ws, tap_layer=5)
    torch.testing.assert_close(image, network.synthesis(ws)[0])
    torch.testing.assert_close(features, network.synthesis(ws, 5)[1])


def test_frozen_parameters_leave_no_graph_and_w_still_gets_its_gradient() -> None:
    network = StyleGAN2Generator(TINY).requires_grad_(False)
    ws = torch.randn(1, 8, 8)
    image, _ = network.synthesis(ws)
    assert image is not None
    assert not image.requires_grad
    ws.requires_grad_()
    _, features = network.synthesis(ws, 1)
    assert features is not None
    features.sum().backward()
    assert ws.grad is not None
    assert (ws.grad[0, :3].abs().sum(1) > 0).all()  # b4.conv1, b8.conv0, b8.conv1
    assert (ws.grad[0, 3:] == 0).all()
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_what_is_kept_of_frozen_weights_follows_every_change(precision: torch.dtype | None) -> None:
    def image(network: StyleGAN2Generator) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is not None):
            return network(z)

    kept, plain = (StyleGAN2Generator(TINY) for _ in range(2))
    z = torch.randn(2, TINY.z_dim)
    kept.requires_grad_(False)
    for step in range(4):
        other = StyleGAN2Generator(TINY)
        if step == 1:
            kept.load_state_dict(other.state_dict())
        elif step == 2:
            average_into(kept, other, 0.3)
        elif step == 3:  # both: in bfloat16 a kernel for another format may round otherwise
            for network in (kept, plain):
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        plain.load_state_dict(kept.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(image(kept), image(plain), atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(image(kept), image(plain), atol=1e-6, rtol=1e-6)


def test_weights_in_training_keep_nothing() -> None:
    network = StyleGAN2Generator(TINY)
    network(torch.randn(2, TINY.z_dim)).square().sum().backward()
    weights = [p for name, p in network.named_parameters() if name.endswith("conv1.weight")]
    assert weights
    assert all(p.grad is not None and bool(p.grad.any()) for p in weights)


def test_gradient_with_respect_to_w_agrees_with_finite_differences() -> None:
    network = StyleGAN2Generator(Architecture((3, 3), 4, 4, 0, 1)).requires_grad_(False)
    network.synthesis.double()
    # fully connected layers compute in fp32 on purpose, so the step is coarse
    ws = torch.randn(1, 4, 4, requires_grad=True)
    image, _ = network.synthesis(ws)
    assert image is not None
    weights = torch.randn_like(image)
    (image * weights).sum().backward()
    direction = torch.randn_like(ws)

    def value(t: float) -> float:
        moved, _ = network.synthesis(ws.detach() + t * direction)
        assert moved is not None
        return float((moved.double() * weights).sum())

    numeric = (value(2e-3) - value(-2e-3)) / 4e-3
    assert ws.grad is not None
    assert float((ws.grad * direction).sum()) == pytest.approx(numeric, rel=2e-2, abs=2e-2)


def test_random_noise_differs_and_constant_noise_does_not() -> None:
    network = StyleGAN2Generator(TINY)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.5)
    z = torch.randn(1, 8)
    assert torch.equal(network(z), network(z))
    first = network(z, noise="random", rng=torch.Generator().manual_seed(1))
    second = network(z, noise="random", rng=torch.Generator().manual_seed(2))
    again = network(z, noise="random", rng=torch.Generator().manual_seed(1))
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_truncation_zero_gives_the_mean_face_and_a_cutoff_spares_the_rest() -> None:
    ws, mean = torch.randn(2, 6, 8), torch.randn(8)
    assert torch.equal(truncate(ws, mean, 1.0), ws)
    torch.testing.assert_close(truncate(ws, mean, 0.0), mean.expand(2, 6, 8))
    cut = truncate(ws, mean, 0.5, cutoff=2)
    torch.testing.assert_close(cut[:, :2], (ws[:, :2] + mean) / 2)
    assert torch.equal(cut[:, 2:], ws[:, 2:])


def test_classes_change_w_and_must_be_given() -> None:
    network = StyleGAN2Generator(Architecture((8, 8), 8, 8, 3, 2))
    z = torch.randn(1, 8).expand(3, 8)
    w = network.map(z, torch.eye(3))
    assert not torch.allclose(w[0], w[1])
    with pytest.raises(ConfigError, match="conditional"):
        network.map(z)


def test_bfloat16_autocast_stays_near_full_precision() -> None:
    network = StyleGAN2Generator(TINY).requires_grad_(False).to(memory_format=torch.channels_last)
    ws = network.map(torch.randn(4, 8))
    exact, _ = network.synthesis(ws)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = network.synthesis(ws)
    assert exact is not None
    assert rough is not None
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().mean() / exact.std()) < 0.02


@pytest.mark.parametrize("layer", [0, 2, -1, 7])
def test_layers_that_do_not_exist_are_refused(layer: int) -> None:
    with pytest.raises(ConfigError, match="layer"):
        StyleGAN2Generator(TINY).synthesis(torch.zeros(1, 8, 8), layer)


def test_layer_numbers_are_the_papers() -> None:
    assert [layer_resolution(layer) for layer in (1, 3, 5, 7, 9)] == [8, 16, 32, 64, 128]


def test_the_running_mean_of_w_moves_by_its_decay() -> None:
    mapping = StyleGAN2Generator(TINY).mapping
    mapping.update_average(torch.ones(4, 8), decay=0.9)
    mapping.update_average(torch.ones(4, 8), decay=0.9)
    torch.testing.assert_close(mapping.w_avg, torch.full((8,), 1 - 0.9**2))
