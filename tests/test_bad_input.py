"""What a user can get wrong through the command: one `error:` line, an exit code other than 0, nothing half-written."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  (before a test captures the streams that its loggers keep)
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import dife_lightning
from dife_lightning.cli.main import main
from dife_lightning.running.folders import drop_if_unused
from dife_lightning.weights import assets
from tests.tiny import dife_arguments

#: Folders of a few images of one colour are trained on here.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*\d+ (usable )?images?\b")
TRAINER = {
    "accelerator": "cpu",
    "max_steps": 40,
    "max_epochs": -1,
    "val_check_interval": 1,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
GAN = {"channels": [8, 8], "z_dim": 8, "w_dim": 8, "mapping_layers": 1, "max_images": 16}
Bad = Callable[..., str]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "assets")
    (tmp_path / "images").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, dtype=np.uint8)).save(tmp_path / f"images/{i}.png")
    write("gan.yaml", "StyleGAN2", GAN, "GeneratorImages", {"folder": "images", "size": 8, "batch_size": 2})
    return tmp_path


def write(path: str, model: str, arguments: dict[str, Any], data: str, data_arguments: dict[str, Any]) -> None:
    parts = {"model": (model, arguments), "data": (data, data_arguments)}
    content = {key: {"class_path": name, "init_args": given} for key, (name, given) in parts.items()}
    Path(path).write_text(yaml.safe_dump({**content, "trainer": TRAINER}))


def write_dife(folder: Path, **changes: Any) -> None:
    """Write dife.yaml, a DIFE for human and dog whose networks are tiny."""
    arguments = dife_arguments(folder)
    pairs = {"pairs": ["human+dog"], "val_count": 2, "size": 32, "cache": False}
    evaluation = {"class_path": "WorldPairs", "init_args": pairs}
    stream = {"generators": arguments["generators"], "layer": 3, "size": 32, "batch_size": 2, "evaluation": evaluation}
    write("dife.yaml", "DIFE", {**arguments, **changes}, "StyleGAN2Stream", stream)


@pytest.fixture
def bad(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Bad:
    """Run a command that must fail; returns its one error line, after looking for what it left behind."""

    def run(*words: str, code: int = 1, keeps_run: bool = False) -> str:
        capsys.readouterr()
        assert main(list(words)) == code
        out, err = capsys.readouterr()
        lines = [line for line in (out + err).splitlines() if "error" in line.lower()]
        assert len(lines) == 1, out + err
        assert err.splitlines()[-1] == lines[0]
        assert lines[0].startswith("error: ")
        assert "Traceback" not in out + err
        assert not [path for path in workdir.rglob("*") if path.name.startswith(".")], "a half-written file"
        left = [path for root in ("runs", "out") for path in (workdir / root).rglob("*")]
        assert keeps_run or not left, left
        return lines[0]

    return run


# Checkpoints


@pytest.mark.parametrize("words", [("test", "--out", "out"), ("fit",), ("validate", "--out", "out")])
@pytest.mark.parametrize("case", ["missing", "truncated", "empty", "foreign"])
def test_a_checkpoint_that_cannot_be_read_is_named(bad, workdir, words, case):
    path = workdir / "bad.ckpt"
    if case == "truncated":
        torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif case == "empty":
        path.touch()
    elif case == "foreign":
        torch.save({"state_dict": {"a": torch.zeros(3)}}, path)
    verb, *more = words
    assert "bad.ckpt" in bad(verb, "-c", "gan.yaml", "--ckpt_path", "bad.ckpt", *more)


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint"])
def test_a_broken_start_from_other_weights_is_named(bad, workdir, content):
    if content is not None:
        (workdir / "start.ckpt").write_bytes(content)
    assert "start.ckpt" in bad("fit", "-c", "gan.yaml", "--model.init_args.init_from", "start.ckpt")


def test_a_start_from_a_generator_of_another_size_names_the_tensor(bad, workdir):
    write_dife(workdir)
    line = bad("fit", "-c", "gan.yaml", "--model.init_args.init_from", str(workdir / "human.safetensors"))
    assert "human.safetensors" in line


# Image folders


def test_a_broken_image_is_named(bad, workdir):
    (workdir / "images/2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert "images/2.png is damaged or not an image" in bad("fit", "-c", "gan.yaml")


def test_a_truncated_image_is_named(bad, workdir):
    path = workdir / "images/3.png"
    path.write_bytes(path.read_bytes()[:40])
    assert "images/3.png" in bad("fit", "-c", "gan.yaml")


def test_an_empty_folder_says_what_was_looked_for(bad, workdir):
    (workdir / "empty").mkdir()
    assert "empty holds no images; expected" in bad("fit", "-c", "gan.yaml", "--data.init_args.folder", "empty")


def test_a_missing_folder_is_named(bad):
    assert "no folder nowhere" in bad("fit", "-c", "gan.yaml", "--data.init_args.folder", "nowhere")


def test_the_folder_configuration_asks_for_a_folder(bad):
    assert "folder" in bad("fit", "-c", "stylegan2/folder")


def test_a_single_image_is_too_few(bad, workdir):
    for i in (1, 2, 3):
        (workdir / f"images/{i}.png").unlink()
    assert "holds 1 image" in bad("fit", "-c", "gan.yaml")


# Names


def test_an_unknown_species_gets_the_known_ones(bad):
    line = bad("fit", "-c", "gan.yaml", "--data.init_args.folder=null", "--data.init_args.species=dgo")
    assert "dgo" in line
    assert "dog" in line


def test_an_unknown_domain_is_named(bad, workdir):
    write_dife(workdir, domains={"human": 8, "cow": 8})
    assert "domain 'cow' has no generator" in bad("fit", "-c", "dife.yaml")


def test_an_unknown_generator_is_named(bad, workdir):
    write_dife(workdir, generators={"human": "world/humn", "dog": str(workdir / "dog.safetensors")})
    assert "world/humn" in bad("fit", "-c", "dife.yaml")


def test_an_unknown_teacher_is_named_and_leaves_no_run(bad, workdir):
    write_dife(workdir, teacher="world/techer")
    assert "world/techer" in bad("fit", "-c", "dife.yaml")


def test_an_unknown_pair_gets_the_known_species(bad):
    line = bad("test", "--model", "CopyXY", "--data", "WorldPairs", "--data.pairs", "[human+cow]", "--out", "out")
    assert "unknown domain 'cow'" in line
    assert "human" in line


# Settings


@pytest.mark.parametrize("place", ["model", "data", "trainer"])
def test_a_misspelt_key_of_a_file_gets_the_closest_one(bad, place):
    content = yaml.safe_load(Path("gan.yaml").read_text())
    key, right = {
        "model": ("r1_gama", "r1_gamma"),
        "data": ("batchsize", "batch_size"),
        "trainer": ("max_stepz", "max_steps"),
    }[place]
    (content[place] if place == "trainer" else content[place]["init_args"])[key] = 1
    Path("wrong.yaml").write_text(yaml.safe_dump(content))
    line = bad("fit", "-c", "wrong.yaml", code=2)
    assert key in line
    assert f"Did you mean '{right}'?" in line or f"{right}'?" in line


def test_a_misspelt_option_gets_the_closest_one(bad):
    assert "--trainer.max_steps" in bad("fit", "-c", "gan.yaml", "--trainer.max_step=3", code=2)


@pytest.mark.parametrize("name", ["lambda_k1", "lambda_k2", "lambda_m1", "lambda_m2"])
@pytest.mark.parametrize("value", ["-0.1", "nan"])
def test_a_lambda_below_zero_is_refused(bad, workdir, name, value):
    write_dife(workdir)
    line = bad("fit", "-c", "dife.yaml", f"--model.init_args.{name}={value if value != 'nan' else '.nan'}")
    assert f"{name} is {float(value)}" in line


@pytest.mark.parametrize("setting", ["r1_gamma=-1", "lr=0", "style_mixing=2"])
def test_settings_of_a_generator_that_make_no_sense_are_refused(bad, setting):
    assert setting.split("=")[0] in bad("fit", "-c", "gan.yaml", f"--model.init_args.{setting}")


# Settings that no option of ours holds

STRANGE = {
    "a negative seed": (["--seed_everything", "-1"], 2, "seed_everything is -1; expected 0 to 4294967295"),
    "a seed of 41 bits": (["--seed_everything", str(2**40)], 2, "seed_everything is 1099511627776"),
    "too many steps": (["--trainer.max_steps", str(10**20)], 2, "trainer.max_steps is 100000000000000000000"),
    "negative devices": (["--trainer.devices", "-7"], 1, "`devices` .* should be an int > 0"),
    "an unknown accelerator": (["--trainer.accelerator", "abacus"], 1, "abacus"),
    "an unknown strategy": (["--trainer.strategy", "wait"], 1, "wait"),
    "a size of 0": (["--data.init_args.size", "0"], 1, "size"),
    "a negative batch": (["--data.init_args.batch_size", "-2"], 1, "batch_size"),
    "a negative width": (["--model.init_args.z_dim", "-1"], 1, "z_dim|negative"),
    "another size than the network's": (["--data.init_args.size", "16"], 1, "16"),
    "a long run name": (["--run", "x" * 300], 2, "300 characters, expected at most 200"),
    "a line break in the run name": (["--run", "a\nb"], 2, "printable characters only"),
    "an escape in the run name": (["--run", "a\x1b[31mb"], 2, "printable characters only"),
    "a dash before the run name": (["--run=-a"], 2, "starts with no dash"),
    "an escape in an option": (["--model.init_args.a\x1b[31m", "1"], 2, "unknown key"),
    "an escape in a value": (["--data.init_args.folder", "a\x1b[31m"], 1, "no folder a"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_strange_settings_are_refused_in_one_printable_line(bad, case):
    words, code, says = STRANGE[case]
    line = bad("fit", "-c", "gan.yaml", *words, code=code)
    assert re.search(says, line), line
    assert line.isprintable()


LOGGERS = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow"}


@pytest.mark.parametrize("logger", LOGGERS)
def test_a_logger_without_its_package_says_what_to_install(bad, logger):
    package = LOGGERS[logger]
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    line = bad("fit", "-c", "gan.yaml", "-c", f"trainer/{package}")
    assert re.search(rf"these settings are refused: .*\b{package}\b.*Try .*`pip install", line)


# A loss that is no number


def broken_at(name: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the training step of a method return NaN from the given call on."""
    cls, calls = dife_lightning.registry.get_method(name), iter(range(10**6))
    original = cls.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = original(self, batch, batch_idx)
        return loss * float("nan") if next(calls) >= step else loss

    monkeypatch.setattr(cls, "training_step", training_step)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), [("stylegan2", "gan.yaml"), ("dife", "dife.yaml")])
def test_a_nan_loss_stops_with_the_step_and_the_last_good_checkpoint_stays(bad, workdir, monkeypatch, name, config):
    write_dife(workdir)
    broken_at(name, 3, monkeypatch)
    line = bad("fit", "-c", config, "--run", "nan", keeps_run=True)
    assert "the loss is not finite at step" in line
    assert "last good checkpoint is kept" in line
    assert "learning rate" in line
    last = workdir / "runs/nan/checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] == (6 if name == "stylegan2" else 3)  # two optimisers, one optimiser
    assert all(bool(value.isfinite().all()) for value in checkpoint["state_dict"].values())
    dife_lightning.load(last)


def test_a_learning_rate_that_is_far_too_large_ends_in_one_line(bad):
    line = bad("fit", "-c", "gan.yaml", "--model.init_args.lr=1e35", "--run", "nan", keeps_run=True)
    assert "not finite" in line
    assert "learning rate" in line


# What is removed after a failure


def test_only_a_folder_with_nothing_but_its_record_is_removed(tmp_path):
    for name, files in {"record": ["resolved.yaml"], "log": ["resolved.yaml", "metrics.csv"], "deep": ["a/b"]}.items():
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        drop_if_unused(tmp_path / name, "resolved.yaml", "environment.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "log"]
