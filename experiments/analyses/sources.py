"""The folders of tests to analyse: those of a table's runs, or any that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.utils.run_folder import CHECKPOINTS, PREDICTIONS
from experiments.common.plan import MOST_SEEDS, Plan, check_names


@dataclass(frozen=True)
class ResultFolder:
    """The folder of one test.

    Attributes:
        folder: holds the predictions.
        pairs: kinds of pair to read from it; None reads all.
        model: what was tested, if known: a run's folder, the name of an embedder, or a method's class.
        seed: position of the test among those of a method.
    """

    folder: Path
    pairs: tuple[str, ...] | None = None
    model: str | None = None
    seed: int = 0


#: method -> its tests
ResultFolders = dict[str, list[ResultFolder]]


def from_plan(plan: Plan, runs_root: Path, rows: Sequence[str] | None, left_out: list[str]) -> ResultFolders:
    """Return the tests of a table's rows; for each kind of pair, that of the model of the first column with the kind.

    Args:
        plan: plan of the table.
        runs_root: folder of its runs.
        rows: its rows, all if None; a named row must have a test.
        left_out: gets a line for each other row without a test.

    Raises:
        ConfigError: a row is not in the plan.
        DataError: a named row has no test.
    """
    check_names("no row {} in the table", rows, [row.name for row in plan.rows])
    found: ResultFolders = {}
    for row in plan.rows:
        if rows is None and row.first is not None:
            left_out.append(f"{row.name}: tested on the first {row.first} pairs of each list alone")
        elif rows is None or row.name in rows:
            folders = _of_row(plan, row.name, runs_root)
            if folders:
                found[row.name] = folders
            elif rows is not None:
                raise DataError(f"no test of '{row.name}' in {runs_root}: make the table first, or name other --rows")
            else:
                left_out.append(f"{row.name}: no test in {runs_root}")
    return found


def _of_row(plan: Plan, name: str, runs_root: Path) -> list[ResultFolder]:
    row = plan.row(name)
    found: list[ResultFolder] = []
    for pair in plan.pairs():
        if not row.trained:
            found += _newest(runs_root / name, pair, _untrained_model(row.test, row.arguments), 0)
            continue
        model = next(column.model for column in plan.columns if pair in column.pairs)
        for seed in range(MOST_SEEDS):
            run = runs_root / f"{name}-{model}-seed{seed}"
            found += _newest(run, pair, str(run), seed)
    return found


def _untrained_model(test: str | None, arguments: Mapping[str, str]) -> str | None:
    return arguments.get("embedder", "world/teacher") if test == "FrozenEmbedder" else test


def _newest(run: Path, pair: str, model: str | None, seed: int) -> list[ResultFolder]:
    """Return the newest test of a run with a kind of pair, or an empty list."""
    files = _newest_first(run.glob(f"eval/*/{PREDICTIONS}"))
    folder = next((file.parent for file in files if pair in file.parent.name.split("_")), None)
    return [] if folder is None else [ResultFolder(folder, (pair,), model, seed)]


def _newest_first(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (file.stat().st_mtime, str(file)), reverse=True)


def named(words: Sequence[str], expected: str) -> list[tuple[str, str]]:
    """Split words of the form ``name=place``.

    Raises:
        ConfigError: a word of another form; the message says what was ``expected``.
    """
    for word in words:
        if not all(word.partition("=")):
            raise ConfigError(f"'{word}': {expected}")
    return [(name, place) for name, _, place in (word.partition("=") for word in words)]


def from_words(words: Sequence[str]) -> ResultFolders:
    """Return the tests that ``name=folder`` words name; several with one name are several seeds.

    Args:
        words: a folder holds predictions.csv, or is a run with tests in ``eval``.

    Raises:
        ConfigError: a word of another form.
        DataError: a folder without predictions.
    """
    found: ResultFolders = {}
    for name, place in named(words, f"expected name=folder, a folder with the {PREDICTIONS} of `dife test`"):
        folder = Path(place).expanduser()
        run = next((str(up) for up in (folder, *folder.parents[:3]) if (up / CHECKPOINTS).is_dir()), None)
        own = folder / PREDICTIONS
        files = [own] if own.is_file() else _newest_first(folder.glob(f"eval/**/{PREDICTIONS}"))
        if not files:
            raise DataError(f"no {PREDICTIONS} in {folder} or in its eval folder: run `dife test` first")
        seed = 1 + max((source.seed for source in found.get(name, [])), default=-1)
        found.setdefault(name, []).extend(ResultFolder(file.parent, None, run, seed) for file in files)
    return found
