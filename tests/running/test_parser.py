"""Configurations that extend others, and settings that the data take from the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import UsageError
from dife_lightning.running.configs import find_config, load_config


def write(path: Path, **content: Any) -> str:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def test_a_file_states_only_what_differs_from_its_base(tmp_path: Path) -> None:
    write(tmp_path / "below.yaml", trainer={"max_steps": 3, "callbacks": ["a", "b"]}, data={"class_path": "X"})
    above = write(tmp_path / "above.yaml", base="below.yaml", trainer={"callbacks": ["c"]}, seed_everything=1)
    assert load_config(above) == {
        "trainer": {"max_steps": 3, "callbacks": ["c"]},
        "data": {"class_path": "X"},
        "seed_everything": 1,
    }


def test_the_later_of_two_bases_counts_and_both_may_extend_others(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", trainer={"max_steps": 1, "min_steps": 1})
    write(tmp_path / "b.yaml", base="a.yaml", trainer={"max_steps": 2})
    write(tmp_path / "c.yaml", trainer={"max_steps": 3, "devices": 1})
    path = write(tmp_path / "d.yaml", base=["b.yaml", "c.yaml"])
    assert load_config(path) == {"trainer": {"max_steps": 3, "min_steps": 1, "devices": 1}}


def test_arguments_of_another_class_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", model={"class_path": "DVE", "init_args": {"size": 64, "dim": 8}})
    other = write(tmp_path / "b.yaml", base="a.yaml", model={"class_path": "CopyXY"})
    same = write(tmp_path / "c.yaml", base="a.yaml", model={"class_path": "DVE", "init_args": {"dim": 4}})
    assert load_config(other) == {"model": {"class_path": "CopyXY"}}
    assert load_config(same) == {"model": {"class_path": "DVE", "init_args": {"size": 64, "dim": 4}}}


def test_a_base_that_is_missing_or_extends_itself_is_one_line_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", base="world/human_dgo")
    with pytest.raises(UsageError, match=r"a\.yaml: 'base: world/human_dgo': .*Did you mean 'world/human_dog'"):
        find_config(path)
    write(tmp_path / "b.yaml", base="c.yaml")
    path = write(tmp_path / "c.yaml", base="b.yaml")
    with pytest.raises(UsageError, match=r"c\.yaml extends itself; remove its 'base:'") as error:
        find_config(path)
    assert "\n" not in str(error.value)


def test_a_training_has_the_settings_of_its_base(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", base="world/human_cat", model={"init_args": {"lambda_m1": 0.5}})
    mine, shipped = (resolved_settings(["fit", "--config", name]) for name in (path, "world/human_cat"))
    assert mine["model"]["init_args"].pop("lambda_m1") == 0.5
    assert shipped["model"]["init_args"].pop("lambda_m1") == 0.15
    assert {**mine, "config": None} == {**shipped, "config": None}


def stream(*words: str) -> dict[str, Any]:
    found = resolved_settings(["fit", "--config", "world/human_dog", *words])["data"]["init_args"]
    return {name: found[name] for name in ("generators", "layer", "size")}


def test_the_stream_takes_generators_layer_and_size_from_the_model() -> None:
    shipped = {"human": "world/human", "dog": "world/dog"}
    assert stream() == {"generators": shipped, "layer": 5, "size": 64}
    model = "--model.init_args"
    changed = stream(f"{model}.layer", "7", f"{model}.size=48", f"{model}.generators.dog", "runs/dog")
    assert changed == {"generators": {**shipped, "dog": "runs/dog"}, "layer": 7, "size": 48}


def test_what_is_stated_for_the_stream_too_stays(tmp_path: Path) -> None:
    assert stream("--data.init_args.layer", "3")["layer"] == 3
    both = write(tmp_path / "both.yaml", base="world/human_dog", data={"init_args": {"layer": 7, "size": 64}})
    assert stream("--config", both) == {
        "generators": {"human": "world/human", "dog": "world/dog"},
        "layer": 7,
        "size": 64,
    }
