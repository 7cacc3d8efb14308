"""The configurations `photos/*` on a small folder of the documented layout: each trains two steps and is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from dife_lightning.cli.main import main
from dife_lightning.running.configs import list_configs, load_config
from tests.photo_folder import write_photos
from tests.tiny import draw_nothing, fake_imagenet

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")]
NAMES = [
    name for name in list_configs() if name.startswith("photos/") and "class_path" in load_config(name).get("model", {})
]
#: Configurations that are combined with another one.
TOGETHER = [
    ("photos/human_dog", "photos/with_photos"),
    ("photos/human_dog_cat", "photos/with_photos"),
    ("photos/human_dog", "photos/with_photos", "photos/pretrained"),
]
STEPS = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.enable_progress_bar=false",
         "--trainer.accelerator=cpu", "--trainer.precision=32-true"]  # fmt: skip
SMALL = {
    "StyleGAN2": ["--model.init_args.max_images=8", "--data.init_args.batch_size=4", "--data.init_args.held_out=2",
                  "--model.init_args.fid_embedder=null"],
    "ClickTeacher": ["--data.init_args.batch_size=4", "--model.init_args.encoder.side=32"],
    "ProjectedBackbone": ["--data.init_args.batch_size=3"],
    "DVE": ["--data.init_args.batch_size=4"],
    "CATs": ["--data.init_args.batch_size=8"],
    "DIFE": ["--model.init_args.warmup_steps=1", "--model.init_args.distillation.statistics_samples=8",
             "--model.init_args.exploration.steps=1", "--data.init_args.batch_size=4",
             "--model.init_args.pairs={refresh_every: 1, per_refresh: 1, first: 1, bank_size: 2, batch_size: 2}"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos/ with six faces of each species in each table, and generators and a teacher without training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    return write_photos(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_imagenet(monkeypatch)
    draw_nothing(monkeypatch)


@pytest.mark.parametrize("names", [*((name,) for name in NAMES), *TOGETHER], ids="+".join)
def test_it_trains_two_steps_and_its_run_is_tested(
    names: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = load_config(names[0])["model"]["class_path"]
    steps = [word for word in STEPS if method != "StyleGAN2" or "max_steps" not in word]
    small = []
    if {"photos/pretrained", "photos/shipped"} & {*names}:
        small = ["--model.init_args.encoder.side=32"]
    elif method == "DIFE" and names != ("photos/human_dog",):  # one has its own encoder, which the others share
        small = ["--model.init_args.encoder={planes: [8, 8, 8], blocks: 1, depth: 1, groups: 4}"]
    code = main(
        ["fit", *(word for name in names for word in ("--config", name)), "--run", "it", *steps, *SMALL[method], *small]
    )
    assert code == 0, capsys.readouterr().err
    if method != "StyleGAN2":
        words = ["--data.init_args.evaluation.init_args.lists=[paper]", "--trainer.enable_progress_bar=false"]
        code = main(["test", "--ckpt_path", "runs/it", "--trainer.accelerator=cpu", *words])
        assert code == 0, capsys.readouterr().err
        assert list(Path("runs/it/eval").rglob("metrics.json"))
