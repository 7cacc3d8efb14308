from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dife_lightning.methods
from dife_lightning import registry
from dife_lightning.errors import ConfigError
from dife_lightning.registry import get_dataset, get_method, list_datasets, list_methods, method_name

PACKAGE = Path(dife_lightning.methods.__file__).parents[1]


@pytest.fixture
def plugin_folder(tmp_path, monkeypatch):
    before = set(sys.modules)
    monkeypatch.setattr(dife_lightning.methods, "__path__", [*dife_lightning.methods.__path__, str(tmp_path)])
    yield tmp_path
    for name in {name for name in sys.modules if name.startswith("dife_lightning.methods.zz_")} - before:
        del sys.modules[name]


def test_names_are_the_public_file_stems_with_dashes():
    stems = [path.stem for path in (PACKAGE / "methods").glob("*.py") if not path.stem.startswith("_")]
    assert list_methods() == sorted(stem.replace("_", "-") for stem in stems)
    stems = [path.stem for path in (PACKAGE / "datasets").glob("*.py") if not path.stem.startswith("_")]
    assert list_datasets() == sorted(stem.replace("_", "-") for stem in stems)


def test_a_file_in_a_further_folder_is_a_method_without_any_other_line(plugin_folder):
    (plugin_folder / "zz_new.py").write_text("METHOD = 'New'\nclass New: ...\n")
    assert "zz-new" in list_methods()
    cls = get_method("zz-new")
    assert cls.__name__ == "New"
    assert method_name(cls) == "zz-new"


def test_a_package_in_a_further_folder_is_a_method_and_its_parts_are_none(plugin_folder):
    package = plugin_folder / "zz_large"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from dife_lightning.methods.zz_large.network import Large\n\nMETHOD = 'Large'\n"
    )
    (package / "network.py").write_text("class Large: ...\n")
    (plugin_folder / "zz_helpers").mkdir()
    (plugin_folder / "zz_helpers" / "__init__.py").write_text("")
    assert {name for name in list_methods() if name.startswith("zz")} == {"zz-large"}
    cls = get_method("zz-large")
    assert cls.__module__ == "dife_lightning.methods.zz_large.network"
    assert method_name(cls) == "zz-large"


def test_a_class_is_found_under_its_former_module_with_one_line_of_advice(capsys):
    for former, place in registry.FORMER_MODULES.items():
        sys.modules.pop(former, None)
        module, now = importlib.import_module(former), importlib.import_module(place)
        classes = [name for name, value in vars(now).items() if isinstance(value, type)]
        assert classes
        assert all(getattr(module, name) is getattr(now, name) for name in classes)
        said = capsys.readouterr().err.splitlines()
        assert said == [f"note: {former} is now {place}; a class name alone, without module, always works"]


@pytest.mark.parametrize("content", ["class New: ...", "METHOD = 'Other'", "METHOD = 3"])
def test_a_file_that_names_no_class_is_told_how(plugin_folder, content):
    (plugin_folder / "zz_bad.py").write_text(content)
    with pytest.raises(ConfigError, match=r"zz_bad has no constant METHOD"):
        get_method("zz-bad")
    sys.modules.pop("dife_lightning.methods.zz_bad")


def test_unknown_names_get_the_closest(plugin_folder):
    (plugin_folder / "zz_new.py").write_text("METHOD = 'New'\nclass New: ...\n")
    with pytest.raises(ConfigError, match="Did you mean 'zz-new'"):
        get_method("zz-now")
    with pytest.raises(ConfigError, match="unknown dataset"):
        get_dataset("none-such")


def test_a_class_from_elsewhere_has_no_name():
    assert method_name(dict) is None
    assert method_name(type("Dife", (), {"__module__": "dife_lightning.methods.nowhere"})) is None


def test_listing_imports_no_method():
    code = (
        "import sys, dife_lightning; dife_lightning.list_methods(); dife_lightning.list_datasets(); "
        "sys.exit('torch' in sys.modules or any(m.startswith('dife_lightning.methods.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", list_methods())
def test_every_method_is_a_lightning_module_under_its_name(name):
    from lightning import LightningModule

    cls = get_method(name)
    assert issubclass(cls, LightningModule)
    assert method_name(cls) == name
    assert cls.__doc__


@pytest.mark.parametrize("name", list_datasets())
def test_every_dataset_is_documented(name):
    assert get_dataset(name).__doc__


def test_import_all_makes_every_method_module_known():
    registry.import_all("methods")
    assert {f"dife_lightning.methods.{name.replace('-', '_')}" for name in list_methods()} <= set(sys.modules)


def test_options_of_version_0_1_that_change_nothing_are_passed_over() -> None:
    former = {
        "matching_loss": {"window": 5, "reliable": 1.0, "side": 32},
        "pairs": {"keep": 1.0, "chunk": 8},
        "dim": 16,
    }
    assert registry.without_former_options(former) == {"matching_loss": {"side": 32}, "pairs": {}, "dim": 16}
    changed = {"pairs": {"keep": 0.5}, "matching_loss": {"reliable": 0.5}}
    assert registry.without_former_options(changed) == changed
