"""The configurations `photos/*` on a small folder of the documented layout: each trains two steps and is tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.running.configs import list_configs, load_config
from tests.tiny import fake_imagenet, write_generator, write_teacher

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")]
NAMES = [name for name in list_configs() if name.startswith("photos/") and "model" in load_config(name)]
DIFES = ("photos/human_dog", "photos/human_dog_cat")
WITH_PHOTOS = "photos/with_photos"  # combined with another one
STEPS = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.enable_progress_bar=false",
         "--trainer.accelerator=cpu", "--trainer.precision=32-true"]  # fmt: skip
SMALL = {
    "StyleGAN2": ["--model.init_args.max_images=8", "--data.init_args.batch_size=4", "--data.init_args.held_out=2"],
    "SurfaceTeacher": ["--data.init_args.batch_size=4"],
    "ProjectedBackbone": ["--data.init_args.batch_size=3"],
    "DIFE": ["--model.init_args.warmup_steps=1", "--model.init_args.distillation.statistics_samples=8",
             "--model.init_args.exploration.steps=2", "--data.init_args.batch_size=4",
             "--model.init_args.pairs={refresh_every: 2, per_refresh: 2, first: 2, bank_size: 4, batch_size: 4}"],
}  # fmt: skip


SPECIES = ("human", "dog", "cat")
NAMED = ("left_eye", "right_eye", "nose", "left_ear", "right_ear")  # an animal's own left


def columns(species: str) -> list[str]:
    if species == "human":
        return [f"{axis}{k}" for k in range(68) for axis in "xy"]
    return [f"{name}_{axis}" for name in NAMED for axis in "xy"]


def places(species: str, rng: np.random.Generator) -> list[float]:
    """Return the points of a face in a picture of 90 x 90 pixels, in the order of the columns."""
    eyes, nose = [(32, 40), (58, 40)], [(45, 56)]
    if species == "human":
        points = [(45, 70)] * 30 + nose + [(45, 70)] * 5 + eyes[:1] * 6 + eyes[1:] * 6 + [(45, 70)] * 20
    else:
        points = [*eyes[::-1], *nose, (70, 20), (20, 20)]
    return (np.array(points) + rng.uniform(-2, 2, (len(points), 2))).round(2).ravel().tolist()


def draw(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (90, 90, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos/ with six faces of each species in each table, and generators and a teacher without training."""
    rng, root = np.random.default_rng(0), tmp_path / "photos"
    for species in SPECIES:
        for k in range(30):
            draw(root / "unlabelled" / species / f"{k}.png", rng)
        for part in ("train", "val", "test"):
            rows = [",".join(["image", "name", "group", "photo", *columns(species)])]
            for k in range(6):
                name = f"{part}{k}"
                draw(root / "faces" / species / "images" / f"{name}.png", rng)
                rows.append(",".join([f"images/{name}.png", name, name, name, *map(str, places(species, rng))]))
            (root / "faces" / species / f"{part}.csv").write_text("\n".join(rows))
    write_teacher(tmp_path / "teacher.safetensors", dim=16)
    entries = {"photos": "photos", "photo-teacher": "teacher.safetensors"}
    for seed, species in enumerate(SPECIES):
        write_generator(tmp_path / f"{species}.safetensors", seed, channels=(8, 8, 8, 64, 8))
        entries[f"photo-{species}"] = f"{species}.safetensors"
    (tmp_path / "paths.yaml").write_text("\n".join(f"{name}: {path}" for name, path in entries.items()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture(autouse=True)
def _imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_imagenet(monkeypatch)


@pytest.mark.parametrize(
    "names", [*((name,) for name in NAMES), *((name, WITH_PHOTOS) for name in DIFES)], ids="+".join
)
def test_it_trains_two_steps_and_its_run_is_tested(
    names: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = load_config(names[0])["model"]["class_path"]
    steps = [word for word in STEPS if method != "StyleGAN2" or "max_steps" not in word]
    code = main(
        ["fit", *(word for name in names for word in ("--config", name)), "--run", "it", *steps, *SMALL[method]]
    )
    assert code == 0, capsys.readouterr().err
    if method != "StyleGAN2":
        words = ["--data.init_args.evaluation.init_args.lists=[paper]", "--trainer.enable_progress_bar=false"]
        code = main(["test", "--ckpt_path", "runs/it", "--trainer.accelerator=cpu", *words])
        assert code == 0, capsys.readouterr().err
        assert list(Path("runs/it/eval").rglob("metrics.json"))
