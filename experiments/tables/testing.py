"""The tests behind a table, of trained runs and of methods that need no training: run here or read from records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dife_lightning.errors import DataError, DifeError
from dife_lightning.pretrained.embedders import EmbeddedOnce
from dife_lightning.utils.run_folder import RunFolder
from experiments.common.jobs import read_state, write_state
from experiments.common.keys import changes, testing_key
from experiments.common.pair_errors import read_errors
from experiments.common.plan import TableRow
from experiments.common.untrained import score, untrained
from experiments.tables.assemble import RowTest, RunKey
from experiments.tables.records import RunRecord, covers, find_record
from experiments.tables.workspace import Training, Workspace, versions_of

if TYPE_CHECKING:
    from dife_lightning.data.pairs import PairsDataModule

#: Folder of a run with tests on a part of each list (``--count``), which must not replace those on all pairs.
TRIED = "tried"


def test_all(workspace: Workspace) -> tuple[dict[RunKey, RowTest], dict[str, str]]:
    """Test every row on its pairs, or take the test from the records; returns the tests, and row -> why it has none.

    Raises:
        DataError: the reference row has no run, and training is switched off.
    """
    found: dict[RunKey, RowTest] = {}
    left_out: dict[str, str] = {}
    cells: list[Cell] = []
    for row in workspace.plan.rows:
        with _optional(row, left_out):
            cells += _cells(row, workspace)
    networks, drawn = Networks(), DrawnPairs(workspace)
    for cell in _by_network(cells):
        with _optional(cell.row, left_out):
            found |= dict.fromkeys(cell.keys, _tested(cell, networks, drawn, workspace))
    _leave_out_missing(workspace, found, left_out)
    return {key: test for key, test in found.items() if key[0] not in left_out}, left_out


@contextmanager
def _optional(row: TableRow, left_out: dict[str, str]) -> Iterator[None]:
    """Leave out an optional row that cannot be tested, and say why; raise what is raised for another."""
    try:
        yield
    except DifeError as error:
        if not row.optional:
            raise
        left_out[row.name] = without_home(str(error))
        print(f"{row.name} is left out: {error}", flush=True)


@dataclass(frozen=True)
class Cell:
    """One test: a row, its training if it has one, the kinds of pair, and the runs of the table that it stands for."""

    row: TableRow
    training: Training | None
    pairs: Sequence[str]
    keys: Sequence[RunKey]

    @property
    def network(self) -> str:
        """What cells with the same network have in common; they may differ in the read-out."""
        trained = None if self.training is None else self.training.job.run.path
        return str(trained or (self.row.test, sorted(self.row.arguments.items())))


def without_home(message: str) -> str:
    """Return a message with ``~`` for the home folder, because tables are committed."""
    home = str(Path.home())
    return message.replace(home + "/", "~/") if len(home) > 1 else message


def _cells(row: TableRow, workspace: Workspace) -> list[Cell]:
    """Return the tests of a row."""
    plan, found = workspace.plan, []
    models = plan.models(row)
    if not row.trained:
        return [Cell(row, None, plan.pairs(), [(row.name, model, 0) for model in models])]
    for model, pairs in models.items():
        for seed in workspace.seeds:
            training = _available(row, model, seed, workspace)
            if training is not None:
                found.append(Cell(row, training, pairs, [(row.name, model, seed)]))
    return found


def _by_network(cells: Sequence[Cell]) -> list[Cell]:
    """Return the tests in an order in which those of one network follow each other."""
    places: dict[str, int] = {}
    return sorted(cells, key=lambda cell: places.setdefault(cell.network, len(places)))


def _available(row: TableRow, model: str, seed: int, workspace: Workspace) -> Training | None:
    """Return a training that is finished or recorded with the current settings, of any seed; else None."""
    run = workspace.run(row.of or row.name, model, seed)
    record = find_record(workspace.records, workspace.plan.measure.record(run.name))
    if not run.path.is_dir() and record is None:
        return None
    try:
        training = workspace.training(row, model, seed)
    except DataError:  # the row takes its length from a missing run
        return None
    if row.of is not None and not training.finished:  # a recorded training has no checkpoint to test
        record = find_record(workspace.records, workspace.plan.measure.record(_run_name(row, training)))
        return training if record is not None and training.available else None
    return training if training.available else None


def _leave_out_missing(workspace: Workspace, found: dict[RunKey, RowTest], left_out: dict[str, str]) -> None:
    """Leave out rows that have no run for any model, and print the reason; also for which models others have none.

    Raises:
        DataError: the reference row is missing.
    """
    plan, records = workspace.plan, workspace.records
    have = {(row, model) for row, model, _ in found}
    for row in plan.rows:
        missing = [model for model in plan.models(row) if (row.name, model) not in have]
        if not missing or row.name in left_out:
            continue
        where = f"{workspace.runs_root}{f' or {records}' if records else ''}"
        reason = f"no finished run of {row.of or row.name}-{missing[0]} in {where}"
        if row.name == plan.reference:
            raise DataError(f"{reason}: run the table without --no_training, or name other --rows and --columns")
        if len(missing) < len(plan.models(row)):
            print(f"{row.name} is not in every column: {reason}", flush=True)
            continue
        left_out[row.name] = f"{reason}; it is trained without --no_training"
        print(f"{row.name} is left out: {left_out[row.name]}", flush=True)


def _tested(cell: Cell, networks: Networks, drawn: DrawnPairs, workspace: Workspace) -> RowTest:
    """Return the test of a trained run, or of a method that needs no training, on some kinds of pairs."""
    row, training, pairs = cell.row, cell.training, cell.pairs
    measure = workspace.plan.measure
    hashes = drawn.hashes(pairs)
    images = measure.images()
    record = _recorded(row, training, hashes, images, workspace)
    if record is not None:
        return RowTest(record.errors(), str(record.path))
    run = RunFolder(workspace.runs_root, _run_name(row, training))
    folder = (run.tests if workspace.count is None else run.path / TRIED) / measure.folder(pairs)
    module, checkpoint = networks.get(cell)
    versions = versions_of(type(module).__name__)
    key = testing_key(checkpoint, row.arguments, hashes, versions, row.first, images, row.window)
    state_path = folder / "cell.json"
    found = read_state(state_path)
    if found is None or not found[1] or changes(found[0], key):
        if not workspace.train and row.optional:
            raise DataError(f"no finished test of {row.name} in {folder}; it is tested without --no_training")
        print(f"testing {run.name} on {', '.join(pairs)} ...", flush=True)
        score(row.name, module, drawn.prepared(pairs, row.first), folder, row.window or 0.0)
        write_state(state_path, key, finished=True)
    return RowTest(read_errors(folder, measure), str(folder))


def _run_name(row: TableRow, training: Training | None) -> str:
    """Return the name of the folder of a row's test; that of another row's run with another read-out is its own."""
    if training is None:
        return row.name
    return training.job.run.name if row.of is None else training.job.run.name.replace(row.of, row.name, 1)


class DrawnPairs:
    """The pairs of a table's tests: lists are drawn once, and the images of a test stay for the next one."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._hashes: dict[tuple[str, ...], Mapping[str, str]] = {}
        self._prepared: dict[tuple[Any, ...], PairsDataModule] = {}

    def hashes(self, pairs: Sequence[str]) -> Mapping[str, str]:
        """Return the SHA-256 of each test list of some kinds of pair."""
        key = tuple(pairs)
        if key not in self._hashes:
            data = self._workspace.plan.measure.pairs(pairs, self._workspace.count)
            self._hashes[key] = data.list_hashes()["test"]
        return self._hashes[key]

    def prepared(self, pairs: Sequence[str], first: int | None) -> PairsDataModule:
        """Return the test pairs, of each list the ``first`` ones or all; those of the last call are kept."""
        key = (tuple(pairs), first)
        if key not in self._prepared:
            self._prepared.clear()  # their images go before those of others come
            self._prepared[key] = self._workspace.plan.measure.prepared(pairs, self._workspace.count, first)
        return self._prepared[key]


class Networks:
    """The network that is tested, one at a time; its further read-outs do not embed the same images again."""

    def __init__(self) -> None:
        self._name = ""
        self._held: tuple[Any, Path | None] = None, None

    def get(self, cell: Cell) -> tuple[Any, Path | None]:
        """Return the method of a cell, and its checkpoint if it was trained."""
        from dife_lightning.methods._base import EmbedderModule

        if cell.network != self._name:
            if self._held[0] is not None:
                vars(self._held[0]).pop("embed", None)  # its embeddings go, although it and its trainer may stay
            module, checkpoint = _module(cell.row, cell.training)
            if isinstance(module, EmbedderModule):
                module.embed = EmbeddedOnce(module.embed)  # type: ignore[method-assign]
            self._name, self._held = cell.network, (module, checkpoint)
        return self._held


def _module(row: TableRow, training: Training | None) -> tuple[Any, Path | None]:
    from dife_lightning import load
    from dife_lightning.loading import best_checkpoint

    if training is None:
        return untrained(row), None
    return load(training.job.run.path), best_checkpoint(training.job.run.path)


def _recorded(
    row: TableRow,
    training: Training | None,
    hashes: Mapping[str, str],
    images: Mapping[str, Any],
    workspace: Workspace,
) -> RunRecord | None:
    name = workspace.plan.measure.record(_run_name(row, training))
    if training is None:
        found = find_record(workspace.records, name)
        key = testing_key(None, row.arguments, hashes, versions_of(str(row.test)), row.first, images, row.window)
        return found if found is not None and covers(found, key) else None
    source = None if training.finished else training.record
    found = source if source is None or row.of is None else find_record(workspace.records, name)
    if found is None or source is None or found.test_key["checkpoint"] != source.test_key["checkpoint"]:
        return None
    known = tuple(found.test_key.get(part, usual) for part, usual in (("first", None), ("data", {}), ("window", 0)))
    if known != (row.first, images, row.window or 0):
        return None
    return found if hashes.items() <= found.test_key["lists"].items() else None
