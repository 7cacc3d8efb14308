"""The examples of CONTRIBUTING.md, run as they stand there; and plugins."""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dife_lightning as dl
from dife_lightning import registry
from dife_lightning.cli import main as main_module
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError, ConfigError, UsageError

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
SECTION = TEXT.split("## A method, a data set or a verb of your own")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", SECTION, re.DOTALL)
FILES = {match[1]: text for _, text in BLOCKS if (match := re.match(r"# (\S+\.(?:py|yaml))\n", text))}
COMMANDS = [shlex.split(line) for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the files of the examples, of which nothing stays imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_OWN", {"methods": {}, "datasets": {}})
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield tmp_path
    for name in ("my_method", "my_faces"):
        sys.modules.pop(name, None)


def commands(*verbs: str, file: str = "") -> list[list[str]]:
    found = [words[1:] for words in COMMANDS if words[1] in verbs and (not file or file in words)]
    assert found
    return found


def test_the_section_has_all_its_examples():
    names = {"my_method.py", "my_experiment.yaml", "my_faces.py", "my_pairs.yaml", "dife_lightning/cli/points.py"}
    assert set(FILES) == names
    assert [words[1] for words in COMMANDS] == ["fit", "test", "test", "points"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*")
def test_the_method_is_trained_tested_and_loaded(folder):
    for words in commands("fit", "test", file="my_method.py"):
        assert main(words) == 0, words
    sys.path.append(str(folder))
    (python,) = [text for kind, text in BLOCKS if kind == "python" and text.startswith("import dife_lightning as dl")]
    names: dict = {}
    exec(python, names)
    assert type(names["method"]).__name__ == "MyMethod"
    assert names["method"].embed(__import__("torch").zeros(1, 3, 16, 16)).shape == (1, 8, 16, 16)
    assert json.loads((folder / "runs/mine/eval/test/metrics.json").read_text())["rows"]
    sys.modules.pop("my_method")
    registry._OWN["methods"].clear()
    written = folder / "runs/mine"
    del names["method"], names["my_method"]
    with pytest.raises(CheckpointError, match="import its file first"):
        _without_own_classes(lambda: dl.load(written))


def _without_own_classes(function):
    """Call ``function`` as in a process that has not imported the classes."""
    original = registry.imported_classes
    from dife_lightning import loading

    def find(name):
        return next((cls for cls in original() if cls.__name__ == name and cls.__module__ != "my_method"), None)

    before, loading.find_class = loading.find_class, find
    try:
        return function()
    finally:
        loading.find_class = before


@pytest.mark.filterwarnings("ignore:.*")
def test_the_data_set_is_read(folder):
    rng = np.random.default_rng(0)
    for species in ("dogs", "cats"):
        (folder / species).mkdir()
        rows = []
        for number in range(8):
            Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / species / f"{number}.png")
            rows.append([f"{number}.png", *np.round(rng.uniform(8, 56, 18), 1)])
        with (folder / species / "faces.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    for words in commands("test", file="my_faces.py"):
        assert main(words) == 0
    assert json.loads((folder / "results/metrics.json").read_text())["rows"][0]["pairs"] == 4
    assert "my-faces" in dl.list_datasets()
    assert len(dl.load_dataset("MyFaces", "dogs")) == len(dl.load_dataset("my-faces", "dogs")) == 8


def test_the_verb_is_run(folder, monkeypatch, capsys):
    (line,) = [text for kind, text in BLOCKS if kind == "python" and text.startswith("    ")]
    for name, entry in ast.literal_eval("{" + line + "}").items():
        monkeypatch.setitem(main_module.VERBS, name, entry)
    spec = importlib.util.spec_from_file_location("dife_lightning.cli.points", "dife_lightning/cli/points.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "dife_lightning.cli.points", module)
    for words in commands("points"):
        assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("missing.py", None, "no such file"),
        ("broken_file_of_mine.py", "1 / 0", "cannot be imported .ZeroDivisionError"),
        ("json.py", "", "another module is called 'json'; rename the file"),
        ("no_such_package_of_mine", None, "cannot be imported .ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(folder, name, text, says):
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(UsageError, match=says) as error:
        registry.import_own(name)
    assert "\n" not in str(error.value)


class Entry:
    """Stands for an entry point of an installed package."""

    name, dist = "mine", None

    def __init__(self, module):
        self.module = module


@pytest.mark.parametrize(("module", "found"), [("my_method", True), ("no_such_package_of_mine", False)])
def test_an_installed_package_brings_its_methods(folder, monkeypatch, module, found):
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry(module)] if group == registry.PLUGINS else [])
    registry.import_plugins.cache_clear()
    try:
        if found:
            assert "my-method" in dl.list_methods()
            assert registry.get_method("my-method") is registry.get_method("MyMethod")
        else:
            with pytest.raises(ConfigError, match=r"the plugin 'mine' .* cannot be imported"):
                dl.list_methods()
    finally:
        registry.import_plugins.cache_clear()


@pytest.mark.filterwarnings("ignore:.*")
def test_the_doctor_knows_the_method(folder, capsys):
    assert main(["doctor", "my_experiment.yaml", "--no-steps", "--import", "my_method.py"]) == 0, capsys.readouterr()
