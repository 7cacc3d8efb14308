"""The record of a run: all settings, versions, commit, seed and command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from dife_lightning._version import __version__
from dife_lightning.running.configs import read_yaml
from dife_lightning.utils.environment import collect_environment
from dife_lightning.utils.files import atomic_write, write_json
from dife_lightning.utils.run_folder import ENVIRONMENT, RESOLVED
from dife_lightning.utils.yaml_text import dump_yaml, load_printed

#: The parts of a configuration that describe an experiment; the rest are options of one command.
SECTIONS = ("seed_everything", "trainer", "model", "data")


class RecordRun(SaveConfigCallback):
    """Write ``resolved.yaml`` and ``environment.json`` into the run's folder and tell the loggers the settings.

    Args:
        parser: of the verb.
        config: the parsed settings.
        folder: where to write.
        facts: further entries of ``environment.json`` (verb, command, checkpoint).
        keep: keep an existing record, and number the new one (for a resumed run).
        **kwargs: passed to Lightning's callback.
    """

    def __init__(
        self, parser: Any, config: Any, folder: Path, facts: dict[str, Any], keep: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(parser, config, save_to_log_dir=False, **kwargs)
        self.folder, self.facts, self.keep = folder, facts, keep

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write both files (rank zero only, before the first batch)."""
        settings = resolved_settings(self.parser, self.config)
        header = f"# dife-lightning {__version__}: all settings of `{' '.join(self.facts['command'])}`\n"
        with atomic_write(self._place(RESOLVED)) as temporary:
            temporary.write_text(header + dump_yaml(settings), encoding="utf-8")
        record = {**collect_environment(), "seed": settings.get("seed_everything"), **self.facts}
        write_json(self._place(ENVIRONMENT), record)
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(settings)

    def _place(self, name: str) -> Path:
        path = self.folder / name
        number = 2
        while self.keep and path.exists():
            path = self.folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
            number += 1
        return path


def resolved_settings(parser: Any, config: Any) -> dict[str, Any]:
    """Return the sections of ``config`` that a later ``--config resolved.yaml`` can take, as plain values."""
    dumped = load_printed(parser.dump(config, skip_unset=False, format="yaml"))
    folder = dumped["trainer"].pop("default_root_dir", None)
    for logger in _entries(dumped["trainer"].get("logger")):
        arguments = logger.get("init_args", {})
        if arguments.get("save_dir") == folder:  # another run has another folder
            arguments["save_dir"] = "."
            if arguments.get("tracking_uri") == mlflow_database(folder):
                arguments["tracking_uri"] = None
    return {key: dumped[key] for key in SECTIONS if dumped.get(key) is not None}


def mlflow_database(folder: str | Path) -> str:
    """Return the URI of the database that MLflow writes into a run's folder."""
    return f"sqlite:///{folder}/mlflow.db"


def precision_of(run: Path) -> str | None:
    """Return the precision that a run was trained in; None if its record does not say."""
    trainer = read_yaml(run / RESOLVED).get("trainer")
    found = trainer.get("precision") if isinstance(trainer, dict) else None
    return None if found in (None, "auto") else str(found)


def _entries(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, dict)]


def command_line(verb: str, args: list[str]) -> list[str]:
    """Return the command as the user could type it again."""
    return [Path(sys.argv[0] or "dife").name if "dife" in Path(sys.argv[0]).name else "dife", verb, *args]
