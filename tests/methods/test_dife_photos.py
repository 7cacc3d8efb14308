"""DIFE with unlabelled photos beside the samples: equation 1 is the mean over both, equation 2 over the samples."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.plugins import MixedPrecision
from PIL import Image
from torch import Tensor

from dife_lightning.data.photos.face_domains import FaceDomain
from dife_lightning.data.photos.stream_photos import StreamPhotos, read_photos
from dife_lightning.data.stream import LatentStream, StyleGAN2Stream, synthesize
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import StreamBatch
from dife_lightning.faces.images import read_image
from dife_lightning.geometry.affine import AugmentOptions
from dife_lightning.geometry.crops import CropOptions, crop_image, face_square
from dife_lightning.methods.dife import DIFE
from dife_lightning.methods.dve import DVE
from tests.methods.test_dife import fit, ready, stream_of
from tests.photo_folder import write_faces
from tests.tiny import dife_arguments

SAMPLES = {"statistics_samples": 8}


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return dife_arguments(tmp_path)


def noise(count: int, side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def with_photos(arguments: dict[str, Any], *domains: str) -> tuple[DIFE, StreamBatch]:
    """A module as in the middle of a fit, and a batch with two samples and three photos a domain."""
    model, _ = ready(arguments)
    photos = {domain: noise(6, 40, seed) for seed, domain in enumerate(domains)}
    latent = LatentStream(dict.fromkeys(arguments["generators"], 8), 2, photos=photos, photo_count=3).batch(0)
    return model, synthesize(latent, model.generators, 3, 32, 0.7, AugmentOptions())


@pytest.fixture
def photos(tmp_path: Path) -> StreamPhotos:
    for seed, domain in enumerate(("human", "dog")):
        folder = tmp_path / "photos" / domain
        folder.mkdir(parents=True)
        for k, image in enumerate(noise(7, 44, seed)):
            Image.fromarray(image).save(folder / f"{k}.png")
    return StreamPhotos(str(tmp_path / "photos"), batch_size=6)


def pixel_distances(model: DIFE, part: Any, view: str = "warped") -> Tensor:
    """Equation 1 at each valid pixel, without the code of the loss."""
    assert model.teacher is not None
    surface = model.teacher.embed(part.images if view == "warped" else part.originals)
    return (surface - model.encoder(part.images)).square().sum(1).sqrt()[part.valid]


def test_equation_1_is_the_mean_over_the_pixels_of_samples_and_photos(arguments: dict[str, Any]) -> None:
    model, batch = with_photos(arguments, "human", "dog")
    wanted = 0.0
    for domain, samples in batch.domains.items():
        parts = [pixel_distances(model, part) for part in (samples, batch.photos[domain])]
        wanted += torch.cat(parts).mean().item()
    assert model.distill(batch)["k1"].item() == pytest.approx(wanted, rel=1e-5)


def test_a_domain_without_photos_is_distilled_on_its_samples(arguments: dict[str, Any]) -> None:
    model, batch = with_photos(arguments, "dog")
    dog = torch.cat([pixel_distances(model, part) for part in (batch.domains["dog"], batch.photos["dog"])]).mean()
    human = pixel_distances(model, batch.domains["human"]).mean()
    assert model.distill(batch)["k1"].item() == pytest.approx((dog + human).item(), rel=1e-5)


def test_equation_2_keeps_to_the_samples(arguments: dict[str, Any]) -> None:
    model, batch = with_photos(arguments, "human", "dog")
    alone = model.distill(replace(batch, photos={}))
    assert model.distill(batch)["k2"].item() == pytest.approx(alone["k2"].item(), rel=1e-6)
    assert model.distill(batch)["k1"].item() != alone["k1"].item()


def test_the_teacher_may_look_at_the_photo_as_it_is(arguments: dict[str, Any]) -> None:
    """Without a warp, what the teacher sees differs from what the encoder sees by colours only."""
    model, batch = with_photos(arguments | {"distillation": {**SAMPLES, "teacher_view": "original"}}, "human", "dog")
    still = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    parts: list[Any] = [*batch.domains.values(), *batch.photos.values()]
    for part in parts:
        part.affine[:] = still
        part.valid[:] = True
    wanted = sum(
        torch.cat([pixel_distances(model, part[d], "original") for part in (batch.domains, batch.photos)]).mean().item()  # type: ignore[index]
        for d in batch.domains
    )
    assert model.distill(batch)["k1"].item() == pytest.approx(wanted, rel=1e-4)


def test_without_equation_1_no_photo_is_embedded_and_the_stream_says_so(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos
) -> None:
    model, batch = with_photos(arguments | {"lambda_k1": 0.0}, "dog")
    batch.photos["dog"].images.fill_(float("nan"))
    assert set(model.distill(batch)) == {"k2"}
    assert model.distill(batch)["k2"].isfinite()
    with pytest.raises(
        ConfigError, match=r"DIFE with these settings does not learn .*; type --data\.init_args\.photos null"
    ):
        fit(DIFE(**arguments | {"lambda_k1": 0.0}), stream_of(arguments, photos=photos), tmp_path, 1)


def test_a_method_that_does_not_learn_from_photos_refuses_them(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos
) -> None:
    method: Any = DVE(size=32, dim=8, encoder=arguments["encoder"])
    with pytest.raises(ConfigError, match="DVE with these settings does not learn"):
        fit(method, stream_of(arguments, photos=photos), tmp_path, 1)


@pytest.mark.parametrize(("stages", "seen"), [("both", [3, 1]), ("warmup", [3, None])])
def test_photos_count_in_both_stages_or_in_the_warm_up(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, stages: str, seen: list[int | None]
) -> None:
    changes = {"distillation": {**SAMPLES, "matching_images": 1, "photo_stages": stages}}
    model, batch = with_photos(arguments | changes, "human", "dog")
    found: list[int | None] = []
    real = model.distill

    def watched(b: StreamBatch) -> dict[str, Tensor]:
        found.append(len(b.photos["dog"].images) if b.photos else None)
        return real(b)

    monkeypatch.setattr(model, "distill", watched)
    model._trainer = None
    for step in (0, arguments["warmup_steps"]):
        monkeypatch.setattr(type(model), "global_step", step, raising=False)
        model.training_step(batch, 0)
    assert found == seen


class Losses(Callback):
    """The loss of each batch."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.found.append(outputs["loss"].item())


def run(arguments: dict[str, Any], folder: Path, photos: StreamPhotos | None, steps: int = 6, **options: Any) -> Any:
    seed_everything(3, verbose=False)
    model, losses = DIFE(**arguments), Losses()
    more = {name: options.pop(name) for name in ("num_workers",) if name in options}
    trainer = fit(model, stream_of(arguments, photos=photos, **more), folder, steps, callbacks=[losses], **options)
    return model, losses.found, trainer


def same_weights(one: DIFE, other: DIFE) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_photos_change_the_training_and_their_absence_does_not(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos
) -> None:
    _, plain, _ = run(arguments, tmp_path, None)
    unused = arguments | {"distillation": {**SAMPLES, "photo_stages": "warmup"}}
    _, off, _ = run(unused, tmp_path, None)
    assert off == plain
    _, on, _ = run(arguments, tmp_path, photos)
    assert all(a != b for a, b in zip(on, plain, strict=True))
    late = arguments | {"warmup_steps": 0, "distillation": {**SAMPLES, "photo_stages": "warmup"}}
    assert run(late, tmp_path, photos)[1] == run(late, tmp_path, None)[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_with_photos_that_goes_on_ends_with_the_bits_of_one_left_alone(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos, workers: int
) -> None:
    whole, losses, _ = run(arguments, tmp_path, photos)
    for stop in (1, 4):  # in the warm-up and in the matching stage
        _, before, trainer = run(arguments, tmp_path, photos, stop, num_workers=workers)
        trainer.save_checkpoint(tmp_path / "stopped.ckpt")
        again, after, _ = run(arguments, tmp_path, photos, num_workers=workers, ckpt_path=tmp_path / "stopped.ckpt")
        assert before + after == losses
        assert same_weights(again, whole)


def test_it_trains_in_float16_with_a_gradient_scaler(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        plugins = [MixedPrecision("16-mixed", "cpu", scaler)]
        model, losses, _ = run(arguments, tmp_path, photos, plugins=plugins)
    assert np.isfinite(losses).all()
    assert scaler.get_scale() > 2.0**10  # it grew: no step overflowed
    assert all(value.isfinite().all() and value.dtype == torch.float32 for value in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_losses_hardly_depend_on_the_precision(arguments: dict[str, Any], dtype: torch.dtype) -> None:
    model, batch = with_photos(arguments, "human", "dog")
    whole = model.distill(batch)
    with torch.autocast("cpu", dtype):
        half = model.distill(batch)
    for name, value in whole.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(value.item(), rel=0.03), name


def test_two_small_batches_with_accumulation_see_the_photos_of_two_batches(
    arguments: dict[str, Any], tmp_path: Path, photos: StreamPhotos
) -> None:
    seen: dict[int, list[Tensor]] = {1: [], 2: []}
    quiet = arguments | {"lambda_m1": 0.0, "lambda_m2": 0.0}
    for several, steps in ((1, 4), (2, 2)):

        class Watch(Callback):
            def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: StreamBatch, *_: Any) -> None:
                seen[several].append(batch.photos["dog"].images)  # noqa: B023

        data: StyleGAN2Stream = stream_of(quiet, photos=photos)
        fit(DIFE(**quiet), data, tmp_path, steps, callbacks=[Watch()], accumulate_grad_batches=several)
    assert len(seen[1]) == len(seen[2]) == 4
    assert all(torch.equal(a, b) for a, b in zip(seen[1], seen[2], strict=True))


def test_crops_of_annotated_faces_are_photos_and_their_landmarks_are_not(tmp_path: Path) -> None:
    """The crop is the evaluation's: centred on eyes and nose. A face that lacks one of them is left out."""
    root = tmp_path / "faces"
    write_faces(root, "dog", np.random.default_rng(0), count=4)
    table = (root / "train.csv").read_text().splitlines()
    columns = table[0].split(",")
    first = table[1].split(",")
    first[columns.index("nose_x")] = first[columns.index("nose_y")] = ""
    (root / "train.csv").write_text("\n".join([table[0], ",".join(first), *table[2:]]))
    domain = FaceDomain("folder", str(root), {"file": "train.csv", "left": "subject"})
    found = read_photos(StreamPhotos(faces={"dog": domain}), ["human", "dog"], 40)
    assert {name: images.shape for name, images in found.items()} == {"dog": (3, 40, 40, 3)}
    for line in table[2:]:
        row = dict(zip(columns, line.split(","), strict=True))
        shown = [[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in ("left_eye", "right_eye", "nose")]
        points = np.array(shown, np.float32)
        square = face_square(points, np.ones(3, bool), (90, 90), CropOptions(), landmarks="3-point")
        wanted = crop_image(read_image(root / row["image"]), square, 40, CropOptions().padding)
        assert any(np.array_equal(image, wanted) for image in found["dog"])


def test_folders_and_crops_of_a_domain_are_pooled(tmp_path: Path, photos: StreamPhotos) -> None:
    write_faces(tmp_path / "faces", "dog", np.random.default_rng(0), count=4)
    domain = FaceDomain("folder", str(tmp_path / "faces"), {"file": "train.csv", "left": "subject"})
    both = replace(photos, faces={"dog": domain}, held_out=0)
    found = read_photos(both, ["human", "dog"], 40)
    assert {name: len(images) for name, images in found.items()} == {"human": 7, "dog": 11}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "photos: neither folder nor faces"),
        ({"faces": {"fox": {"dataset": "folder", "root": "x"}}}, "photos.faces: 'fox' is no domain of the stream"),
        ({"faces": {"dog": {"dataset": "folder"}}}, "domain 'dog': .*root"),
    ],
)
def test_photos_of_nothing_or_of_unknown_species_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_photos(StreamPhotos(**given), ["human", "dog"], 40)


def test_a_domain_without_a_usable_annotated_face_is_named(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces", "dog", np.random.default_rng(0), count=2)
    domain = FaceDomain("folder", str(tmp_path / "faces"), {"file": "train.csv"}, crop=CropOptions(min_side=500))
    with pytest.raises(DataError, match="photos of dog: no annotated face can be cropped: "):
        read_photos(StreamPhotos(faces={"dog": domain}), ["dog"], 40)
