"""Group normalisation against its formula in double precision, for every path it may take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dife_lightning.nn.group_norm import GroupNorm


def by_formula(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    batch = len(x)
    grouped = x.reshape(batch, groups, -1)
    variance = grouped.var(dim=-1, keepdim=True, correction=0)
    normal = ((grouped - grouped.mean(dim=-1, keepdim=True)) / (variance + eps).sqrt()).reshape(x.shape)
    return normal * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize("channels", [8, 32, 128])  # 2, 8 and 32 in each group
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.bfloat16, 6e-2)])
def test_values_and_gradients_equal_the_formula(
    channels: int, layout: torch.memory_format, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(channels)
    norm = GroupNorm(4, channels)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = (3 + 2 * torch.randn(2, channels, 6, 5)).to(dtype).to(memory_format=layout).requires_grad_()
    upstream = torch.randn(x.shape).to(dtype)
    found = norm(x)
    assert found.shape == x.shape
    found.backward(upstream)

    exact = [t.detach().double().requires_grad_() for t in (x, norm.weight, norm.bias)]
    expected = by_formula(*exact, groups=4, eps=norm.eps)
    expected.backward(upstream.double())
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)
    for own, other in zip((x, norm.weight, norm.bias), exact, strict=True):
        assert own.grad is not None
        assert other.grad is not None
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(own.grad.double() / scale, other.grad / scale, atol=tolerance, rtol=tolerance)
