"""Every shipped configuration parses and runs for a few steps; every registered method trains, saves and loads.

A new configuration or method is tested by being there: the configurations are found by folder, the methods by the
registry. A configuration of a method that this file does not know runs with two steps and two pairs.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import dife_lightning
from dife_lightning.cli.main import main
from dife_lightning.data.images import GeneratorImages
from dife_lightning.data.photos.aligned_photos import AlignedPhotos
from dife_lightning.data.stream import StyleGAN2Stream
from dife_lightning.data.world.clicks import WorldClicks
from dife_lightning.data.world.few_labels import WorldFewLabels
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.data.world.renders import WorldRenders
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.methods._base import FloorModule
from dife_lightning.methods.stylegan2 import StyleGAN2
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork
from dife_lightning.registry import get_method, list_methods
from dife_lightning.running.configs import list_configs, load_config
from dife_lightning.weights import assets
from tests import shipped_assets
from tests.few_faces import TINY_HRNET
from tests.pretrained.formats.writers import write_cats
from tests.pretrained.tiny_backbones import write_backbone
from tests.shipped_assets import register_tiny_world
from tests.tiny import TINY_CATS, dife_arguments, draw_nothing, write_landmarks, write_run

#: The folder of images that generators are trained on here is small, and its images of one colour.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")]
SETTINGS = {name: load_config(name) for name in list_configs()}
EXPERIMENTS = [name for name, content in SETTINGS.items() if "class_path" in content.get("model", {})]
#: Those that only change an experiment and come after it; tests/test_photo_configs.py combines them.
CHANGES = [name for name, content in SETTINGS.items() if name not in EXPERIMENTS and {"model", "data"} & {*content}]
PRESETS = [name for name, content in SETTINGS.items() if "model" not in content and "trainer" in content]
#: Those of public weights and data sets are run by tests/experiments/test_rehearsal.py, those of photographs by
#: tests/test_photo_configs.py, those of the published protocols of Meta-CSKT by tests/test_published_configs.py.
RUNNABLE = [
    name
    for name in EXPERIMENTS
    if not name.startswith(("paper/", "photos/")) and "own/" not in json.dumps(SETTINGS[name])
]
STEPS = {
    "trainer": {
        "accelerator": "cpu",
        "max_steps": 2,
        "val_check_interval": 1,
        "log_every_n_steps": 1,
        "check_val_every_n_epoch": None,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
}
TINY_ENCODER = {"planes": [8, 8, 8], "blocks": 1, "depth": 1, "groups": 4}
TINY_GAN = {"channels": [8, 8, 8], "z_dim": 8, "w_dim": 8, "mapping_layers": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tiny shipped assets, a small folder of images, and one cache of renders for all tests here."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets, "FOLDER", folder / "assets")
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        draw_nothing(patch)
        register_tiny_world(folder)
        (folder / "images").mkdir()
        for i in range(4):
            picture = np.full((20, 24, 3), 60 * i, dtype=np.uint8)
            Image.fromarray(picture).save(folder / "images" / f"{i}.png")
        write_run(folder / "run", shipped_assets.CHANNELS, mapping_layers=1)
        yield folder


def short_class(part: dict[str, Any]) -> str:
    return str(part["class_path"]).rpartition(".")[2]


def pairs_shrunk(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return changes that leave two pairs of each set in the `WorldPairs` that a data module holds."""
    changes = {"val_count": 2, "count": 2, "lists": ["long"], "framings": ["jittered"]}
    return {"evaluation": {**arguments["evaluation"], "init_args": {**arguments["evaluation"]["init_args"], **changes}}}


def shrink_dife(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    changes: dict[str, Any] = {
        "warmup_steps": 1,
        "pairs": {"refresh_every": 1, "per_refresh": 1, "first": 1, "bank_size": 2, "batch_size": 1},
        "exploration": {"steps": 1},
        "distillation": {"statistics_samples": 2},
        "matching_loss": {"queries": 8},
    }
    model_changes = {key: {**model.get(key, {}), **v} if isinstance(v, dict) else v for key, v in changes.items()}
    if list(model["domains"]) != [
        "human",
        "dog",
    ]:  # one configuration runs with its own encoder, which all others share
        model_changes["encoder"] = TINY_ENCODER
    data_changes = {"batch_size": len(model["domains"]), **pairs_shrunk(data)}
    own_run = {domain: name for domain, name in model["generators"].items() if name.startswith("runs/")}
    if own_run:  # a run that the user is to have trained
        generators = {**model["generators"], **dict.fromkeys(own_run, str(folder / "run"))}
        model_changes["generators"] = data_changes["generators"] = generators
    return {"model": model_changes, "data": data_changes}


def shrink_stylegan2(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    model: dict[str, Any] = {**TINY_GAN, "max_images": 4}
    if content["model"]["init_args"].get("init_from"):
        parent = StyleGAN2(**TINY_GAN, stem=content["model"]["init_args"].get("stem", "rgb"))
        torch.save({"state_dict": parent.state_dict()}, folder / "parent.ckpt")
        model["init_from"] = str(folder / "parent.ckpt")
    data: dict[str, Any] = {"size": 16, "batch_size": 2, "count": 4, "held_out": 2, "num_workers": 0}
    if "species" not in content["data"]["init_args"]:
        data["folder"] = str(folder / "images")
    return {"model": model, "data": data}


def shrink_teacher(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    data = content["data"]["init_args"]
    return {"model": {"width": 8}, "data": {"species": dict.fromkeys(data["species"], 1), **pairs_shrunk(data)}}


def shrink_dve(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "model": {"images": 2, "encoder": TINY_ENCODER},
        "data": {"batch_size": 2, **pairs_shrunk(content["data"]["init_args"])},
    }


def shrink_renders(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    data = content["data"]["init_args"]
    return {"model": {}, "data": {"batch_size": 2 * len(data["domains"]), "count": 2, **pairs_shrunk(data)}}


def shrink_backbone(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**shrink_other(content, folder), "model": tiny_backbone(folder)}


def shrink_generator_features(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**shrink_other(content, folder), "model": {"steps": 1}}


def tiny_backbone(folder: Path) -> dict[str, Any]:
    pytest.importorskip("transformers", reason="the extra 'backbones' is not installed")
    return {"model": write_backbone(folder / "backbone"), "side": 28, "layer": -1}


def shrink_few_labels(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Start from new weights, and vote in the embedding of the tiny teacher; a face of each species."""
    model, data = content["model"].get("init_args", {}), content["data"]["init_args"]
    evaluation = {**data["evaluation"], "init_args": {**data["evaluation"]["init_args"], "count": 2, "val_count": 2}}
    known = {"init_from": None, "warmup_steps": 1, "embedder": "world/teacher", "steps": 2}
    known |= {"mining": {"t_neg": None, "t_pos": None}, "votes": {"embedder": "world/teacher"}}
    if content is not SETTINGS["meta_cskt/world"]:  # one configuration runs with its own network, which others share
        known["network"] = json.loads(json.dumps(TINY_HRNET))
    return {
        "model": {key: value for key, value in known.items() if key in model},
        "data": {"labels": len(data["species"]), "count": 2, "labelled_batch": 2, "evaluation": evaluation},
    }


def shrink_other(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    data = content.get("data") or {"class_path": "WorldPairs"}
    pairs = {"count": 2, "val_count": 2, "lists": ["long"]}
    return {"model": {}, "data": pairs if short_class(data) == "WorldPairs" else pairs_shrunk(data["init_args"])}


SHRINK: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "DIFE": shrink_dife,
    "DVE": shrink_dve,
    "StyleGAN2": shrink_stylegan2,
    "SurfaceTeacher": shrink_teacher,
    "DenseTruth": shrink_renders,
    "CATs": shrink_renders,
    "FrozenBackbone": shrink_backbone,
    "GeneratorFeatures": shrink_generator_features,
    **dict.fromkeys(
        ("LandmarkNet", "MetaCSKT", "ConsistencyNet", "MeanLandmarks", "NearestLabel", "LabelVote"), shrink_few_labels
    ),
}


def tiny_config(name: str, world: Path, path: Path) -> Path:
    """Write what makes the experiment ``name`` small, to be given after it."""
    content = SETTINGS[name]
    changes = SHRINK.get(short_class(content["model"]), shrink_other)(content, world)
    parts = {
        part: {"class_path": content[part]["class_path"], "init_args": init_args}
        for part, init_args in changes.items()
        if part in content
    }
    path.write_text(yaml.safe_dump({**parts, **STEPS}))
    return path


def run(*words: str) -> None:
    assert main(list(words)) == 0, words


def metric_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_parses_as_it_is_with_and_without_a_trainer_preset(name, capsys):
    run("fit", "--config", name, "--config", "trainer/cpu", "--print_config")
    printed = yaml.safe_load(capsys.readouterr().out)
    assert short_class(printed["model"]) == short_class(SETTINGS[name]["model"])
    assert printed["trainer"]["precision"] == "auto"


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_that_changes_another_says_so_when_it_is_alone(name, capsys):
    assert main(["fit", "--config", name, "--config", "trainer/cpu"]) == 2
    assert "nothing given for: " in capsys.readouterr().err
    run("fit", "--config", "photos/human_dog", "--config", name, "--config", "trainer/cpu", "--print_config")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_parses_after_an_experiment_and_wins(name, capsys):
    run("fit", "--config", EXPERIMENTS[0], "--config", name, "--print_config")
    printed = yaml.safe_load(capsys.readouterr().out)["trainer"]
    plain = {key: value for key, value in SETTINGS[name]["trainer"].items() if not isinstance(value, dict)}
    assert plain.items() <= printed.items()


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_experiment_runs_for_two_steps_and_is_tested(name, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cls = short_class(SETTINGS[name]["model"])
    tiny = tiny_config(name, world, tmp_path / "tiny.yaml")
    configs = ("--config", name, "--config", str(tiny))
    scored = "KeypointTransfer" in {short_class(one) for one in SETTINGS[name]["trainer"].get("callbacks", ())}
    if issubclass(method_class(cls), FloorModule):
        run("test", *configs, "--out", "out")
    else:
        run("fit", *configs, "--run", "short")
        rows = metric_rows(Path("runs/short/metrics.csv"))
        losses = [float(value) for row in rows for key, value in row.items() if "loss" in key and value]
        assert losses
        assert np.isfinite(losses).all()
        stages = json.loads(Path("runs/short/stages.json").read_text())
        several = cls == "MetaCSKT"  # after the warm-up, both of its networks step
        assert sum(stage["steps"] for stage in stages.values()) == 2 + several
        assert all(stage["seconds"] > 0 for stage in stages.values())
        dife_lightning.load("runs/short/checkpoints/last.ckpt")
        run("test", *configs, "--ckpt_path", "runs/short/checkpoints/last.ckpt", "--out", "out")
        run("card", "runs/short", "--out", "card.md")
        card = Path("card.md").read_text()
        assert card.startswith(f"# Model card of `short`\n`{cls}`")
        assert "\nNot tested:" in card
    run("card", "out", "--out", "test.md")
    assert "\nNothing was trained in this folder" in Path("test.md").read_text()
    if scored:
        (metrics,) = Path("out").rglob("metrics.json")
        assert json.loads(metrics.read_text())
        rows = metric_rows(metrics.with_name("predictions.csv"))
        assert rows
        assert np.isfinite([float(row["error"]) for row in rows if row["error"]]).all()


def method_class(name: str) -> type[Any]:
    return next(cls for cls in map(get_method, list_methods()) if cls.__name__ == name)


def gan(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    return StyleGAN2(**TINY_GAN, max_images=2), GeneratorImages(folder=str(folder / "images"), size=16, batch_size=2)


def dife(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    arguments = dife_arguments(folder, warmup_steps=0)
    data = StyleGAN2Stream(arguments["generators"], layer=3, size=32, batch_size=2)
    return get_method("dife")(**arguments), data


def teacher(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    return get_method("surface-teacher")(dim=8, width=8, blocks=1), WorldClicks({"human": 2}, batch_size=2)


def dve(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    encoder = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}
    data = StyleGAN2Stream({"human": "world/human", "dog": "world/dog"}, layer=3, size=32, batch_size=2)
    return get_method("dve")(size=32, dim=8, encoder=encoder, optimizer={"schedule": "constant"}), data


def dense_truth(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    encoder = {"planes": [8, 8, 8], "blocks": 1, "depth": 2, "groups": 4}
    return get_method("dense-truth")(dim=8, encoder=encoder), WorldRenders(["human"], size=32, batch_size=2, count=2)


def cats(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    return get_method("cats")(TINY_CATS), WorldRenders(["human", "dog"], size=32, batch_size=4, count=2)


def projected(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    """A frozen network of random weights, because those of ImageNet come with an extra."""
    module = get_method("projected-backbone")(layer=3, side=32, dim=4, grid=2)
    module.setup = lambda stage: None
    return module, AlignedPhotos({"grey": str(folder / "images")}, size=16, batch_size=2)


def few_labels() -> tuple[dict[str, Any], WorldFewLabels]:
    network = {"stem": 4, "bottlenecks": 1, "channels": [4, 4, 4, 4], "modules": [1, 1, 1], "blocks": 1}
    batches: dict[str, Any] = {"labelled_batch": 2, "unlabelled_batch": 2, "size": 32}
    return {"network": network}, WorldFewLabels(["dog"], labels=1, count=2, **batches)


def consistency(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    options, data = few_labels()
    return get_method("consistency")(**options), data


def landmark_net(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    options, data = few_labels()
    return get_method("landmark-net")(**options), data


def meta_cskt(folder: Path) -> tuple[L.LightningModule, L.LightningDataModule]:
    options, data = few_labels()
    return get_method("meta-cskt")(steps=2, mining={"t_neg": None, "t_pos": None}, **options), data


#: Methods that learn, and the data that they learn from.
RECIPES = {
    "stylegan2": gan, "dife": dife, "dve": dve, "surface-teacher": teacher, "dense-truth": dense_truth,
    "cats": cats, "projected-backbone": projected, "consistency": consistency,
    "landmark-net": landmark_net, "meta-cskt": meta_cskt,
}  # fmt: skip


def public_cats(folder: Path) -> dict[str, Any]:
    write_cats(folder / "cats", CATsNetwork(CATsArchitecture(**TINY_CATS)))
    return {"weights": str(folder / "cats")}


def outside_predictions(folder: Path) -> dict[str, Any]:
    """A table with a single render, so that all others count at the centre."""
    names = get_scheme("animalweb-9").landmarks
    columns = ",".join(f"{name}_{axis}" for name in names for axis in "xy")
    numbers = ",".join(str(value) for value in range(1, 19))
    (folder / "found.csv").write_text(f"image,{columns}\nworld/dog/test/0,{numbers}\n")
    return {"file": str(folder / "found.csv"), "missing": "centre"}


def labelled_dog(folder: Path) -> dict[str, Any]:
    return {"labels": WorldFewLabels(["dog"], labels=1, count=1, size=32, unlabelled_batch=0)}


#: Methods that learn nothing, but need arguments, or fewer steps than by default.
ARGUMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "public-cats": public_cats,
    "outside-predictions": outside_predictions,
    "frozen-backbone": tiny_backbone,
    "generator-features": lambda folder: {"steps": 1},
    "frozen-landmarks": lambda folder: {"model": write_landmarks(folder / "landmarks.ckpt")},
    **dict.fromkeys(("mean-landmarks", "nearest-label", "label-vote"), labelled_dog),
}


def trainer(**more: Any) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", max_epochs=-1, limit_val_batches=0, **quiet, **more)


@torch.no_grad()
def answers(module: Any, data: WorldPairs) -> Tensor:
    """What a method is asked for: samples, or points transferred for a batch of pairs."""
    module.eval()
    if not hasattr(module, "transfer_batch"):
        return module.sample(2)
    return module.transfer_batch(next(iter(data.test_dataloader()[0])))


@pytest.fixture(scope="module")
def two_pairs(world: Path) -> WorldPairs:
    data = WorldPairs(count=2, lists=["long"], framings=["jittered"], size=32)
    data.setup("test")
    return data


@pytest.mark.parametrize("name", list_methods())
def test_every_method_trains_a_step_and_comes_back_from_its_checkpoint(name, world, two_pairs, tmp_path):
    if name not in RECIPES:
        module = get_method(name)(**ARGUMENTS.get(name, lambda folder: {})(tmp_path))
        found = trainer().predict(module, two_pairs.test_dataloader()[0])
        assert found is not None
        points = found[0].points
    else:
        module, data = RECIPES[name](tmp_path if name == "dife" else world)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        runner = trainer(max_steps=2)
        runner.fit(module, data)
        trained = [key for key, value in module.state_dict().items() if not torch.equal(value, before[key])]
        assert trained, f"{name} learnt nothing in a step"
        runner.save_checkpoint(tmp_path / "a.ckpt")
        points = answers(module, two_pairs)
        torch.testing.assert_close(answers(dife_lightning.load(tmp_path / "a.ckpt"), two_pairs), points)
    assert bool(points.isfinite().all())


def test_a_method_that_is_never_fitted_says_so_through_the_command(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        main(["fit", "--model", "CopyXY", "--data", "WorldPairs", "--data.val_count", "2", "--trainer.max_epochs", "1"])
        == 1
    )
    assert "has nothing to learn" in capsys.readouterr().err.splitlines()[-1]
