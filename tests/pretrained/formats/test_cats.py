"""Checkpoints of CATs' authors: files give what the networks in them give."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dife_lightning.errors import AssetError, CheckpointError
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork, is_cats
from dife_lightning.pretrained.formats.cats import build, in_folder, load_cats
from dife_lightning.weights.checkpoints import find_weights
from tests.nn.filled import load_filled
from tests.pretrained.formats.writers import write_cats
from tests.tiny import TINY_CATS


def public(**changes: Any) -> CATsNetwork:
    """A small network with weights of its own, brought to the size that its grid implies."""
    sizes = replace(CATsArchitecture(**TINY_CATS), classes=5, size=16 * TINY_CATS["side"], **changes)
    network = load_filled(CATsNetwork(sizes))
    assert isinstance(network, CATsNetwork)
    return network


@torch.no_grad()
def assert_same_flow(one: CATsNetwork, other: CATsNetwork) -> None:
    """To rounding, which depends on where the weights lie in memory."""
    images = torch.randn(2, 1, 3, 96, 96)
    torch.testing.assert_close(one(*images), other(*images), atol=1e-3, rtol=0)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["", "model_best.pth"])
def test_a_folder_or_its_file_gives_the_network_in_it(tmp_path: Path, prefix: str, name: str) -> None:
    network = public(heads=4)
    write_cats(tmp_path / "spair", network, prefix=prefix)
    found = load_cats(tmp_path / "spair" / name)
    assert found.architecture == network.architecture
    assert_same_flow(found, network)
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_the_weights_alone_have_the_papers_heads(tmp_path: Path) -> None:
    network = public(hyperpixels=(0, 1, 2, 3, 4, 5, 6, 7), blocks=(7,), planes=(4,))
    write_cats(tmp_path, network, hyperpixel="", num_heads=None)
    (tmp_path / "args.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"hyperpixels \[0, 8, 20, 21, 26, 28, 29, 30\].*from 0 to 7"):
        load_cats(tmp_path)
    found = build(network.state_dict(), "x.pth", {"hyperpixel": "[0,1,2,3,4,5,6,7]"})
    assert found.architecture.heads == CATsArchitecture().heads == 6


@pytest.mark.parametrize("value", ["[0,2]", "0, 2", [0, 2], (0, 2), "( 0 ,2 )"])
def test_hyperpixels_are_read_however_they_are_written(value: Any) -> None:
    network = public()
    assert build(network.state_dict(), "x.pth", {"hyperpixel": value}).architecture.hyperpixels == (0, 2)


def test_a_network_is_loaded_once_until_its_file_changes(tmp_path: Path) -> None:
    write_cats(tmp_path, public())
    first = load_cats(tmp_path)
    assert load_cats(tmp_path / "model_best.pth") is first
    (tmp_path / "args.pkl").write_bytes(pickle.dumps(argparse.Namespace(hyperpixel="[0, 2]")))
    assert load_cats(tmp_path) is not first
    write_cats(tmp_path, public(appearance=18), protocol=2)
    assert load_cats(tmp_path).architecture.appearance == 18


def test_a_name_of_the_users_own_may_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cats(tmp_path / "weights/spair", public())
    (tmp_path / "paths.yaml").write_text("cats-spair: weights/spair\n")
    monkeypatch.setenv("DIFE_PATHS", str(tmp_path / "paths.yaml"))
    assert find_weights("own/cats-spair", in_folder) == (tmp_path / "weights/spair/model_best.pth").resolve()
    assert_same_flow(load_cats("own/cats-spair"), public())
    with pytest.raises(AssetError, match="own/cats-pascal"):
        load_cats("own/cats-pascal")


def test_nothing_that_settings_ask_for_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_cats(tmp_path / "spair", public())

    class Evil:
        def __reduce__(self) -> Any:
            return eval, ("open('ran', 'w')",)

    (tmp_path / "spair/args.pkl").write_bytes(pickle.dumps(argparse.Namespace(hyperpixel="[0,2]", x=Evil())))
    with pytest.raises(CheckpointError, match=r"args\.pkl asks for builtins\.eval"):
        load_cats(tmp_path / "spair")
    assert not (tmp_path / "ran").exists()


State = dict[str, Tensor]
BAD: dict[str, tuple[Callable[[State], Any], str]] = {
    "missing": (lambda s: s.pop("decoder.blocks.0.mlp.fc2.bias"), "no tensor 'decoder.blocks.0.mlp.fc2.bias'"),
    "shape": (lambda s: s.update({"proj.1.weight": torch.zeros(12, 9)}), r"'proj.1.weight' is \(12, 9\).*\(12, 16\)"),
    "extra": (lambda s: s.update({"decoder.more": torch.zeros(3)}), "'decoder.more'.*no place"),
    "axes": (lambda s: s.update({"x_normal": torch.zeros(2, 3)}), r"'x_normal' is \(2, 3\).*1 axes"),
    "no_grid": (lambda s: s.pop("y_normal"), "no tensor 'y_normal'"),
    "blocks": (lambda s: s.update({"decoder.blocks.99.x": torch.zeros(1)}), "more blocks than it holds"),
    "bottlenecks": (
        lambda s: s.update({"feature_extraction.backbone.layer1.99.x": torch.zeros(1)}),
        "more blocks than it holds",
    ),
    "far": (lambda s: s.update({"decoder.blocks.255.x": torch.zeros(1)}), r"'decoder\.blocks\.255\.x'.*no place"),
    "huge": (
        lambda s: s.update({"feature_extraction.backbone.layer2.0.conv1.weight": torch.zeros(100_000, 1, 1, 1)}),
        "layer2.0.conv1.weight",
    ),
    "another_kind": (lambda s: s.pop("decoder.pos_embed_x"), "no CATs checkpoint.*x_normal"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_the_first_wrong_tensor_is_named(tmp_path: Path, name: str) -> None:
    change, expected = BAD[name]
    network = public()
    write_cats(tmp_path, network)
    state = network.state_dict()
    change(state)
    torch.save({"state_dict": state}, tmp_path / "model_best.pth")
    with pytest.raises(CheckpointError, match=expected) as error:
        load_cats(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path / "model_best.pth") in str(error.value)


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"hyperpixel": "[0,2,"}, r"hyperpixel '\[0,2,'"),
    ({"hyperpixel": "[0,99999999999]"}, "levels, but 1 hyperpixels"),
    ({"hyperpixel": "[0,1]"}, r"'proj.1.weight'|no place|expects"),
    ({"hyperpixel": {"a": 1}}, "expected numbers"),
    ({"hyperpixel": "[2,0]"}, "rising"),
    ({"num_heads": "six"}, "num_heads 'six'"),
    ({"num_heads": 5}, "5 heads"),
]


@pytest.mark.parametrize(("settings", "text"), SETTINGS, ids=[str(s) for s, _ in SETTINGS])
def test_settings_that_do_not_fit_are_told(tmp_path: Path, settings: dict[str, Any], text: str) -> None:
    write_cats(tmp_path, public(planes=(4, 8)), **settings)
    with pytest.raises(CheckpointError, match=text) as error:
        load_cats(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_no_such_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="nowhere"):
        load_cats(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no model_best\.pth"):
        load_cats(tmp_path)
    write_cats(tmp_path, public())
    (tmp_path / "args.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CheckpointError, match=r"args\.pkl holds a list"):
        load_cats(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(3)}}, tmp_path / "other.pth")
    (tmp_path / "args.pkl").unlink()
    with pytest.raises(CheckpointError, match=r"no CATs checkpoint.*found a"):
        load_cats(tmp_path / "other.pth")
    assert not is_cats({"a": torch.zeros(3)})
    assert is_cats(public().state_dict())
