"""What the settings of a run may contain to be used unseen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml

from dife_lightning.errors import DifeError, UsageError
from dife_lightning.registry import import_all
from dife_lightning.running.trust import check_arguments, check_run

RUN = Path(__file__).parents[1] / "fixtures/run_0_1_0"
Change = Callable[[dict[str, Any]], object]
LIGHTNING = "lightning.pytorch."


class OwnMethod(L.LightningModule):
    """A class that the user has imported."""

    def __init__(
        self, hook: Callable[[], None] | None = None, net: L.LightningModule | None = None, name: str = ""
    ) -> None:
        super().__init__()


def entry(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


def trainer(**values: Any) -> Change:
    return lambda settings: settings["trainer"].update(values)


def callback(name: str, /, **arguments: Any) -> Change:
    return trainer(callbacks=[entry(name, **arguments)])


def logger(name: str, /, **arguments: Any) -> Change:
    return trainer(logger=[entry(f"{LIGHTNING}loggers.{name}", **arguments)])


def model(**values: Any) -> Change:
    return lambda settings: settings["model"]["init_args"].update(values)


def data(**values: Any) -> Change:
    return lambda settings: settings["data"]["init_args"].update(values)


def top(**values: Any) -> Change:
    return lambda settings: settings.update(values)


CALLBACKS, EVIL = f"{LIGHTNING}callbacks.", "evil.Evil"
#: What is wrong -> the change to a sound record, and what the refusal names.
HOSTILE: dict[str, tuple[Change, str]] = {
    "callback that calls functions": (callback(f"{CALLBACKS}LambdaCallback", setup="os.system"), "LambdaCallback"),
    "callback from a module beside": (callback(EVIL), "evil.Evil"),
    "function as a callback": (callback("os.system"), "os.system"),
    "function of a module that we import": (callback("dife_lightning.cli.main.os.system"), "os.system"),
    "class of torch": (callback("torch.nn.Linear", in_features=1), "torch.nn.Linear"),
    "class of Lightning that is not listed": (callback(f"{CALLBACKS}BatchSizeFinder"), "BatchSizeFinder"),
    "our writer outside the run": (callback("dife_lightning.callbacks.step_clock.StepClock", path="/tmp/x"), "/tmp/x"),
    "our writer in the home folder": (
        callback("dife_lightning.callbacks.prediction_writer.PredictionWriter", out_dir="~/x"),
        "~/x",
    ),
    "our writer above the run": (
        callback("dife_lightning.callbacks.keypoint_transfer.KeypointTransfer", out_dir="theirs/../../x"),
        "../../x",
    ),
    "our writer in the working folder": (
        callback("dife_lightning.callbacks.keypoint_transfer.KeypointTransfer", out_dir="."),
        "out_dir",
    ),
    "checkpoints outside": (callback(f"{CALLBACKS}ModelCheckpoint", dirpath="/tmp/x"), "/tmp/x"),
    "name of checkpoints": (callback(f"{CALLBACKS}ModelCheckpoint", filename="{x.__class__}"), "filename"),
    "averaging by a function": (callback(f"{CALLBACKS}StochasticWeightAveraging", swa_lrs=1), "StochasticWeight"),
    "console of the progress bar": (
        callback(f"{CALLBACKS}RichProgressBar", console_kwargs={"file": "x"}),
        "console_kwargs",
    ),
    "a callback that is text": (trainer(callbacks=["evil.Evil"]), "trainer.callbacks"),
    "callbacks that are text": (trainer(callbacks="{class_path: evil.Evil}"), "trainer.callbacks"),
    "a callback as a file of settings": (trainer(callbacks=["evil.yaml"]), "trainer.callbacks"),
    "a callback with more than arguments": (
        trainer(callbacks=[{**entry(f"{CALLBACKS}EarlyStopping"), "dict_kwargs": {}}]),
        "trainer.callbacks",
    ),
    "arguments that are text": (
        trainer(callbacks=[{"class_path": f"{CALLBACKS}EarlyStopping", "init_args": "evil.yaml"}]),
        "trainer.callbacks",
    ),
    "class path that is a list": (trainer(callbacks=[{"class_path": ["evil.Evil"]}]), "trainer.callbacks"),
    "class within a list": (callback(f"{CALLBACKS}EarlyStopping", monitor=[entry(EVIL)]), "evil.Evil"),
    "logger that sends elsewhere": (logger("MLFlowLogger", save_dir=".", tracking_uri="http://x"), "tracking_uri"),
    "logger with options of its library": (logger("WandbLogger", save_dir=".", settings={"base_url": "x"}), "settings"),
    "logger outside": (logger("TensorBoardLogger", save_dir="/tmp/x"), "/tmp/x"),
    "version of a logger outside": (logger("CSVLogger", save_dir=".", version="../../x"), "../../x"),
    "logger that is not listed": (logger("CometLogger"), "CometLogger"),
    "profiler class": (trainer(profiler=entry(f"{LIGHTNING}profilers.SimpleProfiler", dirpath="/tmp")), "profiler"),
    "profiler by path": (trainer(profiler="evil.Evil"), "profiler"),
    "profiler by bare name": (trainer(profiler="SimpleProfiler"), "profiler"),
    "profiler by text": (trainer(profiler="{class_path: evil.Evil}"), "profiler"),
    "strategy class": (trainer(strategy=entry("evil.Evil")), "strategy"),
    "accelerator by path": (trainer(accelerator="evil.Evil"), "accelerator"),
    "accelerator from standard input": (trainer(accelerator="-"), "accelerator"),
    "word that is a file of the run": (trainer(accelerator="simple"), "accelerator"),
    "plugins": (trainer(plugins=[entry(EVIL)]), "plugins"),
    "plugin by name": (trainer(plugins="transformer-engine"), "plugins"),
    "model registry": (trainer(model_registry="x"), "model_registry"),
    "folder of the trainer": (trainer(default_root_dir="/tmp"), "default_root_dir"),
    "class in the trainer's values": (trainer(max_time={"hours": entry(EVIL)}), "evil.Evil"),
    "trainer a list": (top(trainer=[1]), "trainer"),
    "model from a module beside": (top(model=entry(EVIL)), "evil.Evil"),
    "model as a file of settings": (top(model="evil.yaml"), "model"),
    "class in an option of the model": (model(encoder=entry(EVIL)), "evil.Evil"),
    "data from a module beside": (top(data=entry(EVIL)), "evil.Evil"),
    "evaluation from a module beside": (data(evaluation=entry(EVIL)), "evil.Evil"),
    "evaluation as a file of settings": (data(evaluation="evil.yaml"), "evaluation"),
    "evaluation as text": (data(evaluation="{class_path: evil.Evil}"), "evaluation"),
    "class deep inside": (
        data(evaluation=entry("dife_lightning.data.stream.StyleGAN2Stream", evaluation=entry(EVIL))),
        EVIL,
    ),
    "options of a class as a file": (model(encoder="evil.yaml"), "encoder"),
    "generators as a file": (data(generators="evil.yaml"), "generators"),
    "function for a class of the user": (top(model=entry(f"{__name__}.OwnMethod", hook="os.getcwd")), "os.getcwd"),
    "class for a class of the user": (top(model=entry(f"{__name__}.OwnMethod", net="evil.Evil")), "evil.Evil"),
    "settings within settings": (top(config="evil.yaml"), "config"),
    "settings of the verb": (top(test={"trainer": {}}), "test"),
    "another checkpoint": (top(ckpt_path="/tmp/x.ckpt"), "ckpt_path"),
    "trust": (top(trust_run=True), "trust_run"),
    "out": (top(out="/tmp/x"), "out"),
    "defaults of the parser": (top(__default_config__="evil.yaml"), "__default_config__"),
    "a key that is a number": (lambda settings: settings.update({3: 4}), "3"),
}
#: What is wrong -> the whole text of the record.
BROKEN = {
    "nothing": "",
    "a list": "[1, 2]",
    "text": "hello",
    "no YAML": "trainer: {",
    "Python's tag": "trainer: !!python/object/apply:os.system [ls]",
    "another tag": "trainer: !evil x",
    "bytes": "seed_everything: !!binary aGVsbG8=",
    "a number of 5,000 digits": "seed_everything: " + "9" * 5000,
    "references that multiply": "seed_everything:\n- &a0 [1]\n"
    + "".join(f"- &a{n + 1} [*a{n}, *a{n}, *a{n}]\n" for n in range(30)),
    "a circle": "seed_everything: &a [*a]",
    "deep nesting": "seed_everything: " + "[" * 5000 + "]" * 5000,
    "a million lines": "seed_everything: 0\n" * 100_000,
    "two documents": "trainer: {}\n---\ntrainer: {}",
    "no text": "\0\1\2",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import_all("methods", "datasets", "data", "callbacks")
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("raise SystemExit('imported')")
    Path("evil.yaml").write_text("class_path: evil.Evil")
    run = Path(shutil.copytree(RUN, "theirs", ignore=shutil.ignore_patterns("*.ckpt")))
    (run / "simple").write_text("class_path: evil.Evil")
    return run


def assert_refused(run: Path, word: str = "") -> None:
    with pytest.raises(DifeError) as error:
        check_run(run)
    assert word in str(error.value)
    assert "theirs" in str(error.value)
    assert len(str(error.value)) < 600
    assert "evil" not in sys.modules


@pytest.mark.parametrize(("change", "word"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_settings_are_refused_by_name(run: Path, change: Change, word: str) -> None:
    settings = yaml.safe_load((run / "resolved.yaml").read_text())
    change(settings)
    (run / "resolved.yaml").write_text(yaml.safe_dump(settings))
    assert_refused(run, word)


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_broken_settings_are_refused(run: Path, text: str) -> None:
    (run / "resolved.yaml").write_text(text)
    assert_refused(run)


@pytest.mark.parametrize("name", ["eval", "checkpoints/best.ckpt", "metrics.csv", ".lock", "checkpoints/previous.ckpt"])
def test_links_that_lead_out_are_refused(run: Path, name: str, tmp_path: Path) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / "victim")
    assert_refused(run, name)


def test_a_record_that_is_a_link_out_or_to_itself_is_refused(run: Path) -> None:
    (run / "circle").symlink_to("circle")
    (run / "resolved.yaml").unlink()
    (run / "resolved.yaml").symlink_to("/dev/zero")
    assert_refused(run, "resolved.yaml")


SOUND: dict[str, Change] = {
    "as recorded": top(),
    "generators that lie anywhere": data(generators={"human": "/data/ffhq.pkl", "dog": "own/dog"}),
    "weights to start from": model(init_from="../other/last.ckpt"),
    "early stopping": callback(f"{CALLBACKS}EarlyStopping", monitor="val/pixel_error", mode="min", patience=3),
    "the bar's theme": callback(f"{CALLBACKS}RichProgressBar", theme={"description": "white"}, console_kwargs=None),
    "checkpoints within": callback(f"{CALLBACKS}ModelCheckpoint", dirpath="theirs/more", monitor="val/x"),
    "a logger within": logger("WandbLogger", save_dir=".", project="mine", log_model=False, experiment=None),
    "words of the trainer": trainer(precision="bf16-mixed", strategy="ddp", devices="0,1", max_time="00:01:00:00"),
    "a class that the user has imported": top(model=entry(f"{__name__}.OwnMethod", name="x/y", hook=None)),
}


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND.keys())
def test_sound_settings_are_accepted(run: Path, change: Change) -> None:
    settings = yaml.safe_load((run / "resolved.yaml").read_text())
    change(settings)
    (run / "resolved.yaml").write_text(yaml.safe_dump(settings))
    (run / "checkpoints/linked.ckpt").symlink_to("best.ckpt")
    check_run(run)


@pytest.mark.parametrize("value", ["os.system", "evil.yaml"])
def test_functions_and_files_among_a_checkpoints_settings_are_refused(run: Path, value: str) -> None:
    with pytest.raises(UsageError, match=value):
        check_arguments(OwnMethod, {"hook": value}, run / "last.ckpt")
