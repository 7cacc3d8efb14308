"""What is wrong with a command is said before torch and Lightning are imported."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from dife_lightning.cli.early import check_early
from dife_lightning.cli.options import option_names
from dife_lightning.cli.signatures import class_names, parameters_of, trainer_parameters
from dife_lightning.errors import UsageError
from dife_lightning.registry import get_method, list_methods
from dife_lightning.running.configs import resolve_configs

LIGHT = """
import sys
from dife_lightning.cli.main import main
code = main(sys.argv[1:])
heavy = {"torch", "lightning", "numpy"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""
BAD = {
    "unknown option": ("fit --confg x", 2, "Did you mean '--config'?"),
    "unknown trainer option": ("fit --config world/human_dog --trainer.max_step 3", 2, "'--trainer.max_steps'"),
    "unknown configuration": ("fit --config trainer/cpo", 2, "Did you mean 'trainer/cpu'"),
    "unknown class": ("test --config world/test --model CopyX", 2, "Did you mean 'CopyXY'?"),
    "unknown argument": ("fit --config world/human_dog --model.lambda_m3 1", 2, "of DIFE. Did you mean 'lambda_m"),
    "no model": ("fit --data WorldPairs", 2, "nothing given for: model"),
    "no checkpoint": ("test --config world/human_dog", 2, "would score an untrained DIFE"),
    "missing checkpoint": ("test --ckpt_path missing", 1, "no checkpoint missing"),
    "last of no run": ("fit --ckpt_path last", 2, "say of which run"),
    "run that exists": ("fit --config world/human_dog --run there", 2, "exists; resume it with --ckpt_path last"),
    "broken YAML": ("fit --config broken.yaml", 2, "broken.yaml, line 2: not valid YAML"),
    "unknown key of a file": (
        "fit --config world/human_dog --config wrong.yaml",
        2,
        "Did you mean 'trainer.max_steps'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_command_is_refused_without_importing_torch(tmp_path, case):
    words, code, says = BAD[case]
    (tmp_path / "runs/there").mkdir(parents=True)
    (tmp_path / "broken.yaml").write_text("a: 1\n b: 2")
    (tmp_path / "wrong.yaml").write_text("trainer: {max_stepz: 1}")
    command = [sys.executable, "-c", LIGHT, *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


GOOD = [
    "test --config world/test --model CopyXY",
    "test --config world/test --model copy-xy",
    "fit --config world/human_dog --config trainer/cpu --model.lambda_m1=0 --trainer.callbacks+=SampleSheet",
    "fit --config world/human_dog --model.init_args.pairs.chunk 3 --seed_everything -1",
    "predict --config world/human_dog --allow_untrained --skip-broken",
    "fit --config world/human_dog --model some.package.Method --model.anything 3",
]


@pytest.mark.parametrize("command", GOOD)
def test_what_may_be_right_is_left_to_the_parser(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    verb, *words = command.split()
    check_early(verb, *resolve_configs(words))


def test_the_arguments_read_from_the_sources_are_those_of_the_classes():
    from lightning import Trainer

    assert trainer_parameters() == set(inspect.signature(Trainer).parameters)
    told = 0
    for name in list_methods():
        cls = get_method(name)
        known = parameters_of(cls.__name__)
        told += known is not None
        assert known in (None, set(inspect.signature(cls).parameters)), name
    assert told > len(list_methods()) / 2
    assert {"DIFE", "WorldPairs", "KeypointTransfer"} <= set(class_names())


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_the_option_names_are_those_of_the_parser(dife, monkeypatch, verb):
    from dife_lightning.cli.lightning_cli import DifeCLI

    built = []
    original = DifeCLI.parse_arguments
    monkeypatch.setattr(DifeCLI, "parse_arguments", lambda *a: (built.append(a[1]), original(*a))[1])
    assert dife(verb, "-c", "tiny.yaml", "--print_config")[0] == 0
    names = {name.lstrip("-").partition(".")[0] for name in built[0]._option_string_actions} - {"c", "h"}
    assert option_names(verb) - {"import", "print_shtab"} == names - {"print_shtab"}  # where shtab is installed


def test_settings_on_top_of_those_of_a_checkpoints_run_are_no_missing_sections(tmp_path):
    (tmp_path / "runs/there/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/there/checkpoints/warmup.ckpt").touch()
    (tmp_path / "runs/there/resolved.yaml").touch()
    options = ["--ckpt_path", str(tmp_path / "runs/there/checkpoints/warmup.ckpt"), "--model.init_args.lambda_m1=0"]
    check_early("fit", options, [])
    with pytest.raises(UsageError, match="nothing given for: data"):
        check_early("fit", [*options, "--model", "DIFE"], [])
