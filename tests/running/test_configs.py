from __future__ import annotations

from pathlib import Path

import pytest

from dife_lightning.errors import UsageError
from dife_lightning.running.configs import (
    find_config,
    list_configs,
    load_config,
    option_value,
    packaged_configs,
    resolve_configs,
)

CLONE = Path(__file__).resolve().parents[2]


def test_shipped_names_lead_to_the_folder_of_the_clone():
    assert packaged_configs() == CLONE / "configs"
    assert find_config("trainer/cpu") == CLONE / "configs/trainer/cpu.yaml"
    assert {"trainer/cpu", "trainer/gpu_bf16", "trainer/gpu_fp16", "debug/fast"} <= set(list_configs())


def test_a_file_of_the_working_folder_comes_before_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/cpu.yaml").write_text("trainer: {}")
    assert find_config("trainer/cpu.yaml").resolve() == tmp_path / "trainer/cpu.yaml"


def test_a_missing_configuration_gets_the_closest_name():
    with pytest.raises(UsageError, match="Did you mean 'trainer/cpu'"):
        find_config("trainer/cpo")


@pytest.mark.parametrize(
    ("text", "found"), [("a: [1", "line 1"), ("- 1", "list"), ("", "NoneType"), ("a: 1\n b: 2", "line 2")]
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, text, found):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=found) as error:
        find_config(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_names_are_replaced_in_both_spellings_and_nothing_else_is():
    args, names = resolve_configs(["-c", "trainer/cpu", "--config=debug/fast", "--model.config", "trainer/cpu"])
    root = str(CLONE / "configs")
    assert args == [
        "-c",
        f"{root}/trainer/cpu.yaml",
        f"--config={root}/debug/fast.yaml",
        "--model.config",
        "trainer/cpu",
    ]
    assert names == ["trainer/cpu", "debug/fast"]


def test_the_last_value_of_an_option_counts():
    assert option_value(["--ckpt_path", "a", "--ckpt_path=b"], "--ckpt_path") == "b"
    assert option_value(["--other", "a"], "--ckpt_path") is None


@pytest.mark.parametrize("name", [name for name in list_configs() if name.startswith(("trainer/", "debug/"))])
def test_presets_touch_the_trainer_only(name):
    content = load_config(name)
    assert set(content) == {"trainer"}
