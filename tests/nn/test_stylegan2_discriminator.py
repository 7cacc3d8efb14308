"""The discriminator against a public network, and its parts against slow twins."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dife_lightning.errors import ConfigError
from dife_lightning.nn.discriminator import Discriminator, minibatch_std
from tests.nn.public_stylegan2 import read_nvlabs

Shared = Callable[[str], Path]


def test_logits_equal_nvlabs(shared: Shared) -> None:
    network = Discriminator((32, 32, 32, 32, 16, 8))
    network.load_state_dict(read_nvlabs(shared("golden/stylegan2_ada_nvlabs/network_uncond_128.pkl"))["D"])
    with np.load(shared("golden/stylegan2_ada_nvlabs/io_uncond_128.npz")) as io, torch.no_grad():
        found = network(torch.from_numpy(io["image_psi1"]))
        expected = torch.from_numpy(io["d_logits_of_image_psi1"])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "channels", "c_dim"), [("uncond_128", (32, 32, 32, 32, 16, 8), 0), ("cond3_32", (24, 24, 24, 16), 3)]
)
def test_tensor_names_and_shapes_are_those_of_nvlabs(
    shared: Shared, name: str, channels: tuple[int, ...], c_dim: int
) -> None:
    shapes = json.loads(shared("golden/stylegan2_ada_nvlabs/state_dict_shapes.json").read_text())[name]["D"]
    own = Discriminator(channels, c_dim).state_dict()
    assert {key: list(value.shape) for key, value in own.items()} == shapes


def test_minibatch_deviation_equals_a_loop_over_groups() -> None:
    x = torch.randn(8, 3, 2, 2, dtype=torch.double)
    found = minibatch_std(x, group_size=4)[:, 3:]
    for start in range(2):
        members = x[start::2].numpy()
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(found[start::2].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 6])
def test_any_batch_size_has_a_group(batch: int) -> None:
    assert minibatch_std(torch.randn(batch, 2, 4, 4)).shape == (batch, 3, 4, 4)


def test_equal_images_show_in_the_deviation_channel() -> None:
    varied, equal = torch.randn(4, 2, 4, 4), torch.randn(1, 2, 4, 4).expand(4, -1, -1, -1)
    assert float(minibatch_std(equal)[:, 2].max()) < 1e-3
    assert float(minibatch_std(varied)[:, 2].min()) > 0.3


def test_the_fast_stem_leaves_out_the_block_of_full_resolution() -> None:
    channels = (8, 8, 8, 4)
    plain, fast = Discriminator(channels), Discriminator(channels, stem="space-to-depth")
    images = torch.randn(2, 3, 32, 32)
    assert plain(images).shape == fast(images).shape == (2, 1)
    assert "b32.conv0.weight" in plain.state_dict()
    assert "b32.conv0.weight" not in fast.state_dict()


def test_class_changes_the_logit() -> None:
    network = Discriminator((8, 8, 4), c_dim=2)
    image = torch.randn(1, 3, 16, 16)
    first, second = network(image, torch.eye(2)[:1]), network(image, torch.eye(2)[1:])
    assert not torch.allclose(first, second)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="16 x 16"):
        Discriminator((8, 8, 4))(torch.randn(1, 3, 32, 32))
