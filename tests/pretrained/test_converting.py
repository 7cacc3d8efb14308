"""Converting public checkpoints, and trained DIFEs to the authors' layout and back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dife_lightning import load, load_embedder, load_generator
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.methods.dife import DIFE
from dife_lightning.nn.hourglass import HourglassEncoder
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.pretrained.converting import convert
from dife_lightning.weights.checkpoints import read_tensors
from tests.pretrained.formats.writers import rosinality_state, write_nvlabs, write_rosinality
from tests.tiny import dife_arguments

#: Sizes with the 16 groups that the authors' layout has.
WIDE: dict[str, Any] = {
    "encoder": {"planes": [16, 16, 16], "blocks": 1, "depth": 2, "groups": 16},
    "converter": {"hidden": 16, "groups": 16, "kernel": 3, "side": 16},
}


def write_dife(folder: Path, **changes: Any) -> tuple[DIFE, Path]:
    """An untrained DIFE with statistics that are not at their start, and its checkpoint."""
    torch.manual_seed(3)
    method = DIFE(**dife_arguments(folder, **(WIDE | changes)))
    for name, buffer in method.named_buffers():
        if name.startswith(("mean_", "deviation_")):
            buffer.uniform_(0.5, 2)
    content = {"state_dict": method.state_dict(), "hyper_parameters": dict(method.hparams), "method": "dife"}
    torch.save(content, folder / "dife.ckpt")
    return method.eval(), folder / "dife.ckpt"


@pytest.mark.parametrize("layout", ["nvlabs", "rosinality"])
def test_generators_are_converted_bit_for_bit_and_described(tmp_path: Path, layout: str) -> None:
    network = StyleGAN2Generator(Architecture((8, 8, 4), z_dim=8, w_dim=8, mapping_layers=2))
    source = tmp_path / ("g.pkl" if layout == "nvlabs" else "g.pt")
    (write_nvlabs if layout == "nvlabs" else write_rosinality)(source, network)
    card = convert(source, tmp_path / "g.safetensors")
    found = load_generator(tmp_path / "g.safetensors").network.state_dict()
    expected = load_generator(source).network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], v) for k, v in expected.items())
    assert json.loads((tmp_path / "g.safetensors.json").read_text()) == card
    assert card["kind"] == "stylegan2-generator"
    assert card["architecture"]["channels"] == [8, 8, 4]
    assert card["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert card["values"] == sum(v.numel() for v in expected.values())


@torch.no_grad()
def test_embedders_are_converted_and_loaded(tmp_path: Path) -> None:
    encoder = HourglassEncoder(8, (16, 16, 16), blocks=1, depth=2, norm="batch", keep_size=False).eval()
    torch.save({"arch": "x", "state_dict": encoder.state_dict(), "epoch": 3}, tmp_path / "dve.pth")
    card = convert(tmp_path / "dve.pth", tmp_path / "dve.safetensors")
    assert (card["kind"], card["source"]["name"]) == ("hourglass", "dve.pth")
    images = torch.rand(1, 3, 16, 24)
    torch.testing.assert_close(load_embedder(tmp_path / "dve.safetensors").embed(images), encoder(images))


@torch.no_grad()
def test_a_trained_dife_goes_to_the_authors_layout_and_back(tmp_path: Path) -> None:
    method, path = write_dife(tmp_path)
    card = convert(path, tmp_path / "human+dog.pth")
    assert card["kind"] == "official-dife"
    state = torch.load(tmp_path / "human+dog.pth", weights_only=True)
    assert {k.partition(".")[0] for k in state} == {"hg", "transformer"}

    official = load_embedder(tmp_path / "human+dog.pth")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    embedding = official.embed(images)
    torch.testing.assert_close(embedding, method.embed(images))
    for index, domain in enumerate(("human", "dog")):
        features = official.convert(embedding, index)  # of the generator, not normalised
        at_full_size = method.converters(embedding, domain)
        torch.testing.assert_close(method.normalize(features, domain), at_full_size, atol=1e-5, rtol=1e-4)

    convert(tmp_path / "human+dog.pth", tmp_path / "human+dog.safetensors")
    for suffix in (".pth", ".safetensors"):
        back = DIFE(**dife_arguments(tmp_path, **WIDE, init_from=str(tmp_path / f"human+dog{suffix}")))
        back.setup("fit")
        torch.testing.assert_close(back.eval().embed(images), method.embed(images))
        torch.testing.assert_close(back.converters(embedding, "dog"), official.convert(embedding, 1))


def test_unit_length_is_said_to_be_lost_nowhere_but_in_the_embedding(tmp_path: Path) -> None:
    method, path = write_dife(tmp_path, unit_length=True)
    convert(path, tmp_path / "x.pth")
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        raw = load_embedder(tmp_path / "x.pth").embed(images)
        torch.testing.assert_close(torch.nn.functional.normalize(raw, dim=1), method.embed(images))


def test_an_official_checkpoint_of_other_domains_is_refused_as_a_start(tmp_path: Path) -> None:
    _, path = write_dife(tmp_path)
    convert(path, tmp_path / "x.pth")
    arguments = dife_arguments(tmp_path, **WIDE, init_from=str(tmp_path / "x.pth"))
    arguments |= {"domains": {"human": 8}, "generators": {"human": arguments["generators"]["human"]}}
    with pytest.raises(CheckpointError, match="converters for 2 domains, the config names 1"):
        DIFE(**arguments).setup("fit")


def test_what_cannot_be_converted_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pth")
    (tmp_path / "z.safetensors").write_bytes(b"x")
    _, narrow = write_dife(tmp_path, **{k: v for k, v in dife_arguments(tmp_path).items() if k in WIDE})
    before = sorted(file.name for file in tmp_path.iterdir())
    for source, destination, kind, text in (
        ("x.pth", "y.safetensors", CheckpointError, "no embedder of a known layout"),
        ("x.pth", "y.bin", ConfigError, "expected .safetensors"),
        ("missing.pth", "y.safetensors", CheckpointError, "no file"),
        (narrow.name, "y.pth", ConfigError, "16 groups"),
        (narrow.name, "y.safetensors", ConfigError, r"dife\.ckpt was trained here and needs no conversion"),
        ("z.safetensors", "y.safetensors", ConfigError, r"z\.safetensors is safetensors already"),
        ("z.safetensors", "z.safetensors", ConfigError, r"z\.safetensors is the source itself"),
        ("x.pth", "x.pth", ConfigError, r"x\.pth is the source itself"),
    ):
        with pytest.raises(kind, match=text) as error:
            convert(tmp_path / source, tmp_path / destination)
        assert "\n" not in str(error.value)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["generator", "embedder"])
def test_tensors_that_are_views_of_one_storage_are_not_written_many_times(tmp_path: Path, kind: str) -> None:
    """A file of one storage, of which every tensor is a part, would become several times as large."""
    if kind == "generator":
        state = rosinality_state(StyleGAN2Generator(Architecture((128,) * 5, z_dim=64, w_dim=64)))
        source = tmp_path / "g.pt"
    else:
        state, source = dict(HourglassEncoder(8, (32, 32, 48), blocks=1).state_dict()), tmp_path / "e.pth"
    base = torch.randn(max(value.numel() for value in state.values()))
    for name, value in state.items():
        if value.is_floating_point() and value.numel() > 500 and not name.startswith("noises"):
            state[name] = base[: value.numel()].view(value.shape)
    torch.save(state, source)
    assert sum(value.nbytes for value in state.values()) > 4 * source.stat().st_size
    with pytest.raises(CheckpointError, match="views of each other") as error:
        convert(source, tmp_path / "out.safetensors")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_files_of_half_precision_and_without_noise_are_converted(tmp_path: Path) -> None:
    network = StyleGAN2Generator(Architecture((4,) * 7, z_dim=8, w_dim=8, mapping_layers=2))
    state = {k: v.half() for k, v in rosinality_state(network).items() if not k.startswith("noises")}
    torch.save({"g_ema": state}, tmp_path / "g.pt")
    card = convert(tmp_path / "g.pt", tmp_path / "g.safetensors")
    assert card["architecture"]["channels"] == [4] * 7
    found = load_generator(tmp_path / "g.safetensors").network.state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert torch.equal(found["synthesis.b8.conv0.weight"], state["convs.0.conv.weight"][0].float())


def test_the_command_converts_and_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = StyleGAN2Generator(Architecture((8, 4), z_dim=8, w_dim=8, mapping_layers=1))
    write_nvlabs(tmp_path / "g.pkl", network)
    assert main(["convert", str(tmp_path / "g.pkl"), str(tmp_path / "g.safetensors")]) == 0
    assert "stylegan2-generator" in capsys.readouterr().out
    assert read_tensors(tmp_path / "g.safetensors")[1]["kind"] == "stylegan2-generator"
    assert main(["convert", str(tmp_path / "g.pkl")]) != 0
    assert "SOURCE and DESTINATION" in capsys.readouterr().err
    assert main(["convert", "--help"]) == 0


def test_a_converted_dife_is_not_taken_for_one_of_ours(tmp_path: Path) -> None:
    _, path = write_dife(tmp_path)
    convert(path, tmp_path / "x.pth")
    with pytest.raises(CheckpointError):
        load(tmp_path / "x.pth")
