"""Public HRNets for landmarks: files give what the networks in them give."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dife_lightning.errors import AssetError, CheckpointError, ConfigError
from dife_lightning.nn.hrnet import HRNet, HRNetOptions
from dife_lightning.pretrained import load_hrnet
from tests.nn.filled import fill, load_filled, read_golden

Shared = Callable[[str], Path]
GOLDEN = "golden/hrnet_meta_cskt"
SIZES = HRNetOptions(points=19, stem=6, bottlenecks=2, channels=(3, 4, 5, 6), modules=(1, 2, 1), blocks=2)


def public(options: HRNetOptions = SIZES) -> HRNet:
    network = load_filled(HRNet(options))
    assert isinstance(network, HRNet)
    return network


@torch.no_grad()
def assert_same_maps(one: HRNet, other: HRNet) -> None:
    images = torch.rand(2, 3, 64, 48) * 2 - 1
    torch.testing.assert_close(one(images), other(images))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("training", [False, True])
def test_a_state_dict_is_read_alone_or_from_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prefix: str, training: bool
) -> None:
    network = public()
    state: dict[str, Any] = {f"{prefix}{k}": v for k, v in network.state_dict().items()}
    content = {"epoch": 60, "best_nme": 0.1, "optimizer": {"state": {}}, "state_dict": state} if training else state
    torch.save(content, tmp_path / "HR18-AFLW.pth")
    found = load_hrnet(tmp_path / "HR18-AFLW.pth", points=19)
    assert found.options == SIZES
    assert_same_maps(found, network)
    assert not found.training
    assert all(parameter.requires_grad for parameter in found.parameters())
    assert capsys.readouterr().err == ""


def test_a_checkpoint_of_meta_cskt_has_two_networks(tmp_path: Path) -> None:
    base, adaptation = public(), public(replace(SIZES, stem=5))
    content = {"step": 3, "teacher_state_dict": base.state_dict(), "student_state_dict": adaptation.state_dict()}
    torch.save(content, tmp_path / "both.pth")
    assert_same_maps(load_hrnet(tmp_path / "both.pth"), adaptation)
    assert_same_maps(load_hrnet(tmp_path / "both.pth", role="base"), base)
    torch.save({"student_state_dict": adaptation.state_dict()}, tmp_path / "one.pth")
    with pytest.raises(CheckpointError, match=r"no teacher_state_dict; take its other network with role 'adaptation'"):
        load_hrnet(tmp_path / "one.pth", role="base")


def test_another_number_of_points_replaces_the_head_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = public()
    torch.save(network.state_dict(), tmp_path / "human.pth")
    found = load_hrnet(tmp_path / "human.pth", points=9)
    said = capsys.readouterr().err
    assert re.fullmatch(r"note: .*human\.pth finds 19 points, not 9: its head is replaced.*\n", said)
    assert found.options == replace(SIZES, points=9)
    for name, value in found.state_dict().items():
        kept = torch.equal(value, fill(name, tuple(value.shape)))
        assert kept != name.startswith("head.") or name.endswith("num_batches_tracked"), name
    assert found(torch.zeros(1, 3, 64, 64)).shape == (1, 9, 16, 16)


def test_every_call_gives_a_network_of_its_own(tmp_path: Path) -> None:
    torch.save(public().state_dict(), tmp_path / "x.pth")
    first, second = load_hrnet(tmp_path / "x.pth"), load_hrnet(tmp_path / "x.pth")
    with torch.no_grad():
        first.conv1.weight.zero_()
    assert second.conv1.weight.any()


BAD: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "missing": (lambda s: s.pop("stage3.1.branches.2.1.bn2.bias"), "no tensor 'stage3.1.branches.2.1.bn2.bias' ((5,)"),
    "missing_head": (lambda s: s.pop("head.3.weight"), "no tensor 'head.3.weight' ((19, 18, 1, 1) in"),
    "shape": (lambda s: s.update({"bn1.bias": torch.zeros(3)}), "'bn1.bias' is (3,), HRNet expects (6,)"),
    "odd_branch": (
        lambda s: s.update({"stage4.0.branches.3.0.conv1.weight": torch.zeros(10_000, 1, 1, 1)}),
        "'stage4.0.branches.3.0.conv1.weight' is (10000, 1, 1, 1), HRNet expects (6, 6, 3, 3)",
    ),
    "extra": (lambda s: s.update({"classifier.weight": torch.zeros(3)}), "'classifier.weight' (3,) has no place"),
    "more_blocks_than_tensors": (
        lambda s: s.update({"stage3.98.x": torch.zeros(1), "stage2.0.branches.0.98.x": torch.zeros(1)}),
        "more blocks than it holds",
    ),
    "numbers": (lambda s: s.update({"conv1.weight": torch.zeros(6, 3, 3, 3).long()}), "'conv1.weight' is of torch.int"),
    "empty_head": (
        lambda s: s.update({"head.3.weight": torch.zeros(0, 18, 1, 1), "head.3.bias": torch.zeros(0)}),
        "'head.3.weight' is (0, 18, 1, 1), HRNet expects at least 1",
    ),
    "no_head": (lambda s: [s.pop(k) for k in list(s) if k.startswith("head.")], "no HRNetV2 for landmarks"),
    "nothing": (lambda s: s.clear(), "no HRNetV2 for landmarks (no stage4.0.fuse_layers and head of its layout)"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_does_not_fit_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    change, expected = BAD[name]
    state = dict(public().state_dict())
    change(state)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"x\.pth.*{re.escape(expected)}") as error:
        load_hrnet(tmp_path / "x.pth")
    assert "\n" not in str(error.value)


def test_other_files_and_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CheckpointError, match=r"list\.pth is no HRNetV2 for landmarks.*found no tensors"):
        load_hrnet(tmp_path / "list.pth")
    with pytest.raises(AssetError, match="no asset or file"):
        load_hrnet(tmp_path / "none.pth")
    with pytest.raises(ConfigError, match="points is 0"):
        load_hrnet(tmp_path / "none.pth", points=0)
    with pytest.raises(ConfigError, match=r"role 'student' is unknown.*adaptation, base"):
        load_hrnet(tmp_path / "none.pth", role="student")  # type: ignore[arg-type]


class Whole:
    """A pickled module, as some trainings save it."""


def test_a_file_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Whole()}, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"whole\.pth.*Whole"):
        load_hrnet(tmp_path / "whole.pth")


@torch.no_grad()
def test_the_public_small_network_gives_its_maps(shared: Shared) -> None:
    network = load_hrnet(shared(f"{GOLDEN}/hrnet_small_w4.pth"))
    assert network.options == HRNetOptions(channels=(4, 8, 16, 32), modules=(1, 1, 1), blocks=1)
    assert sum(p.numel() for p in network.parameters()) == 410_737
    io = read_golden(shared(f"{GOLDEN}/io_small_w4.npz"))
    maps = network(io["x_u8"].float() / 127.5 - 1)
    torch.testing.assert_close(maps, io["heatmaps"], atol=1e-4 * io["heatmaps"].std().item(), rtol=0)
