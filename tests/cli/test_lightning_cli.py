from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI

from dife_lightning import __version__
from dife_lightning.cli.lightning_cli import DifeCLI
from dife_lightning.running.parser import ConfigParser
from dife_lightning.running.trainer import StepProgressBar


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_only_public_methods_of_lightnings_command_line_are_overridden():
    own = {name for name, value in vars(DifeCLI).items() if callable(value) and not name.startswith("__")}
    overridden = {name for name in own if hasattr(LightningCLI, name)}
    assert overridden == {
        "add_arguments_to_parser",
        "parse_arguments",
        "before_instantiate_classes",
        "instantiate_classes",
        "instantiate_trainer",
    }


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_one_parser_is_built_and_it_parses_once(dife, monkeypatch, verb):
    built, parsed = [], []
    original_init, original_parse = ConfigParser.__init__, ConfigParser.parse_args

    def init(self, *args, **kwargs):
        built.append(kwargs.get("prog"))
        original_init(self, *args, **kwargs)

    def parse_args(self, *args, **kwargs):
        parsed.append(self.prog)
        return original_parse(self, *args, **kwargs)

    monkeypatch.setattr(ConfigParser, "__init__", init)
    monkeypatch.setattr(ConfigParser, "parse_args", parse_args)
    assert dife(verb, "-c", "tiny.yaml", "--print_config")[0] == 0
    assert [name for name in built if name is not None] == parsed == [f"dife {verb}"]


def test_a_run_records_settings_environment_metrics_and_checkpoints(dife, workdir):
    code, _, error = dife("fit", "-c", "tiny.yaml", "--run", "first", "--model.lr", "0.05", "--seed_everything", "7")
    assert code == 0, error
    run = workdir / "runs/first"
    settings = yaml.safe_load((run / "resolved.yaml").read_text())
    assert settings["model"]["init_args"]["lr"] == 0.05
    assert settings["seed_everything"] == 7
    assert "default_root_dir" not in settings["trainer"]
    record = json.loads((run / "environment.json").read_text())
    assert record["seed"] == 7
    assert record["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]  # "+cu128" is not always named
    assert record["versions"]["dife-lightning"] == __version__
    assert record["command"][:2] == ["dife", "fit"]
    assert {"time", "commit", "dirty", "machine", "precision", "checkpoint"} <= set(record)
    rows = read_csv(run / "metrics.csv")
    assert sum(bool(row["train/loss"]) for row in rows) == 6
    found = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert found == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_a_second_run_never_writes_into_the_first(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "same")
    before = {path: path.stat().st_mtime_ns for path in (workdir / "runs/same").rglob("*")}
    code, _, error = dife("fit", "-c", "tiny.yaml", "--run", "same")
    assert code == 2
    assert "runs/same exists; resume it with --ckpt_path last, replace it with --overwrite" in error
    assert {path: path.stat().st_mtime_ns for path in (workdir / "runs/same").rglob("*")} == before


def test_overwrite_replaces_the_run_of_that_name(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "same")
    (workdir / "runs/same/old.txt").touch()
    code, _, _ = dife("fit", "-c", "tiny.yaml", "--run", "same", "--overwrite")
    assert code == 0
    assert not (workdir / "runs/same/old.txt").exists()
    assert not (workdir / "runs/same-2").exists()


def test_a_run_without_a_name_is_called_after_its_configuration_and_the_time(dife, workdir):
    assert dife("fit", "-c", "tiny.yaml", "-c", "debug/limit", "--runs_root", "elsewhere")[0] == 0
    (run,) = (workdir / "elsewhere").iterdir()
    assert run.name.startswith("tiny-2")


def test_a_resumed_run_goes_on_in_its_folder_and_its_metrics_file(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "first", "--trainer.max_steps", "4")
    code, _, error = dife("fit", "--ckpt_path", "runs/first", "--trainer.max_steps", "8")
    assert code == 0, error
    run = workdir / "runs/first"
    assert [path.name for path in (workdir / "runs").iterdir()] == ["first"]
    rows = [row for row in read_csv(run / "metrics.csv") if row["train/loss"]]
    assert [int(row["step"]) for row in rows] == list(range(8))
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 8
    assert (run / "resolved-2.yaml").is_file()


def test_explicit_settings_beat_the_checkpoint_and_open_ones_come_from_it(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "first", "--model.lr", "0.01", "--model.weight", "2")
    best = "runs/first/checkpoints/best.ckpt"
    code, out, error = dife("test", "-c", "tiny.yaml", "--ckpt_path", best, "--model.lr", "5", "--out", "explicit")
    assert code == 0, error
    assert "model.lr: the checkpoint has 0.01, kept the given 5.0" in error
    assert error.count("the checkpoint has") == 1
    settings = yaml.safe_load((workdir / "explicit/resolved.yaml").read_text())["model"]["init_args"]
    assert settings["lr"] == 5
    assert settings["weight"] == 2
    assert "5.0" in out


def test_a_setting_of_a_configuration_file_beats_the_checkpoint_too(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "first")
    (workdir / "other.yaml").write_text("model: {class_path: TinyTask, init_args: {lr: 3}}")
    code, _, error = dife("test", "-c", "tiny.yaml", "-c", "other.yaml", "--ckpt_path", "runs/first", "--out", "o")
    assert code == 0
    assert "kept the given 3.0" in error
    assert yaml.safe_load((workdir / "o/resolved.yaml").read_text())["model"]["init_args"]["lr"] == 3


GROUPS = {
    "option": ["--model.extra.side", "8"],
    "long option": ["--model.init_args.extra.side=8"],
    "file": ["-c", "other.yaml"],
}


@pytest.mark.parametrize("words", GROUPS.values(), ids=GROUPS)
def test_one_setting_of_a_group_leaves_the_others_to_the_checkpoint(dife, workdir, words):
    dife("fit", "-c", "tiny.yaml", "--run", "first", "--model.extra", "{side: 4, power: 0.5}")
    (workdir / "other.yaml").write_text("model: {class_path: TinyTask, init_args: {extra: {side: 8}}}")
    code, _, error = dife("test", "-c", "tiny.yaml", *words, "--ckpt_path", "runs/first", "--out", "o")
    assert code == 0, error
    assert yaml.safe_load((workdir / "o/resolved.yaml").read_text())["model"]["init_args"]["extra"] == {
        "side": 8,
        "power": 0.5,
    }
    assert "model.extra.side: the checkpoint has 4, kept the given 8" in error
    assert error.count("the checkpoint has") == 1


def test_a_mapping_of_names_is_replaced_as_a_whole(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "first", "--model.names", "{human: 1, dog: 2}")
    words = ["--model.names", "{human: 3}", "--ckpt_path", "runs/first", "--out", "o"]
    code, _, error = dife("test", "-c", "tiny.yaml", *words)
    assert code == 0, error
    assert yaml.safe_load((workdir / "o/resolved.yaml").read_text())["model"]["init_args"]["names"] == {"human": 3}


def test_another_model_than_the_checkpoints_is_kept_and_said(dife):
    dife("fit", "-c", "tiny.yaml", "--run", "first")
    code, _, error = dife("test", "-c", "tiny.yaml", "--model", "SilentTask", "--ckpt_path", "runs/first")
    assert code == 0
    assert "was written by tests.cli.dummies.TinyTask, kept the given tests.cli.dummies.SilentTask" in error


def test_test_with_only_a_run_takes_its_settings_and_writes_beside_it(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--run", "first", "--model.lr", "0.25")
    code, out, error = dife("test", "--ckpt_path", "runs/first")
    assert code == 0, error
    assert "0.25" in out
    assert sorted(p.name for p in (workdir / "runs/first/eval/test").iterdir()) == ["environment.json", "resolved.yaml"]
    assert [path.name for path in (workdir / "runs").iterdir()] == ["first"]
    assert dife("test", "-c", "tiny.yaml", "--ckpt_path", "runs/first")[0] == 0
    assert (workdir / "runs/first/eval/test-tiny").is_dir()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_an_untrained_network_is_refused(dife, workdir, verb):
    code, _, error = dife(verb, "-c", "tiny.yaml")
    assert code == 2
    assert "--allow_untrained" in error
    assert "TinyTask" in error
    assert not (workdir / "runs").exists()


@pytest.mark.parametrize("words", [["--allow_untrained"], ["--model", "SilentTask"]])
def test_an_untrained_network_is_tested_where_that_is_meant(dife, words):
    assert dife("test", "-c", "tiny.yaml", *words)[0] == 0


CHECKPOINTS = {"missing": None, "empty": b"", "text": b"hello", "truncated": None}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_a_bad_checkpoint_gives_one_line_and_exit_code_1(dife, workdir, case):
    path = workdir / "bad.ckpt"
    if case == "truncated":
        torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif CHECKPOINTS[case] is not None:
        path.write_bytes(CHECKPOINTS[case])
    code, _, error = dife("test", "-c", "tiny.yaml", "--ckpt_path", "bad.ckpt")
    assert code == 1
    assert error.splitlines()[-1].startswith("error: ")
    assert "bad.ckpt" in error
    assert "Traceback" not in error


def test_weights_of_another_shape_give_one_line(dife):
    dife("fit", "-c", "tiny.yaml", "--run", "first")
    words = ["--model.width", "6", "--data.width", "6"]
    code, _, error = dife("test", "-c", "tiny.yaml", *words, "--ckpt_path", "runs/first")
    assert code == 1
    assert "net.weight" in error.splitlines()[-1]


def test_best_of_which_run_is_asked(dife):
    code, _, error = dife("test", "-c", "tiny.yaml", "--ckpt_path", "best")
    assert code == 2
    assert "of which run" in error


def test_an_error_in_a_models_constructor_is_one_line_and_leaves_no_run(dife, workdir):
    code, _, error = dife("fit", "-c", "tiny.yaml", "--model.weight=-1")
    assert code == 1
    assert "error: weight is -1.0, expected 0 or more" in error
    assert not (workdir / "runs").exists()


def test_a_failed_start_leaves_the_folder_of_runs_that_was_there(dife, workdir):
    (workdir / "runs").mkdir()
    assert dife("fit", "-c", "tiny.yaml", "--model.weight=-1")[0] == 1
    assert list((workdir / "runs").iterdir()) == []
    assert dife("fit", "-c", "tiny.yaml", "--model.weight=-1", "--runs_root", "runs/a/b")[0] == 1
    assert list((workdir / "runs").iterdir()) == []


def test_a_nan_loss_stops_with_the_step_and_keeps_the_last_good_checkpoint(dife, workdir):
    code, _, error = dife("fit", "-c", "tiny.yaml", "--run", "nan", "--model.bad_step", "4")
    assert code == 1
    assert "not finite at step 5" in error or "not finite at step 4" in error
    last = torch.load(workdir / "runs/nan/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in last["state_dict"].values())
    assert not [path for path in (workdir / "runs/nan").rglob("*") if path.name.startswith(".")]


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(dife):
    code, _, error = dife("fit", "-c", "tiny.yaml", "--model", "InterruptedTask")
    assert code == 130
    assert error.splitlines()[-1].startswith("interrupted; resume with")


def test_a_metric_that_is_never_logged_means_no_best_checkpoint(dife, workdir):
    assert dife("fit", "-c", "tiny.yaml", "--model", "SilentTask", "--run", "silent")[0] == 0
    assert {path.name for path in (workdir / "runs/silent/checkpoints").iterdir()} == {"last.ckpt", "previous.ckpt"}


def test_print_config_shows_all_settings_and_runs_nothing(dife, workdir):
    code, out, _ = dife("fit", "-c", "tiny.yaml", "--print_config")
    assert code == 0
    assert yaml.safe_load(out)["model"]["init_args"]["lr"] == 0.1
    assert not (workdir / "runs").exists()


def test_a_class_under_its_former_module_is_found_with_one_line_of_advice(dife, workdir):
    sys.modules.pop("dife_lightning.data.world_pairs", None)
    (workdir / "old.yaml").write_text("data: {class_path: dife_lightning.data.world_pairs.WorldPairs}")
    code, out, error = dife("fit", "-c", "tiny.yaml", "-c", "old.yaml", "--print_config")
    assert code == 0, error
    assert yaml.safe_load(out)["data"]["class_path"].endswith(".WorldPairs")
    assert yaml.safe_load(out)["data"]["init_args"]["pairs"]
    assert error.count("dife_lightning.data.world_pairs is now dife_lightning.data.world.pairs") == 1


@pytest.mark.parametrize("words", [["--model", "copy-xy"], ["--model=CopyXY"], ["-c", "a.yaml"], ["-c", "b.yaml"]])
def test_a_method_is_named_as_dife_methods_prints_it_or_by_its_class(dife, workdir, words):
    (workdir / "a.yaml").write_text("model: copy-xy")
    (workdir / "b.yaml").write_text("model: {class_path: copy-xy}")
    code, out, error = dife("test", "-c", "tiny.yaml", *words, "--print_config")
    assert code == 0, error
    assert yaml.safe_load(out)["model"]["class_path"].endswith(".CopyXY")


def test_later_configurations_and_flags_win(dife):
    _, out, _ = dife("fit", "-c", "tiny.yaml", "-c", "debug/limit", "--trainer.max_steps", "9", "--print_config")
    trainer = yaml.safe_load(out)["trainer"]
    assert trainer["max_steps"] == 9
    assert trainer["limit_val_batches"] == 1
    assert trainer["enable_model_summary"] is False


@pytest.mark.parametrize("preset", ["debug/fast", "debug/limit", "debug/overfit", "debug/profiler", "trainer/cpu"])
def test_every_preset_combines_with_an_experiment(dife, workdir, preset):
    code, _, error = dife("fit", "-c", "tiny.yaml", "-c", preset, "--run", "x", "--trainer.max_steps", "5")
    assert code == 0, error
    assert (workdir / "runs/x").exists() == (preset != "debug/fast")


def test_precision_auto_is_resolved_for_training_and_full_for_scoring(dife, workdir, monkeypatch):
    from dife_lightning.running import precision
    from dife_lightning.running.precision import PrecisionChoice

    monkeypatch.setattr(precision, "probe_precision", lambda timer: PrecisionChoice("bf16-mixed", "2x as fast"))
    _, _, error = dife("fit", "-c", "tiny.yaml", "--trainer.precision", "auto", "--run", "p")
    assert "precision: bf16-mixed (2x as fast)" in error
    assert json.loads((workdir / "runs/p/environment.json").read_text())["precision"] == "bf16-mixed"
    dife("test", "-c", "tiny.yaml", "--trainer.precision", "auto", "--ckpt_path", "runs/p", "--out", "o")
    assert json.loads((workdir / "o/environment.json").read_text())["precision"] == "32-true"


def test_lightnings_tips_are_not_printed(dife, caplog):
    _, out, error = dife("fit", "-c", "tiny.yaml", "-c", "debug/limit")
    assert "litlogger" not in out + error
    assert "litmodels" not in out + error


LOGGERS = {"wandb_offline": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow", "no_logger": None}


@pytest.mark.filterwarnings("ignore:.*noload.*loader strategy is deprecated")  # MLflow's use of SQLAlchemy
@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_configuration_writes_into_the_runs_folder(dife, workdir, monkeypatch, name):
    if LOGGERS[name] is not None:
        pytest.importorskip(LOGGERS[name])
    monkeypatch.setenv("WANDB_SILENT", "true")
    code, _, error = dife("fit", "-c", "tiny.yaml", "-c", f"trainer/{name}", "--run", "x")
    assert code == 0, error
    assert {path.name for path in workdir.iterdir()} == {"tiny.yaml", "runs"}
    written = {path.name for path in (workdir / "runs/x").iterdir()}
    assert ("metrics.csv" in written) == (LOGGERS[name] is not None)
    assert len(written) >= (5 if LOGGERS[name] else 3)


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
def test_the_progress_of_a_resumed_training_counts_all_its_batches(dife, monkeypatch):
    shown = []
    original = StepProgressBar.on_train_batch_end

    def note(self, *args):
        original(self, *args)
        shown.append((int(self.train_progress_bar.completed), self.train_progress_bar.total))

    monkeypatch.setattr(StepProgressBar, "on_train_batch_end", note)
    bar = ["--trainer.enable_progress_bar", "true", "--trainer.max_epochs", "-1", "--data.count", "16"]
    assert dife("fit", "-c", "tiny.yaml", "--run", "first", *bar)[0] == 0
    assert dife("fit", "-c", "tiny.yaml", "--ckpt_path", "runs/first", *bar, "--trainer.max_steps", "10")[0] == 0
    first_epoch, resumed, second_epoch = shown[:6], shown[6:8], shown[8:]
    assert first_epoch == [(number, 6) for number in range(1, 7)]
    assert resumed == [(7, 8), (8, 8)]
    assert second_epoch == [(1, 2), (2, 2)]
