from __future__ import annotations

import pytest

BAD = {
    "unknown option": (["--trainer.max_stepz", "3"], ["'--trainer.max_stepz'", "Did you mean '--trainer.max_steps'?"]),
    "unknown key of a class": (["--model.lrr", "3"], ["unknown key 'lrr' of TinyTask", "Did you mean 'lr'?"]),
    "unknown class": (["--model", "TinyTusk"], ["unknown class 'TinyTusk'", "Did you mean 'TinyTask'?"]),
    "wrong type": (["--model.lr", "fast"], ["'model.lr'", "expected float", "found fast"]),
    "Python's None": (["--model.lr", "None"], ["write null"]),
    "bad choice": (["--trainer.precision", "12"], ["'trainer.precision'", "'auto'", "found 12"]),
    "missing file": (["--config", "tiny.yml"], ["no configuration 'tiny.yml'"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_option_gives_one_line_with_the_cause_and_exit_code_2(dife, case):
    words, expected = BAD[case]
    code, _, error = dife("fit", "-c", "tiny.yaml", *words)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for text in expected:
        assert text in error


FILES = {
    "unknown key": ("trainer: {max_stepz: 3}", "Did you mean 'trainer.max_steps'?"),
    "unknown section": ("modle: TinyTask", "unknown key 'modle'. Did you mean 'model'?"),
    "unknown argument": ("model: {class_path: TinyTask, init_args: {lrr: 3}}", "Did you mean 'lr'?"),
    "wrong type": (
        "model: {class_path: TinyTask, init_args: {width: wide}}",
        "'model.width': expected int, found wide",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_wrong_configuration_file_gives_one_line_with_the_cause(dife, workdir, case):
    content, expected = FILES[case]
    (workdir / "wrong.yaml").write_text(content)
    code, _, error = dife("fit", "-c", "tiny.yaml", "-c", "wrong.yaml")
    assert code == 2
    assert expected in error
    assert error.count("\n") == 1


def test_a_missing_model_is_asked_for(dife):
    code, _, error = dife("fit", "--data", "TinyData")
    assert code == 2
    assert "nothing given for: model" in error


def test_a_wrong_command_leaves_no_run_behind(dife, workdir):
    dife("fit", "-c", "tiny.yaml", "--model.lrr", "3")
    assert not (workdir / "runs").exists()
