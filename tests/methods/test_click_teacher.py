"""The click teacher: what it learns from, how fast each part learns, and that its checkpoint is enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dife_lightning.errors import ConfigError
from dife_lightning.faces.batches import ClickBatch
from dife_lightning.methods.click_teacher import ClickTeacher
from dife_lightning.nn.backbone import PixelOptions
from dife_lightning.nn.mobile import EFFICIENTNET_LITE0, MOBILENET_V2, MobileNet
from dife_lightning.nn.pyramid import PyramidEncoder
from dife_lightning.pretrained.embedders import load_embedder
from tests.tiny import fake_imagenet

TINY_ENCODER = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}
pytestmark = pytest.mark.filterwarnings(r"ignore:.*(have no `val_dataloader`|many workers|in eval mode)")
PRETRAINED = {"backbone": "imagenet/mobilenet_v2", "side": 32}
SMALL: dict[str, Any] = {"dim": 4, "encoder": PRETRAINED, "optimizer": {"lr": 0.01, "schedule": "constant"}}


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> MobileNet:
    return fake_imagenet(monkeypatch)


def clicks(count: int = 2) -> ClickBatch:
    rng = torch.Generator().manual_seed(1)
    return ClickBatch(
        torch.rand(count, 3, 32, 32, generator=rng) * 2 - 1,
        torch.rand(count, 4, 2, generator=rng) * 31,
        torch.rand(count, 4, 2, generator=rng) * 2 - 1,
        torch.ones(count, 4, dtype=torch.bool),
    )


def fitted(steps: int, folder: Path, **given: Any) -> tuple[ClickTeacher, L.Trainer]:
    module = ClickTeacher(**SMALL | given)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=steps, max_epochs=-1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, DataLoader([clicks()] * steps, batch_size=None))
    return module, trainer


def images(height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def changes(module: ClickTeacher, weights: MobileNet) -> dict[str, float]:
    before = weights.state_dict()
    now = module.encoder.network.state_dict()  # type: ignore[union-attr, operator]
    return {name: (now[name].float() - value.float()).abs().max().item() for name, value in before.items()}


def test_the_first_step_of_adam_moves_the_pretrained_network_by_its_share_of_the_rate(
    weights: MobileNet, tmp_path: Path
) -> None:
    module, _ = fitted(1, tmp_path, encoder=PRETRAINED | {"backbone_rate": 0.1})
    moved = changes(module, weights)
    assert moved["blocks.5.expand.conv.weight"] == pytest.approx(0.01 * 0.1, rel=0.02)
    assert moved["blocks.5.expand.norm.weight"] == pytest.approx(0.01 * 0.1, rel=0.02)
    assert moved["blocks.5.expand.norm.running_mean"] == moved["blocks.5.expand.norm.running_var"] == 0
    torch.manual_seed(0)
    fresh = ClickTeacher(**SMALL | {"encoder": PRETRAINED | {"backbone_rate": 0.1}})
    torch.manual_seed(0)
    module, _ = fitted(1, tmp_path, encoder=PRETRAINED | {"backbone_rate": 0.1})
    out = (module.encoder.out.weight - fresh.encoder.out.weight).abs().max()  # type: ignore[union-attr, operator]
    assert out.item() == pytest.approx(0.01, rel=0.02)


def test_a_rate_of_zero_keeps_the_pretrained_network(weights: MobileNet, tmp_path: Path) -> None:
    module, _ = fitted(3, tmp_path, encoder=PRETRAINED | {"backbone_rate": 0.0})
    assert set(changes(module, weights).values()) == {0}


def test_it_learns_the_clicks(weights: MobileNet, tmp_path: Path) -> None:
    _, trainer = fitted(1, tmp_path)
    first = trainer.callback_metrics["train/loss"]
    _, trainer = fitted(40, tmp_path)
    assert trainer.callback_metrics["train/loss"] < first / 3


def test_its_checkpoint_needs_neither_the_package_nor_the_clicks(
    weights: MobileNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, trainer = fitted(2, tmp_path)
    trainer.save_checkpoint(tmp_path / "it.ckpt")
    monkeypatch.undo()
    loaded = load_embedder(tmp_path / "it.ckpt")
    with torch.no_grad():  # as `loaded` does; with gradients, the normalisation is not folded into the weights
        expected = module.eval().embed(images())
    torch.testing.assert_close(loaded.embed(images()), expected, rtol=0, atol=0)


def test_without_a_pretrained_network_it_is_an_hourglass(tmp_path: Path) -> None:
    module, _ = fitted(2, tmp_path, encoder=TINY_ENCODER)
    assert module.eval().embed(images()).shape == (2, 4, 32, 32)


@pytest.mark.parametrize("options", [MOBILENET_V2, EFFICIENTNET_LITE0], ids=["mobilenet", "efficientnet"])
def test_the_pyramid_has_the_last_map_of_each_stride(options: Any) -> None:
    encoder = PyramidEncoder(options, PixelOptions(), 4, width=8, side=64).eval()
    states = encoder.network(torch.rand(1, 3, 64, 64)).hidden_states
    sides = [state.shape[-1] for state in states]
    assert [sides[tap] for tap in encoder.taps] == [16, 8, 4, 2]
    for tap in encoder.taps[:-1]:
        assert sides[tap + 1] == sides[tap] // 2
    assert encoder.taps[-1] == len(states) - 1


def test_an_image_that_is_not_square_keeps_its_shape_roughly(weights: MobileNet) -> None:
    module = ClickTeacher(**SMALL).eval()
    seen: list[torch.Size] = []
    module.encoder.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))  # type: ignore[union-attr, operator]
    with torch.no_grad():
        found = module.embed(images(32, 70))
    assert found.shape == (2, 4, 32, 70)
    assert seen[0][-2:] == (32, 64)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 32, 70))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no network 'imagenet/mobilenet'\. Did you mean"):
        ClickTeacher(encoder={"backbone": "imagenet/mobilenet"})
    with pytest.raises(ConfigError, match=r"encoder\.backbone_rate is -1"):
        ClickTeacher(encoder={"backbone_rate": -1})
    with pytest.raises(ConfigError, match=r"encoder\.side is 16"):
        ClickTeacher(encoder=PRETRAINED | {"side": 16})
