"""``dife fit | validate | test | predict``: Lightning's command line with its traps filled in."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentError
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import CheckpointIO

from dife_lightning.callbacks.best_and_last import checkpoints_for
from dife_lightning.callbacks.keep_last import KeepLast
from dife_lightning.callbacks.keypoint_transfer import KeypointTransfer
from dife_lightning.callbacks.nan_guard import StopOnNaN
from dife_lightning.callbacks.prediction_writer import PredictionWriter
from dife_lightning.callbacks.stages import StageTimer
from dife_lightning.cli import skipping
from dife_lightning.errors import CheckpointError, UsageError
from dife_lightning.loading import best_checkpoint
from dife_lightning.registry import import_all, method_name
from dife_lightning.running import trust
from dife_lightning.running.configs import option_value, resolve_configs
from dife_lightning.running.folders import (
    LAST,
    PREVIOUS,
    RESOLVED,
    drop_if_empty,
    drop_if_unused,
    last_checkpoint,
    new_run,
    run_of_checkpoint,
    stem_of,
)
from dife_lightning.running.locks import RunLock, process_rank
from dife_lightning.running.parser import ConfigParser, shared_words
from dife_lightning.running.parser_errors import explain
from dife_lightning.running.precision import probe_precision, time_convolution
from dife_lightning.running.quiet import clear_weights_error, quiet
from dife_lightning.running.reconcile import batches_done, read_trainer_checkpoint, reconcile
from dife_lightning.running.record import RecordRun, command_line, precision_of
from dife_lightning.running.trainer import AtomicCheckpointIO, DifeTrainer, RunLogger, StepProgressBar
from dife_lightning.weights.building import check_settings

VERBS = ("fit", "validate", "test", "predict")
#: Tell the other processes of a distributed run which folder the first one made, and what its probe chose.
_FOLDER_VARIABLE, _PRECISION_VARIABLE = "DIFE_RUN_FOLDER", "DIFE_PRECISION"


def run_verb(verb: str, args: list[str]) -> int:
    """Run one of Lightning's verbs and return the exit code."""
    args, names = resolve_configs(_with_last(args) if verb == "fit" else args)
    import_all("methods", "datasets", "data", "callbacks")
    args, names = _with_config_of_run(verb, args, names)
    with quiet(), clear_weights_error():
        DifeCLI(verb, args, names).close()
    return 0


class DifeCLI(LightningCLI):
    """LightningCLI in subclass mode whose runs live in folders of their own.

    Args:
        verb: fit, validate, test or predict.
        verb_args: the words after the verb, configuration names already replaced by paths.
        config_names: the names of the configurations, for the run's default name.
    """

    def __init__(self, verb: str, verb_args: list[str], config_names: list[str]) -> None:
        self.verb, self.verb_args, self.config_names = verb, verb_args, config_names
        self.folder: Path | None = None
        self._made_folder = False
        self._lock: RunLock | None = None
        self.resume_step: int | None = None
        strict = {"exit_on_error": False, "allow_abbrev": False}  # a misspelt option is not guessed
        try:
            super().__init__(
                LightningModule,
                LightningDataModule,
                save_config_callback=RecordRun,
                trainer_class=DifeTrainer,
                parser_class=ConfigParser,
                seed_everything_default=0,
                parser_kwargs={**strict, **{name: dict(strict) for name in VERBS}},
                subclass_mode_model=True,
                subclass_mode_data=True,
                auto_configure_optimizers=False,
                args=[verb, *verb_args],
            )
        except BaseException:
            if self.folder is not None and self._made_folder and process_rank() == 0:
                drop_if_unused(self.folder)
            self.close()
            raise

    def close(self) -> None:
        """Leave no empty folder behind."""
        for name in (_FOLDER_VARIABLE, _PRECISION_VARIABLE):
            os.environ.pop(name, None)
        if self._lock is not None:
            self._lock.release()
        if self.folder is not None and process_rank() == 0:
            drop_if_empty(self.folder)

    # --- parsing

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        for name, subparser in self._subcommand_parsers.items():
            (_add_fit_options if name == "fit" else _add_evaluation_options)(subparser)
            subparser.add_argument(*skipping.FLAGS, action="store_true", help=skipping.HELP)
            subparser.add_argument(trust.FLAG, action="store_true", help=trust.HELP)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse without defaults, to know what the user gave; then with them and what the data take from the model."""
        given = [word for word in args if word.partition("=")[0] != "--print_config"]
        try:
            self.explicit = parser.parse_args(given, defaults=False, _skip_validation=True)
            self.config = parser.parse_args([*args, *shared_words(self.explicit[self.verb])])
        except ArgumentError as error:
            options = self._subcommand_parsers[self.verb]._option_string_actions
            raise explain(str(error), self.verb, options, _class_names()) from None
        self.settings = self.config[self.verb]

    def _parse_ckpt_path(self) -> None:
        """Fill settings that the user left open from the checkpoint; what was said stays (see ``reconcile``)."""
        path = self._checkpoint_file()
        if path is None:
            return
        content = self._read(path)
        saved = content.get("hyper_parameters") or {}
        model = self.settings.model
        cls = _import_class(model.class_path)
        wrote = str(saved.get("_class_path") or model.class_path)
        if self._uses_settings_of_run() and wrote.rpartition(".")[2] != cls.__name__:
            raise CheckpointError(f"{path} was written by {wrote}, but the settings of its run are of {cls.__name__}.")
        said = (self.explicit[self.verb].get("model") or {}).get("init_args") or {}
        updates, notes = reconcile(saved, _as_dict(said), _as_dict(model.get("init_args") or {}), model.class_path)
        for note in notes:
            _tell(note)
        if not self.settings.trust_run:
            trust.check_arguments(cls, updates, path)
        if updates:
            merged = {"class_path": model.class_path, "init_args": {**_as_dict(model.init_args), **updates}}
            self.config = self.parser.parse_object({self.verb: {"model": merged}}, self.config)
            self.settings = self.config[self.verb]
        if method_name(cls) is not None:
            check_settings(cls, _as_dict(self.settings.model.get("init_args") or {}), content, path)

    def _uses_settings_of_run(self) -> bool:
        return not self.config_names and option_value(self.verb_args, "--config") is not None

    def _read(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint; where a run is to go on from a damaged ``last.ckpt``, offer the one before."""
        try:
            content = read_trainer_checkpoint(path, resumes=self.verb == "fit")
        except CheckpointError as error:
            before = path.with_name(PREVIOUS)
            if self.verb == "fit" and path.name == LAST and before.is_file():
                raise CheckpointError(f"{error} The one before is kept: --ckpt_path {before}") from None
            raise
        if self.verb == "fit":
            self.resume_step = batches_done(content)
        return content

    def _checkpoint_file(self) -> Path | None:
        """Return the file that ``--ckpt_path`` means, after replacing a run's folder by its best checkpoint."""
        given = self.settings.get("ckpt_path")
        if given is None or (self.verb == "fit" and given == "hpc"):
            return None
        if given in ("best", "last", "hpc"):
            raise UsageError(f"--ckpt_path {given}: say of which run, for example --ckpt_path runs/first.")
        if self.verb == "fit" and Path(given).is_dir():
            given = Path(given) / "checkpoints" / "last.ckpt"
        path = best_checkpoint(given)
        if not path.is_file():
            raise CheckpointError(f"no checkpoint {path}. Check the path (runs are in runs/<run>/checkpoints/).")
        self.settings.ckpt_path = str(path)
        return path

    # --- before anything is built

    def before_instantiate_classes(self) -> None:
        """Refuse what makes no sense, choose the precision, and make the run's folder."""
        if self.verb != "fit":
            self._refuse_untrained()
        if self.settings.skip_broken:
            skipping.skip_broken_in(self.settings.get("data"))
        trainer = self.settings.trainer
        if trainer.default_root_dir is not None:
            raise UsageError("trainer.default_root_dir is set by dife; use --runs_root, --run or --out.")
        if trainer.precision == "auto":
            trainer.precision = self._choose_precision()
        if self.verb == "test" and self._prints_its_own_table():
            self.settings.verbose = False
        self.folder, self.resumed = self._make_folder()
        trainer.default_root_dir = str(self.folder)  # callbacks write their results below it
        trainer.logger = self._logger_settings(trainer.logger)

    def _prints_its_own_table(self) -> bool:
        """Return whether a callback prints one table of all sets, so that Lightning's one per set can go."""
        callbacks = [entry.get("class_path", "") for entry in _as_list(self.settings.trainer.callbacks)]
        return any(path.endswith(f".{KeypointTransfer.__name__}") for path in callbacks)

    def _refuse_untrained(self) -> None:
        cls = _import_class(self.settings.model.class_path)
        if self.settings.ckpt_path or self.settings.allow_untrained or not getattr(cls, "needs_checkpoint", True):
            return
        raise UsageError(
            f"`dife {self.verb}` without --ckpt_path would score an untrained {cls.__name__}. "
            "Add --ckpt_path runs/<run>, or --allow_untrained if that is what you want."
        )

    def _choose_precision(self) -> str:
        """Probe for training; evaluate in full precision, so that scores do not depend on the machine.

        A run that goes on keeps its precision, and the processes of a run have the same.
        """
        if self.verb != "fit":
            return "32-true"
        run = run_of_checkpoint(self.settings.ckpt_path)
        known = os.environ.get(_PRECISION_VARIABLE) or (precision_of(run) if run is not None else None)
        if known is not None:
            return known
        choice = probe_precision(time_convolution if self.settings.trainer.accelerator == "cpu" else None)
        _tell(f"precision: {choice.name} ({choice.reason})")
        os.environ[_PRECISION_VARIABLE] = choice.name  # for the processes that Lightning will start
        return choice.name

    def _make_folder(self) -> tuple[Path, bool]:
        """Return the folder of this command's results, and whether it is a run that goes on."""
        run = run_of_checkpoint(self.settings.ckpt_path)
        if run is not None and not self.settings.trust_run:
            trust.check_links(run)
        stem = stem_of(self.config_names)
        if self.verb != "fit" and (self.settings.out or run):
            folder = Path(self.settings.out) if self.settings.out else _evaluation_folder(run, self.verb, stem)
            self._made_folder = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
        elif process_rank() > 0:
            folder = self._folder_of_leader(run)
        elif self.verb == "fit" and run is not None and self.settings.run in (None, run.name):
            folder = run
        elif self.verb == "fit":
            folder = self._new_run(self.settings.run, stem, self.settings.overwrite)
        else:
            folder = self._new_run(None, f"{self.verb}-{stem or 'untrained'}", overwrite=False)
        os.environ[_FOLDER_VARIABLE] = str(folder)
        if self.verb == "fit" and process_rank() == 0:
            self._lock = RunLock(folder)
        _tell(f"{'run' if self.verb == 'fit' else 'results'}: {folder}")
        return folder, folder == run

    def _folder_of_leader(self, run: Path | None) -> Path:
        """Return the folder that the first process made; only writing needs it, so it need not be there yet."""
        if _FOLDER_VARIABLE in os.environ:
            return Path(os.environ[_FOLDER_VARIABLE])
        if self.verb == "fit" and self.settings.run is not None:
            return Path(self.settings.runs_root) / self.settings.run
        if self.verb == "fit" and run is not None:
            return run
        raise UsageError(f"`dife {self.verb}` in several processes that were started from outside needs a --run name.")

    def _new_run(self, name: str | None, stem: str | None, overwrite: bool) -> Path:
        self._made_folder = True
        if overwrite and name and (Path(self.settings.runs_root) / name).is_dir():
            RunLock(Path(self.settings.runs_root) / name).release()  # refuses if somebody trains in there
        return new_run(self.settings.runs_root, name, stem, overwrite)

    def _logger_settings(self, logger: Any) -> Any:
        """Give loggers of the configuration the run's folder; none given means a CSV file when fitting."""
        if logger in (None, True):
            return self.verb == "fit" or False
        for entry in logger if isinstance(logger, list) else [logger]:
            arguments = entry.get("init_args") if hasattr(entry, "get") else None
            if arguments is not None and "save_dir" in arguments and arguments["save_dir"] in (None, "."):
                arguments["save_dir"] = str(self.folder)
        return logger

    # --- the trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Add what every run has: guards, checkpoints, progress, the record, a CSV log."""
        assert self.folder is not None
        own = _as_list(config.get("callbacks"))
        extra: list[Callback] = []
        if (
            not any(isinstance(callback, ProgressBar) for callback in own)
            and config["enable_progress_bar"] is not False
        ):
            extra.append(StepProgressBar())
        if self.verb == "fit":
            extra.append(StopOnNaN())
            if not any(isinstance(callback, StageTimer) for callback in own):
                extra.append(StageTimer())
            if config["enable_checkpointing"] is not False:
                extra.append(checkpoints_for(self.model, self.folder))
                if not any(isinstance(callback, KeepLast) for callback in own):
                    extra.append(KeepLast())
        if self.verb == "predict" and not any(isinstance(callback, PredictionWriter) for callback in own):
            extra.append(PredictionWriter())
        plugins = _as_list(config.get("plugins"))
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(AtomicCheckpointIO())
        config.update(callbacks=own + extra, plugins=plugins, logger=self._with_csv(config["logger"]))
        self.save_config_kwargs = {"folder": self.folder, "facts": self._facts(), "keep": self.resumed}
        return super()._instantiate_trainer(config, callbacks)

    def _with_csv(self, logger: Any) -> Any:
        if self.verb != "fit" or logger is False:
            return logger
        given = [] if logger in (None, True) else _as_list(logger)
        if any(isinstance(one, CSVLogger) for one in given):
            return given
        return [*given, RunLogger(str(self.folder), self.resume_step if self.resumed else None)]

    def _facts(self) -> dict[str, Any]:
        """Return what ``environment.json`` says of this command."""
        return {
            "verb": self.verb,
            "command": command_line(self.verb, self.verb_args),
            "precision": self.settings.trainer.precision,
            "checkpoint": self.settings.ckpt_path,
        }


def _add_fit_options(parser: LightningArgumentParser) -> None:
    parser.add_argument(
        "--run", type=str | None, default=None, help="Name of the run; the configuration's and the time."
    )
    parser.add_argument("--runs_root", type=str, default="runs", help="Folder that holds the runs.")
    parser.add_argument("--overwrite", action="store_true", help="Replace an earlier run of that name.")


def _add_evaluation_options(parser: LightningArgumentParser) -> None:
    parser.add_argument("--allow_untrained", action="store_true", help="Go on without --ckpt_path.")
    parser.add_argument(
        "--out", type=str | None, default=None, help="Folder of the results; <run>/eval/... by default."
    )
    parser.add_argument("--runs_root", type=str, default="runs", help="Folder of results that belong to no run.")


def _with_last(args: list[str]) -> list[str]:
    """Replace ``--ckpt_path last`` by the file of the run that ``--run`` names."""
    if option_value(args, "--ckpt_path") != "last":
        return args
    path = last_checkpoint(option_value(args, "--runs_root") or "runs", option_value(args, "--run"))
    return [*args, "--ckpt_path", str(path)]  # the later one counts


def _with_config_of_run(verb: str, args: list[str], names: list[str]) -> tuple[list[str], list[str]]:
    """Let ``--ckpt_path runs/x`` alone bring the settings of that run."""
    run = run_of_checkpoint(option_value(args, "--ckpt_path"))
    if names or run is None or option_value(args, "--model") is not None:
        return args, names
    if trust.FLAG not in args:
        trust.check_run(run)
    # scores are computed in full precision, whatever the run was trained in
    precision = [] if verb == "fit" else ["--trainer.precision=auto"]
    return ["--config", str(run / RESOLVED), *precision, *args], names


def _evaluation_folder(run: Path | None, verb: str, stem: str | None) -> Path:
    assert run is not None
    return run / "eval" / (f"{verb}-{stem}" if stem else verb)


def _class_names() -> list[str]:
    """Return the short names of our models, data modules and callbacks."""
    found: set[type[Any]] = set()
    todo: list[type[Any]] = [LightningModule, LightningDataModule, Callback]
    while todo:
        new = set(todo.pop().__subclasses__()) - found
        found |= new
        todo += new
    return [cls.__name__ for cls in found if not cls.__module__.startswith("lightning.")]


def _import_class(class_path: str) -> type[Any]:
    module, _, name = class_path.rpartition(".")
    cls: type[Any] = getattr(sys.modules[module], name)
    return cls


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _as_dict(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = value.as_dict() if hasattr(value, "as_dict") else dict(value)
    return plain


def _tell(text: str) -> None:
    if process_rank() == 0:
        print(text, file=sys.stderr)
