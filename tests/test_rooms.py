"""Imports go down only: from each room to rooms below it, wherever in a file the import stands."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]

#: The rooms, lowest first; rooms of one line do not import each other. docs/architecture.md says what each holds.
FLOORS = """
_version errors
utils registry
geometry matching
faces weights
nn metrics method
losses loading mining
pretrained
latent world
datasets
methods viz
data
callbacks
applications
dife_lightning
running
sweeps page
cli
experiments.common
experiments.tables experiments.analyses experiments.bench
experiments.demo experiments.figures experiments.checks experiments.landmarks
experiments.build experiments.gpu_check
"""
LEVEL = {room: level for level, line in enumerate(FLOORS.split("\n")) for room in line.split()}
#: ``dife_lightning`` is the public door, which the rooms above it may use. Nothing imports these:
ENTRIES = {"dife_lightning.__main__", "experiments"}


def _modules() -> dict[str, Path]:
    """Return module name -> file of the package and of experiments."""
    found = {}
    for package in ("dife_lightning", "experiments"):
        for path in (CLONE / package).rglob("*.py"):
            name = ".".join(path.relative_to(CLONE).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    """Return our modules that a file imports, at its top, in functions or for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names
            }
    return found & MODULES.keys()


IMPORTS = {name: _imports(path) for name, path in MODULES.items()}


def _room(module: str) -> str:
    """Return the room of a module: a sub-package, or a single file at the top of the package."""
    package, _, rest = module.partition(".")
    top = rest.partition(".")[0] or package
    return top if package == "dife_lightning" else f"experiments.{top}"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - ENTRIES))
def test_a_module_imports_only_its_own_room_and_rooms_below(module):
    room = _room(module)
    up = [other for other in IMPORTS[module] if _room(other) != room and not _goes_down(room, other)]
    assert up == []


def _goes_down(room: str, other: str) -> bool:
    return other not in ENTRIES and LEVEL[_room(other)] < LEVEL[room]


def test_no_two_modules_import_each_other_however_far_around():
    waiting = {name: set(imports) - {name} for name, imports in IMPORTS.items() if name not in ENTRIES}
    while free := [name for name, imports in waiting.items() if not imports & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert sorted(waiting) == [], "these import each other in a circle, or something that does"


def test_every_room_is_on_a_floor_and_every_floor_is_there():
    assert {_room(module) for module in MODULES.keys() - ENTRIES} | {"applications"} == set(LEVEL)


def test_the_walk_sees_lazy_imports_and_those_for_type_checkers():
    counted = defaultdict(int)
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            counted[type(node).__name__] += isinstance(node, ast.ImportFrom) and node.col_offset > 0
    assert counted["ImportFrom"] > 10
    assert "dife_lightning.cli.main" in IMPORTS["dife_lightning.__main__"]
