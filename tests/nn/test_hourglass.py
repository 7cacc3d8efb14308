from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dife_lightning.errors import ConfigError
from dife_lightning.nn.converter import Converter
from dife_lightning.nn.hourglass import HourglassEncoder
from tests.nn.filled import load_filled

Shared = Callable[[str], Path]
GOLDEN = "golden/hourglass_dve_dife"


def official_converter(state: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    prefix = f"transformer.interspecies2d{index}_"
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def test_default_encoder_has_the_papers_number_of_parameters() -> None:
    assert sum(p.numel() for p in HourglassEncoder().parameters()) == 12_597_136


def test_parameter_names_and_shapes_are_the_official_ones(shared: Shared) -> None:
    shapes = json.loads(shared(f"{GOLDEN}/dife_full_16_512_2_shapes.json").read_text())
    ours = {f"hg.{k}": list(v.shape) for k, v in HourglassEncoder().state_dict().items()}
    assert ours == {k: v for k, v in shapes.items() if k.startswith("hg.")}


def test_small_official_network_is_reproduced(shared: Shared) -> None:
    state = torch.load(shared(f"{GOLDEN}/dife_small.pth"), weights_only=True)
    io = np.load(shared(f"{GOLDEN}/io_dife_small.npz"))
    encoder = HourglassEncoder(planes=(16, 32, 16), blocks=2).eval()
    encoder.load_state_dict({k.removeprefix("hg."): v for k, v in state.items() if k.startswith("hg.")})
    with torch.no_grad():
        embedding = encoder(torch.from_numpy(io["x"]))
    torch.testing.assert_close(embedding[:1], torch.from_numpy(io["embedding0"]), atol=1e-3, rtol=0)
    torch.testing.assert_close(embedding[1:, :, ::2, ::2], torch.from_numpy(io["embedding1_px2"]), atol=1e-3, rtol=0)


def test_small_official_converters_are_reproduced(shared: Shared) -> None:
    state = torch.load(shared(f"{GOLDEN}/dife_small.pth"), weights_only=True)
    embedding = torch.from_numpy(np.load(shared(f"{GOLDEN}/io_dife_small.npz"))["embedding0"])
    io = np.load(shared(f"{GOLDEN}/io_dife_small_domains.npz"))
    for index in (0, 1):
        converter = Converter(16, 32).eval()
        converter.load_state_dict(official_converter(state, index))
        with torch.no_grad():
            converted = converter(embedding)[:, :, ::2, ::2]
        torch.testing.assert_close(converted, torch.from_numpy(io[f"d{index}_px2"]), atol=1e-3, rtol=0)


def test_other_sides_and_half_size_output_are_reproduced(shared: Shared) -> None:
    state = torch.load(shared(f"{GOLDEN}/dife_small.pth"), weights_only=True)
    path = shared(GOLDEN) / "io_dife_small_64x96.npz"
    if not path.exists():
        pytest.skip("reference file io_dife_small_64x96.npz is not on this machine")
    io = np.load(path)
    encoder = HourglassEncoder(planes=(16, 32, 16), blocks=2).eval()
    encoder.load_state_dict({k.removeprefix("hg."): v for k, v in state.items() if k.startswith("hg.")})
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(torch.from_numpy(io["x"])), torch.from_numpy(io["embedding_keep_size"]), atol=1e-3, rtol=0
        )


def test_full_size_network_is_reproduced(shared: Shared) -> None:
    io = np.load(shared(f"{GOLDEN}/io_dife_full_fill.npz"))
    encoder = load_filled(HourglassEncoder(), "hg.")
    with torch.no_grad():
        embedding = encoder(torch.from_numpy(io["x"]))
    torch.testing.assert_close(embedding, torch.from_numpy(io["embedding"]), atol=1e-3, rtol=0)


def test_batch_norm_half_size_network_of_dve_is_reproduced(shared: Shared) -> None:
    io = np.load(shared(f"{GOLDEN}/io_dve_small.npz"))
    state = torch.load(shared(f"{GOLDEN}/dve_small_bn.pth"), weights_only=True)["state_dict"]
    encoder = HourglassEncoder(64, planes=(16, 32, 16), blocks=2, norm="batch", keep_size=False).eval()
    encoder.load_state_dict(state)
    with torch.no_grad():
        out = encoder(torch.from_numpy(io["x"]))
    torch.testing.assert_close(out, torch.from_numpy(io["out0"]), atol=2e-3, rtol=0)


def test_two_stacks_with_scaled_output_are_reproduced(shared: Shared) -> None:
    io = np.load(shared(f"{GOLDEN}/io_dve_small_gn_2stack_normscale.npz"))
    shapes = json.loads(shared(f"{GOLDEN}/dve_small_gn_2stack_normscale_shapes.json").read_text())
    channels = shapes["output_layers.1.4.weight"][0]
    encoder = HourglassEncoder(
        channels, planes=(16, 32, 16), blocks=2, stacks=2, keep_size=False, scaled_norm_output=True
    )
    load_filled(encoder)
    with torch.no_grad():
        encoder.normscale.fill_(20.0)
        out = encoder(torch.from_numpy(io["x"]))
    torch.testing.assert_close(out, torch.from_numpy(io["out0"]), atol=2e-3, rtol=0)


def slim() -> HourglassEncoder:
    return HourglassEncoder(8, planes=(16, 16, 16), blocks=1, depth=2)


@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
def test_output_has_the_images_size(size: tuple[int, int]) -> None:
    assert slim()(torch.zeros(1, 3, *size)).shape == (1, 8, *size)


def test_sides_that_cannot_be_halved_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"36 x 32.*multiples of 8") as error:
        slim()(torch.zeros(1, 3, 32, 36))
    assert "\n" not in str(error.value)


def test_groups_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="groups=16"):
        HourglassEncoder(planes=(20, 32, 32))


def test_every_parameter_of_the_slim_encoder_gets_a_gradient() -> None:
    encoder = slim()
    encoder(torch.rand(2, 3, 32, 32)).square().mean().backward()
    missing = [n for n, p in encoder.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert missing == []
