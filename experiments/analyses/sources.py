"""The folders of tests to analyse: those of a table's runs, or any that the user names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dife_lightning.errors import ConfigError, DataError, did_you_mean
from dife_lightning.utils.run_folder import CHECKPOINTS, PREDICTIONS
from experiments.common.plan import MOST_SEEDS, Plan


@dataclass(frozen=True)
class ResultFolder:
    """The folder of one test.

    Attributes:
        folder: with the predictions.
        pairs: kinds of pair to read from it; None reads all.
        model: what was tested, if known: a run's folder, the name of an embedder, or a method's class.
        seed: orders the tests of a method.
    """

    folder: Path
    pairs: tuple[str, ...] | None = None
    model: str | None = None
    seed: int = 0


#: method -> its tests
ResultFolders = dict[str, list[ResultFolder]]


def from_plan(plan: Plan, runs_root: Path, rows: Sequence[str] | None, left_out: list[str]) -> ResultFolders:
    """Return the tests of a table's rows: of each kind of pair that of the first column's model that has it.

    Args:
        plan: of the table.
        runs_root: where its runs lie.
        rows: which of its rows, all if None; a row that is named must have a test.
        left_out: gets a line for each other row without a test.

    Raises:
        ConfigError: a row is not in the plan.
        DataError: no run, or none of a row that was asked for.
    """
    names = [row.name for row in plan.rows]
    for name in rows or ():
        if name not in names:
            raise ConfigError(f"no row '{name}' in the table. {did_you_mean(name, names)}")
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
    """Return the newest test of a run that has a kind of pair; none if there is none."""
    files = _newest_first(run.glob(f"eval/*/{PREDICTIONS}"))
    folder = next((file.parent for file in files if pair in file.parent.name.split("_")), None)
    return [] if folder is None else [ResultFolder(folder, (pair,), model, seed)]


def _newest_first(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=lambda file: (file.stat().st_mtime, str(file)), reverse=True)


def from_words(words: Iterable[str]) -> ResultFolders:
    """Return the tests that ``name=folder`` words name; a name may come several times, for several seeds.

    Args:
        words: a folder holds predictions.csv, or is a run with tests below ``eval``.

    Raises:
        ConfigError: a word of another form.
        DataError: a folder without predictions.
    """
    found: ResultFolders = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not (name and equals and place):
            raise ConfigError(f"'{word}': expected name=folder, a folder with the {PREDICTIONS} of `dife test`")
        folder = Path(place).expanduser()
        run = next((place for place in (folder, *folder.parents[:3]) if (place / CHECKPOINTS).is_dir()), None)
        model = None if run is None else str(run)
        files = (
            [folder / PREDICTIONS]
            if (folder / PREDICTIONS).is_file()
            else _newest_first(folder.glob(f"eval/**/{PREDICTIONS}"))
        )
        if not files:
            raise DataError(f"no {PREDICTIONS} in {folder} or below its eval: run `dife test` first")
        seed = 1 + max((source.seed for source in found.get(name, [])), default=-1)
        found.setdefault(name, []).extend(ResultFolder(file.parent, None, model, seed) for file in files)
    return found
