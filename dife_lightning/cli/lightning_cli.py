"""Lightning's command line with one parser, settings from checkpoints, and a folder for each run."""

from __future__ import annotations

import os
from argparse import ArgumentError
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import CheckpointIO

from dife_lightning.callbacks.best_and_last import checkpoints_for
from dife_lightning.callbacks.keep_last import KeepLast
from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.callbacks.landmark_error import LandmarkError
from dife_lightning.callbacks.landmark_writer import LandmarkWriter
from dife_lightning.callbacks.nan_guard import StopOnNaN
from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.callbacks.stages import StageTimer
from dife_lightning.cli.main import VERBS
from dife_lightning.cli.options import EPILOG, add_options, skip_broken_in
from dife_lightning.cli.photos import check_model, trained_words
from dife_lightning.data.face_sets import FaceSetsDataModule
from dife_lightning.errors import CheckpointError, UsageError
from dife_lightning.registry import find_class, imported_classes, list_methods, method_name
from dife_lightning.running.bounds import check_bounds, clear_construction_error
from dife_lightning.running.configs import given_settings, option_value, with_class_names
from dife_lightning.running.folders import run_of_checkpoint
from dife_lightning.running.parser import ConfigParser, shared_words
from dife_lightning.running.parser_errors import explain, untrained
from dife_lightning.running.precision import PRECISION_VARIABLE, choose_precision
from dife_lightning.running.quiet import tell
from dife_lightning.running.reconcile import (
    batches_done,
    checkpoint_file,
    differences,
    read_trainer_checkpoint,
    saved_settings,
)
from dife_lightning.running.record import RecordRun, command_line, mlflow_database
from dife_lightning.running.results import ResultsFolder
from dife_lightning.running.trainer import AtomicCheckpointIO, DifeTrainer, RunLogger, StepProgressBar
from dife_lightning.running.trust import check_arguments
from dife_lightning.weights.building import check_settings

#: Callbacks that print one table of all sets, instead of which Lightning would print one for each set.
_SCORERS = (KeypointTransfer.__name__, LandmarkError.__name__)


class DifeCLI(LightningCLI):
    """LightningCLI for one verb, in subclass mode, with a folder for each run.

    Args:
        verb: fit, validate, test or predict.
        words: the words after the verb, with configurations as paths.
        config_names: the names of the configurations, for the run's default name.
        command: the words as the user typed them, for the record.
    """

    def __init__(self, verb: str, words: list[str], config_names: list[str], command: list[str]) -> None:
        self.verb, self.words, self.config_names, self.command = verb, words, config_names, command
        self.resume_step: int | None = None
        with ExitStack() as self._cleanup:
            self._cleanup.callback(os.environ.pop, PRECISION_VARIABLE, None)
            super().__init__(
                LightningModule,
                LightningDataModule,
                save_config_callback=RecordRun,
                trainer_class=DifeTrainer,
                parser_class=ConfigParser,
                seed_everything_default=0,
                # a misspelt option is not guessed
                parser_kwargs={
                    "exit_on_error": False,
                    "allow_abbrev": False,
                    "prog": f"dife {verb}",
                    "description": VERBS[verb][1],
                    "epilog": EPILOG,
                },
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                args=words,
                run=False,  # there is one parser, without sub-commands
            )
            arguments = {name: self.settings[name] for name in self.verb_arguments}
            getattr(self.trainer, verb)(self.model, datamodule=self.datamodule, **arguments)

    # --- parsing

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add our options and those of the Trainer's method."""
        add_options(parser, self.verb)
        skip = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        known = set(getattr(DifeTrainer, self.verb).__annotations__)
        self.verb_arguments = parser.add_method_arguments(DifeTrainer, self.verb, skip=skip & known)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse once, with the settings of the checkpoint as defaults of the model."""
        given = with_class_names(given_settings(args))
        path = checkpoint_file(self.verb, given.get("ckpt_path"))
        content = {} if path is None else read_trainer_checkpoint(path, resumes=self.verb == "fit")
        saved = {} if path is None else self._use_checkpoint(parser, path, content, given)
        shared = [*shared_words(given), *trained_words(args, content, path)]
        try:
            self.config = self.settings = parser.parse_args([*args, *shared])
        except ArgumentError as error:
            classes = [cls.__name__ for cls in imported_classes()] + list_methods()
            raise explain(str(error), self.verb, parser._option_string_actions, classes) from None
        if path is not None:
            self.settings.ckpt_path = str(path)
        given_arguments = self.settings.model.get("init_args") or {}
        arguments = given_arguments.as_dict() if isinstance(given_arguments, Namespace) else dict(given_arguments)
        for note in differences(saved, arguments):
            tell(note)
        cls = find_class(self.settings.model.class_path)
        if path is not None and cls is not None and method_name(cls) is not None:
            check_settings(cls, arguments, content, path)
        check_bounds(self.settings)

    def _use_checkpoint(
        self, parser: LightningArgumentParser, path: Path, content: dict[str, Any], given: dict[str, Any]
    ) -> dict[str, Any]:
        """Make the settings of a checkpoint the defaults of the model, and return them."""
        if self.verb == "fit":
            self.resume_step = batches_done(content)
        model = given.get("model") or {}
        cls = find_class(str(model.get("class_path")))
        if cls is None:  # the parser says which class is missing or unknown
            return {}
        hyper_parameters = content.get("hyper_parameters") or {}
        wrote = str(hyper_parameters.get("_class_path") or cls.__name__)
        if self._uses_settings_of_run() and wrote.rpartition(".")[2] != cls.__name__:
            raise CheckpointError(f"{path} was written by {wrote}, but the settings of its run are of {cls.__name__}.")
        known, notes = saved_settings(hyper_parameters, cls)
        for note in notes:
            tell(note)
        stated = model.get("init_args") or {}
        if not given.get("trust_run"):
            check_arguments(cls, {key: value for key, value in known.items() if stated.get(key) != value}, path)
        if known:
            parser.set_defaults({"model": {"class_path": f"{cls.__module__}.{cls.__name__}", "init_args": known}})
        return known

    def _uses_settings_of_run(self) -> bool:
        return not self.config_names and option_value(self.words, "--config") is not None

    # --- before anything is built

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; errors of constructors become one line."""
        with clear_construction_error():
            super().instantiate_classes()

    def before_instantiate_classes(self) -> None:
        """Check the settings, choose the precision, and create the run's folder."""
        settings, trainer = self.settings, self.settings.trainer
        cls = find_class(settings.model.class_path)
        trained = self.verb == "fit" or settings.ckpt_path or settings.allow_untrained
        if not trained and getattr(cls, "needs_checkpoint", True):
            raise untrained(self.verb, getattr(cls, "__name__", "network"))
        if settings.get("images") is not None:
            check_model(cls)
        if settings.skip_broken:
            skip_broken_in(settings.get("data"))
        if trainer.default_root_dir is not None:
            raise UsageError("trainer.default_root_dir is set by dife; use --runs_root, --run or --out.")
        if trainer.precision == "auto":
            trainer.precision = choose_precision(self.verb, trainer.accelerator, run_of_checkpoint(settings.ckpt_path))
        callbacks = [entry.get("class_path", "") for entry in _as_list(trainer.callbacks)]
        if self.verb == "test" and any(path.rpartition(".")[2] in _SCORERS for path in callbacks):
            settings.verbose = False
        self.results = self._cleanup.enter_context(ResultsFolder(self.verb, settings, self.config_names))
        trainer.default_root_dir = str(self.results.path)  # callbacks write their results below it
        trainer.logger = self._logger_settings(trainer.logger)

    def _logger_settings(self, logger: Any) -> Any:
        """Return the loggers of the configuration with the run's folder; without any, a training writes a CSV file."""
        if logger in (None, True):
            return self.verb == "fit" or False
        for entry in _as_list(logger):
            arguments = entry.get("init_args") if hasattr(entry, "get") else None
            if arguments is not None and "save_dir" in arguments and arguments["save_dir"] in (None, "."):
                arguments["save_dir"] = str(self.results.path)
                if "tracking_uri" in arguments and arguments["tracking_uri"] is None:  # MLflow 3 writes no files
                    arguments["tracking_uri"] = mlflow_database(self.results.path)
        return logger

    # --- the trainer

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add the parts of every run: guards, checkpoints, progress bar, record and CSV log."""
        config = self.config_init["trainer"]
        plugins = _as_list(config.get("plugins"))
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        facts = {
            "verb": self.verb,
            "command": command_line(self.verb, self.command),
            "precision": self.settings.trainer.precision,
            "checkpoint": self.settings.ckpt_path,
        }
        self.save_config_kwargs = {"folder": self.results.path, "facts": facts, "keep": self.results.resumed}
        own = _as_list(config.get("callbacks"))
        missing = [callback for callback in self._standard_callbacks(config) if not _has(own, type(callback))]
        logger = self._with_csv(config["logger"])
        return super().instantiate_trainer(callbacks=own + missing, plugins=plugins, logger=logger, **kwargs)

    def _standard_callbacks(self, config: Any) -> list[Callback]:
        """Return the callbacks of every run; the caller drops those of a class that the user has configured."""
        callbacks: list[Callback] = []
        if not _has(_as_list(config.get("callbacks")), ProgressBar) and config["enable_progress_bar"] is not False:
            callbacks.append(StepProgressBar())
        if self.verb == "fit":
            callbacks += [StopOnNaN(), StageTimer()]
            if config["enable_checkpointing"] is not False:
                callbacks += [checkpoints_for(self.model, self.results.path), KeepLast()]
        if self.verb == "predict":
            callbacks.append(self._writer())
        return callbacks

    def _writer(self) -> Callback:
        """Return what writes the predictions: of single faces, or of pairs."""
        if isinstance(self.datamodule, FaceSetsDataModule):
            return LandmarkWriter(self.settings.pictures, self.settings.label_next, self.settings.labelled)
        return PredictionWriter()

    def _with_csv(self, logger: Any) -> Any:
        if self.verb != "fit" or logger is False:
            return logger
        given = [] if logger in (None, True) else _as_list(logger)
        if _has(given, CSVLogger):
            return given
        return [*given, RunLogger(str(self.results.path), self.resume_step if self.results.resumed else None)]


def _has(values: list[Any], kind: type[Any]) -> bool:
    return any(isinstance(value, kind) for value in values)


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
