from __future__ import annotations

import subprocess
import sys

import pytest

from dife_lightning import __version__
from dife_lightning.cli import main as main_module
from dife_lightning.cli.errors import exit_code, one_line
from dife_lightning.cli.main import VERBS, main
from dife_lightning.errors import CheckpointError, DataError, UsageError


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["methods"], ["datasets"], ["assets"], ["configs"]])
def test_light_verbs_import_neither_torch_nor_lightning(args):
    code = (
        "import sys; from dife_lightning.cli.main import main; "
        f"code = main({args!r}); heavy = {{'torch', 'lightning', 'numpy', 'wandb'}} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {verb} " in text for verb in VERBS)


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 0
    assert capsys.readouterr().out == main_module.usage()


def test_version_is_the_package_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dife-lightning {__version__}\n"


def test_an_unknown_verb_gets_the_closest_one_and_exit_code_2(capsys):
    assert main(["tets"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown verb 'tets'. Did you mean 'test'?")
    assert error.count("\n") == 1


def test_a_listing_refuses_arguments(capsys):
    assert main(["methods", "now"]) == 2
    assert "'now'" in capsys.readouterr().err


def test_user_errors_become_one_line_and_bugs_keep_their_traceback(monkeypatch, capsys):
    def fail_with(error):
        def verb(name, args):
            raise error

        monkeypatch.setattr("dife_lightning.cli.verbs.run_verb", verb)
        return main(["fit"])

    assert fail_with(DataError("a\nb")) == 1
    assert capsys.readouterr().err == "error: a b\n"
    assert fail_with(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError())
    monkeypatch.setenv("DIFE_DEBUG", "1")
    with pytest.raises(DataError):
        fail_with(DataError("a"))


def test_what_photos_are_worked_on_with_imports_no_lightning():
    """It takes as long to import as torch; only `dife export` and `dife pairs` load methods, LightningModules."""
    code = (
        "import sys, pkgutil, importlib; from dife_lightning import applications as room; "
        "names = [m.name for m in pkgutil.iter_modules(room.__path__) if m.name not in ('export', 'pair_gallery')]; "
        "assert len(names) > 9; "
        "[importlib.import_module(f'{room.__name__}.{name}') for name in names]; "
        "heavy = {'lightning', 'wandb'} & set(sys.modules); sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise on Windows")
def test_a_pipe_whose_reader_has_gone_ends_the_command_quietly():
    command = [sys.executable, "-m", "dife_lightning", "methods"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_an_error_of_a_loader_worker_is_reduced_to_its_message():
    text = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File x\n"
    error = DataError(text + "dife_lightning.errors.DataError: images/a.png is broken.")
    assert one_line(error) == "images/a.png is broken."


def test_exit_codes_tell_usage_from_other_errors():
    assert exit_code(UsageError("x")) == 2
    assert exit_code(CheckpointError("x")) == 1


def test_the_options_of_a_data_set_are_shown_with_their_defaults(capsys):
    assert main(["datasets", "animalweb"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("animalweb: Faces of animals with 9 points")
    assert all(f"\n    {option}: " in text for option in ("root", "species", "names", "boxes"))
    assert "'boxes': None" in text
    assert main(["datasets", "animalwep"]) != 0
    assert "Did you mean 'animalweb'?" in capsys.readouterr().err
