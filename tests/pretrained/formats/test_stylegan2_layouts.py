"""Generators in the layouts of NVlabs and rosinality: what is written by another hand is read to the same images."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dife_lightning import load_generator
from dife_lightning.errors import CheckpointError
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from tests.nn.filled import read_golden
from tests.pretrained.formats.writers import rosinality_state, write_nvlabs, write_rosinality

Shared = Callable[[str], Path]
SHAPES = {
    "plain": Architecture((8, 8, 6, 4), z_dim=8, w_dim=8, mapping_layers=2),
    "other_widths": Architecture((6, 12, 4), z_dim=10, w_dim=8, mapping_layers=3),
    "deep_mapping_1024": Architecture((4, 4, 4, 4, 4, 2, 2, 2, 2), z_dim=6, w_dim=6, mapping_layers=8),
}


def random_generator(architecture: Architecture) -> StyleGAN2Generator:
    """A generator in which no parameter or buffer is at its special starting value."""
    network = StyleGAN2Generator(architecture)
    with torch.no_grad():
        for name, value in [*network.named_parameters(), *network.named_buffers()]:
            if not name.endswith("resample_filter"):
                value.copy_(torch.randn(value.shape) * (0.3 if name.endswith("weight") else 1))
    return network.requires_grad_(False)


def images(network: StyleGAN2Generator, z: Tensor, c: Tensor | None = None) -> Tensor:
    return network(z, c, truncation=0.7)


@pytest.mark.parametrize("name", ["plain", "other_widths"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_networks_of_nvlabs_are_read_exactly(tmp_path: Path, name: str, protocol: int) -> None:
    network = random_generator(SHAPES[name])
    write_nvlabs(tmp_path / "n.pkl", network, protocol=protocol)
    found = load_generator(tmp_path / "n.pkl")
    assert found.architecture == network.architecture
    z = torch.randn(2, network.architecture.z_dim)
    torch.testing.assert_close(images(found.network, z), images(network, z), atol=1e-5, rtol=1e-5)
    for key, value in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[key], value), key


def mapped(network: StyleGAN2Generator, z: Tensor, c: Tensor) -> Tensor:
    """NVlabs' mapping network, written out in double precision: the class is embedded and comes after z."""
    state = {name: value.double() for name, value in network.mapping.state_dict().items()}

    def unit(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()

    embedded = c.double() @ state["embed.weight"].T / c.shape[1] ** 0.5 + state["embed.bias"]
    x = torch.cat((unit(z.double()), unit(embedded)), dim=1)
    for i in range(network.architecture.mapping_layers):
        weight, bias = state[f"fc{i}.weight"], state[f"fc{i}.bias"]
        x = x @ weight.T * (0.01 / weight.shape[1] ** 0.5) + bias * 0.01
        x = torch.where(x < 0, 0.2 * x, x) * 2**0.5
    return x.float()


def test_classes_of_a_conditional_network_are_read(tmp_path: Path) -> None:
    network = random_generator(Architecture((8, 6, 4), z_dim=7, w_dim=8, c_dim=3, mapping_layers=2))
    write_nvlabs(tmp_path / "n.pkl", network, protocol=3)
    found = load_generator(tmp_path / "n.pkl")
    assert (found.architecture.c_dim, found.architecture.z_dim) == (3, 7)
    z = torch.randn(3, 7)
    torch.testing.assert_close(found.map(z, torch.eye(3))[:, 0], mapped(network, z, torch.eye(3)), atol=1e-4, rtol=1e-4)
    expected = images(network, z, torch.eye(3))
    torch.testing.assert_close(found.image(found.map(z, torch.eye(3), truncation=0.7)), expected, atol=1e-5, rtol=1e-5)


def test_bounds_of_networks_for_half_precision_are_kept(tmp_path: Path) -> None:
    network = random_generator(SHAPES["plain"])
    write_nvlabs(tmp_path / "n.pkl", network, conv_clamp=0.5)
    found = load_generator(tmp_path / "n.pkl")
    assert found.architecture.conv_clamp == 0.5
    w = found.map(torch.randn(2, 8))
    assert float(found.features(w, 3).abs().max()) == 0.5
    free = StyleGAN2Generator(SHAPES["plain"])
    free.load_state_dict(network.state_dict())
    features = free.requires_grad_(False).synthesis(w, 3)[1]
    assert features is not None
    assert float(features.abs().max()) > 0.5


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("zipped", [True, False])
def test_networks_of_rosinality_are_read_exactly(tmp_path: Path, name: str, zipped: bool) -> None:
    network = random_generator(SHAPES[name])
    write_rosinality(tmp_path / "r.pt", network, zipped=zipped)
    found = load_generator(tmp_path / "r.pt")
    assert found.architecture == network.architecture
    for key, value in network.state_dict().items():
        torch.testing.assert_close(found.network.state_dict()[key], value, atol=1e-6, rtol=1e-6)


def test_training_snapshots_get_their_mean_w_from_the_network(tmp_path: Path) -> None:
    network = random_generator(SHAPES["plain"])
    write_rosinality(tmp_path / "r.pt", network, mean=False)
    found = load_generator(tmp_path / "r.pt")
    sample = found.network.mapping(torch.randn(4096, 8))
    spread = sample.std(0) / 64  # standard error of a mean of 4096
    assert bool(((found.mean_w - sample.mean(0)).abs() < 7 * spread).all())


def test_files_without_noise_get_the_same_noise_each_time(tmp_path: Path) -> None:
    network = random_generator(SHAPES["plain"])
    state = {k: v for k, v in rosinality_state(network).items() if not k.startswith("noises")}
    found = []
    for name in ("a.pt", "b.pt"):
        torch.save({"g_ema": state, "latent_avg": network.mapping.w_avg}, tmp_path / name)
        found.append(load_generator(tmp_path / name).network.state_dict()["synthesis.b8.conv0.noise_const"])
    assert torch.equal(found[0], found[1])
    assert 0.7 < float(found[0].std()) < 1.4


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (lambda s: s.pop("convs.1.conv.weight"), "has no tensor 'convs.1.conv.weight' ((1, 8, 8, 3, 3) in"),
    "missing_noise": (lambda s: s.pop("noises.noise_3"), "has no tensor 'noises.noise_3' ((1, 1, 16, 16) in"),
    "missing_layer": (lambda s: [s.pop(f"style.1.{k}") for k in ("weight", "bias")], "no tensor 'style.1.weight'"),
    "missing_block": (
        lambda s: [s.pop(k) for k in list(s) if k[:8] in ("convs.2.", "convs.3.")],
        "no tensor 'convs.2.conv.weight'",
    ),
    "shape": (
        lambda s: s.update({"convs.0.activate.bias": torch.zeros(3)}),
        "'convs.0.activate.bias' is (3,), .* (8,)",
    ),
    "noise": (
        lambda s: s.update({"noises.noise_3": torch.zeros(1, 1, 32, 32)}),
        "'noises.noise_3' is (1, 1, 32, 32), StyleGAN2Generator expects (1, 1, 16, 16)",
    ),
    "size_of_a_block": (
        lambda s: s.update({"convs.3.conv.weight": torch.zeros(1, 5, 6, 3, 3)}),
        "'convs.3.conv.weight' is (1, 5, 6, 3, 3), StyleGAN2Generator expects (1, 6, 6, 3, 3)",
    ),
    "size_of_w": (
        lambda s: s.update({"conv1.conv.modulation.weight": torch.zeros(8, 9)}),
        "'conv1.conv.modulation.weight' is (8, 9), StyleGAN2Generator expects (8, 8)",
    ),
    "an_axis_less": (
        lambda s: s.update({"to_rgbs.0.conv.weight": torch.zeros(3, 8, 1, 1)}),
        "'to_rgbs.0.conv.weight' is (3, 8, 1, 1), StyleGAN2Generator expects (1, 3, 8, 1, 1)",
    ),
    "unknown": (lambda s: s.update({"convs.0.extra": torch.zeros(3)}), "'convs.0.extra' (3,) has no place"),
    "index": (lambda s: s.update({"style.x.weight": torch.zeros(3, 3)}), "'style.x.weight' (3, 3) has no place"),
    "wide": (
        lambda s: s.update({"style.1.weight": torch.empty(0, 2_000_000)}),
        "more than 16384 channels: no StyleGAN2",
    ),
    "number": (
        lambda s: s.update({"convs.300.conv.weight": torch.zeros(1, 3, 3)}),
        "'convs.300.conv.weight' .* no place",
    ),
    "many_layers": (lambda s: s.update({"style.99.weight": torch.zeros(1)}), "no tensor 'style.3.weight'"),
    "many_blocks": (lambda s: s.update({"convs.99.conv.weight": torch.zeros(1)}), "no tensor 'convs.7.conv.weight'"),
    "axes": (lambda s: s.update({"style.1.weight": torch.zeros(3)}), "'style.1.weight' is (3,), .* expects 2 axes"),
    "kernel_side": (
        lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(3, 3)}),
        "'convs.0.conv.blur.kernel' is (3, 3), StyleGAN2Generator expects (4, 4)",
    ),
    "kernel": (lambda s: s.update({"convs.0.conv.blur.kernel": torch.ones(4, 4)}), "blur.kernel' is not the filter"),
    "kernel_of_nothing": (lambda s: s.update({"convs.1.conv.blur.kernel": torch.ones(4, 4)}), "has no place"),
    "numbers": (
        lambda s: s.update({"conv1.activate.bias": torch.zeros(8).int()}),
        "'conv1.activate.bias' is of torch.int32",
    ),
    "mean": (lambda s: s.update({"latent_avg": torch.zeros(3)}), "'latent_avg' is (3,), .* expects (8,)"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_the_first_wrong_tensor_is_named(tmp_path: Path, name: str) -> None:
    change, expected = BAD[name]
    state = rosinality_state(random_generator(SHAPES["plain"]))
    change(state)
    mean = {"latent_avg": state.pop("latent_avg")} if "latent_avg" in state else {}
    torch.save({"g_ema": state, **mean}, tmp_path / "r.pt")
    pattern = re.escape(expected).replace(r"\.\*", ".*")
    with pytest.raises(CheckpointError, match=rf"r\.pt\S* .*{pattern}") as error:
        load_generator(tmp_path / "r.pt")
    assert "\n" not in str(error.value)


BAD_NVLABS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "missing": (lambda s: s.pop("synthesis.b8.conv1.weight"), "no tensor 'synthesis.b8.conv1.weight'"),
    "missing_layer": (lambda s: s.pop("mapping.fc0.bias"), "no tensor 'mapping.fc0.bias'"),
    "size_of_a_block": (
        lambda s: s.update({"synthesis.b16.conv1.weight": torch.zeros(5, 6, 3, 3)}),
        "'synthesis.b16.conv1.weight' is (5, 6, 3, 3), StyleGAN2Generator expects (6, 6, 3, 3)",
    ),
    "size_of_w": (
        lambda s: s.update({"synthesis.b4.conv1.affine.weight": torch.zeros(8, 9)}),
        "'synthesis.b4.conv1.affine.weight' is (8, 9), StyleGAN2Generator expects (8, 8)",
    ),
    "unknown": (lambda s: s.update({"synthesis.b8.more": torch.zeros(2)}), "'synthesis.b8.more' (2,) has no place"),
    "numbers": (lambda s: s.update({"mapping.fc0.bias": torch.zeros(8).int()}), "'mapping.fc0.bias' is of torch.int32"),
    "too_large": (lambda s: s.update({"synthesis.b4096.x": torch.zeros(2)}), "'synthesis.b4096.x' (2,) has no place"),
    "many_layers": (lambda s: s.update({"mapping.fc99.bias": torch.zeros(8)}), "no tensor 'mapping.fc2.weight'"),
    "filter": (lambda s: s.update({"synthesis.b8.resample_filter": torch.ones(4, 4)}), "is not the filter"),
    "filter_side": (
        lambda s: s.update({"synthesis.b8.resample_filter": torch.ones(3, 3)}),
        "'synthesis.b8.resample_filter' is (3, 3), StyleGAN2Generator expects (4, 4)",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_NVLABS))
def test_the_first_wrong_tensor_of_nvlabs_is_named(tmp_path: Path, name: str) -> None:
    change, expected = BAD_NVLABS[name]
    state = random_generator(SHAPES["plain"]).state_dict()
    change(state)
    write_nvlabs(tmp_path / "n.pkl", nested(state))
    with pytest.raises(CheckpointError, match=re.escape(expected)) as error:
        load_generator(tmp_path / "n.pkl")
    assert "\n" not in str(error.value)


def nested(state: Mapping[str, Tensor]) -> nn.Module:
    """A module whose ``state_dict`` has these names and tensors."""
    root = nn.Module()
    for name, value in state.items():
        *parts, last = name.split(".")
        module = root
        for part in parts:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_buffer(last, value)
    return root


def test_other_kinds_are_told(tmp_path: Path) -> None:
    network = random_generator(SHAPES["plain"])
    write_nvlabs(tmp_path / "resnet.pkl", network, architecture="resnet")
    with pytest.raises(CheckpointError, match="is of architecture 'resnet'; only 'skip'"):
        load_generator(tmp_path / "resnet.pkl")
    write_nvlabs(tmp_path / "gain.pkl", network, bias_gain=0.02)
    with pytest.raises(CheckpointError, match=r"gain 0\.02; only 0\.01"):
        load_generator(tmp_path / "gain.pkl")
    write_nvlabs(tmp_path / "usual.pkl", network, bias_gain=0.01)
    assert load_generator(tmp_path / "usual.pkl").architecture == network.architecture
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"no generator of a known layout.*weight"):
        load_generator(tmp_path / "other.pt")


def test_modules_without_an_end_are_refused(tmp_path: Path) -> None:
    """A module that contains itself, and one whose every level names the next twenty times."""
    start = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    inner = b"(dS'class_name'\nS'G'\nsS'state'\n(dp1\nS'_modules'\n(dp2\nss"
    itself = b"(dS'G_ema'\n" + start + b"(" + inner + b"tRp3\ng2\nS'me'\ng3\ns0s."
    (tmp_path / "itself.pkl").write_bytes(itself)
    levels = [start + b"((dS'class_name'\nS'G'\nsS'state'\n(dstRp10\n0"]
    for depth in range(11, 21):
        names = b"".join(b"S'm%d'\ng%d\ns" % (i, depth - 1) for i in range(20))
        levels.append(start + b"((dS'class_name'\nS'G'\nsS'state'\n(dS'_modules'\n(d" + names + b"sstRp%d\n0" % depth)
    (tmp_path / "levels.pkl").write_bytes(b"".join(levels) + b"(dS'G_ema'\ng20\ns.")
    for name in ("itself", "levels"):
        with pytest.raises(CheckpointError, match="a module contains itself or is nested too deeply"):
            load_generator(tmp_path / f"{name}.pkl")


def test_the_public_nvlabs_file_is_read_bit_for_bit(shared: Shared) -> None:
    folder = shared("golden/stylegan2_ada_nvlabs")
    found = load_generator(folder / "network_uncond_128.pkl")
    hashes = json.loads((folder / "tensor_sha256.json").read_text())["uncond_128.G_ema"]
    state = found.network.state_dict()
    assert state.keys() == hashes.keys()
    for name, expected in hashes.items():
        assert hashlib.sha256(state[name].contiguous().numpy().astype("<f4").tobytes()).hexdigest() == expected, name
    io = read_golden(folder / "io_uncond_128.npz")
    w = found.map(io["z"], truncation=0.5, cutoff=5)
    torch.testing.assert_close(w, io["ws_psi05_cutoff5"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.image(found.map(io["z"])), io["image_psi1"], atol=1e-4, rtol=1e-4)


def test_the_public_rosinality_file_gives_its_images(shared: Shared) -> None:
    folder = shared("golden/stylegan2_rosinality")
    found = load_generator(folder / "generator_128.pt")
    io = read_golden(folder / "io_main.npz")
    w = found.map(io["z"], truncation=0.7)
    torch.testing.assert_close(w, io["latent_psi07"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.image(w), io["image_psi07"], atol=1e-4, rtol=1e-4)
