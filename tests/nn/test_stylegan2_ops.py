"""StyleGAN2's tensor operations against public code's numbers and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dife_lightning.nn.stylegan2_ops import (
    conv2d_down,
    conv2d_up,
    downsample2d,
    modulated_conv2d,
    normalize_second_moment,
    setup_filter,
    upfirdn2d,
    upsample2d,
)
from tests.nn.filled import read_golden

Shared = Callable[[str], Path]
CASES = [
    ("upfirdn2d_u1d1_p1111", 1, 1, (1, 1, 1, 1)),
    ("upfirdn2d_u2d1_p2122", 2, 1, (2, 1, 2, 2)),
    ("upfirdn2d_u1d2_p2101", 1, 2, (2, 1, 0, 1)),
    ("upfirdn2d_u2d3_pm1_2_3_m1", 2, 3, (-1, 2, 3, -1)),
]


@pytest.fixture
def rosinality(shared: Shared) -> dict[str, Tensor]:
    return read_golden(shared("golden/stylegan2_rosinality/ops.npz"))


@pytest.fixture
def nvlabs(shared: Shared) -> dict[str, Tensor]:
    return read_golden(shared("golden/stylegan2_ada_nvlabs/ops.npz"))


@pytest.mark.parametrize(("name", "up", "down", "padding"), CASES)
def test_resampling_with_an_asymmetric_kernel_equals_the_reference(
    rosinality: dict[str, Tensor], name: str, up: int, down: int, padding: tuple[int, int, int, int]
) -> None:
    found = upfirdn2d(rosinality["x"], rosinality["kernel_4x3"], up, down, padding)
    torch.testing.assert_close(found, rosinality[name], atol=1e-5, rtol=1e-5)


def test_gain_and_flipped_filter_equal_the_second_reference(nvlabs: dict[str, Tensor]) -> None:
    x, kernel = nvlabs["x"], nvlabs["f_4x3"]
    flipped = upfirdn2d(x, kernel, flip_filter=True, padding=_padding_of(nvlabs["upfirdn2d_u1d1_flip"], x, kernel))
    plain = upfirdn2d(x, kernel, padding=_padding_of(nvlabs["upfirdn2d_u1d1"], x, kernel))
    torch.testing.assert_close(flipped, nvlabs["upfirdn2d_u1d1_flip"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plain, nvlabs["upfirdn2d_u1d1"], atol=1e-5, rtol=1e-5)


def _padding_of(out: Tensor, x: Tensor, kernel: Tensor) -> tuple[int, int, int, int]:
    """The reference notes that padding is (1, 1, 1, 1) here; check it by the shape that it gives."""
    rows, columns = x.shape[2] + 2 - kernel.shape[0] + 1, x.shape[3] + 2 - kernel.shape[1] + 1
    assert tuple(out.shape[2:]) == (rows, columns)
    return (1, 1, 1, 1)


def test_doubling_and_halving_equal_both_references(rosinality: dict[str, Tensor], nvlabs: dict[str, Tensor]) -> None:
    kernel = setup_filter()
    for x, up, down in (
        (rosinality["Upsample_1331.x"], rosinality["Upsample_1331.out"], rosinality["Downsample_1331.out"]),
        (nvlabs["x"], nvlabs["upsample2d_1331"], nvlabs["downsample2d_1331"]),
    ):
        torch.testing.assert_close(upsample2d(x, kernel), up, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(downsample2d(x, kernel), down, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [3, 1])
def test_resampling_convolutions_equal_the_reference(nvlabs: dict[str, Tensor], size: int) -> None:
    x, weight, kernel = nvlabs["x"], nvlabs[f"w{size}"], setup_filter()
    down = nvlabs[f"conv2d_resample_w{size}_up1_down2_flipweight1"]
    torch.testing.assert_close(conv2d_down(x, weight, kernel), down, atol=1e-5, rtol=1e-5)
    up = nvlabs[f"conv2d_resample_w{size}_up2_down1_flipweight0"]
    torch.testing.assert_close(conv2d_up(x, weight, kernel), up, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "up"), [("modulated_conv2d_up1", False), ("modulated_conv2d_up2", True)])
def test_modulated_convolution_equals_the_reference(nvlabs: dict[str, Tensor], name: str, up: bool) -> None:
    kernel = setup_filter() if up else None
    found = modulated_conv2d(nvlabs["x"], nvlabs["w3"], nvlabs["styles"], kernel=kernel)
    torch.testing.assert_close(found, nvlabs[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("demodulate", [True, False])
def test_scaling_the_input_equals_one_modulated_weight_per_sample(demodulate: bool) -> None:
    x, weight, styles = torch.randn(3, 4, 6, 5), torch.randn(2, 4, 3, 3), torch.randn(3, 4)
    expected = []
    for sample, style in zip(x, styles, strict=True):
        own = weight * style[None, :, None, None]
        if demodulate:
            own = own / own.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        expected.append(F.conv2d(sample[None], own, padding=1))
    found = modulated_conv2d(x, weight, styles, demodulate=demodulate)
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("up", "down", "padding"), [case[1:] for case in CASES] + [(3, 2, (1, 0, 2, 1))])
def test_first_and_second_derivatives_of_resampling_are_right(
    up: int, down: int, padding: tuple[int, int, int, int]
) -> None:
    kernel = torch.randn(4, 3, dtype=torch.double)
    x = torch.randn(1, 2, 5, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: upfirdn2d(t, kernel, up, down, padding), x)
    assert torch.autograd.gradgradcheck(lambda t: upfirdn2d(t, kernel, up, down, padding), x)


def test_memory_format_and_dtype_survive_resampling() -> None:
    x = torch.randn(2, 3, 8, 8).bfloat16().to(memory_format=torch.channels_last)
    for y in (upsample2d(x, setup_filter()), downsample2d(x, setup_filter())):
        assert y.dtype == torch.bfloat16
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_smooth_pictures_keep_their_brightness_when_doubled() -> None:
    x = torch.full((1, 1, 8, 8), 3.0)
    torch.testing.assert_close(upsample2d(x, setup_filter())[..., 2:-2, 2:-2], torch.full((1, 1, 12, 12), 3.0))


def test_normalised_rows_have_mean_square_one() -> None:
    rows = normalize_second_moment(torch.randn(5, 7) * 40)
    torch.testing.assert_close(rows.square().mean(1), torch.ones(5))
