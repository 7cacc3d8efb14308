"""Run folders: making, naming, finding and removing them."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable
from pathlib import Path

from dife_lightning.errors import UsageError, did_you_mean
from dife_lightning.utils.run_folder import RESOLVED, TESTS, RunFolder

LOCK = ".lock"
#: Bytes of a run's name; file systems allow 255, and files beside the folder add to it.
_LONGEST_NAME = 200
#: Shipped folders whose files say how to train, not what; runs are not named after them.
_MODIFIERS = ("trainer", "debug")


def run_of_checkpoint(checkpoint: str | Path | None) -> Path | None:
    """Return the run folder that a checkpoint lies in (``<run>/checkpoints/x.ckpt``), or None."""
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    for folder in (path, *path.parents[:2]):
        if (folder / RESOLVED).is_file() and TESTS not in folder.parts[-2:-1]:
            return folder
    return None


def stem_of(configs: Iterable[str]) -> str | None:
    """Return the stem of the last configuration that names an experiment, or None."""
    stems = [Path(name).stem for name in configs if Path(name).parent.name not in _MODIFIERS]
    stems = [stem for stem in stems if stem != Path(RESOLVED).stem]
    return stems[-1] if stems else None


def new_run(root: str | Path, name: str | None, stem: str | None, overwrite: bool = False) -> Path:
    """Create and return the folder of a new run; never one that exists.

    Args:
        root: the folder of all runs.
        name: what the user called the run; ``<stem>-<date>-<time>``, counted up where that exists, if None.
        stem: of the configuration, for the default name.
        overwrite: remove an earlier run called ``name`` first.

    Returns:
        ``<root>/<name>``.

    Raises:
        UsageError: a run of that name exists, or the name is not allowed.
    """
    check_name(name)
    base = Path(root) / (name or f"{stem or 'run'}-{datetime.datetime.now():%Y%m%d-%H%M%S}")
    if overwrite and name and base.exists():
        _remove_run(base)
    for folder in [base] if name else _numbered(base):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    refuse_existing(base)
    raise UsageError(f"{base} was removed while it was being created; run the command again.")


def _numbered(base: Path) -> Iterable[Path]:
    yield base
    yield from (base.with_name(f"{base.name}-{number}") for number in range(2, 10_000))


def check_name(name: str | None) -> None:
    """Check that a name can be that of a run's folder.

    Raises:
        UsageError: it is a path, too long, or has characters that a shell or a terminal would interpret.
    """
    if name is None:
        return
    if not name or Path(name).name != name or name in (".", ".."):
        raise UsageError(f"--run '{name}' is not a folder name; use --runs_root for the folder that holds the runs.")
    if name.startswith("-") or not name.isprintable():
        raise UsageError(f"--run {name!r}: a run's name starts with no dash and has printable characters only.")
    if len(name.encode()) > _LONGEST_NAME:
        raise UsageError(f"--run {name[:20]}...: {len(name)} characters, expected at most {_LONGEST_NAME}.")


def refuse_existing(folder: Path) -> None:
    """Raise UsageError if there is a run in ``folder`` already."""
    if folder.exists():
        raise UsageError(
            f"{folder} exists; resume it with --ckpt_path last, replace it with --overwrite, or choose another --run."
        )


def _remove_run(folder: Path) -> None:
    """Delete a folder only if it looks like a run."""
    if [path for path in folder.iterdir() if path.name != LOCK] and not (folder / RESOLVED).is_file():
        raise UsageError(f"--overwrite: {folder} is not a run ({RESOLVED} is missing), so it is not removed.")
    shutil.rmtree(folder)


def last_checkpoint(root: str | Path, name: str | None) -> Path:
    """Return the last checkpoint of the run ``--run``, which ``--ckpt_path last`` stands for.

    Raises:
        UsageError: there is no name, no such run, or no checkpoint in it, so that no training starts again by mistake.
    """
    if name is None:
        raise UsageError("--ckpt_path last: say of which run, for example --run first --ckpt_path last.")
    check_name(name)
    run = RunFolder(Path(root), name)
    path = run.last_checkpoint
    if not run.path.is_dir():
        names = [path.name for path in run.root.glob("*") if path.is_dir()]
        raise UsageError(f"--ckpt_path last: no run {run.path}. {did_you_mean(name, names)}")
    if not path.is_file():
        raise UsageError(f"--ckpt_path last: no {path} yet; start the run anew with --overwrite instead.")
    return path


def drop_if_unused(folder: Path, *ignored: str) -> None:
    """Remove a folder that holds no files except its lock and files called ``ignored``."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if folder.is_dir() and all(path.parent == folder and path.name in (LOCK, *ignored) for path in files):
        shutil.rmtree(folder)
