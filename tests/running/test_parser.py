"""Configurations that extend others, and settings that the data take from the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dife_lightning.cli.settings import resolved_settings
from dife_lightning.errors import UsageError
from dife_lightning.running.configs import find_config, load_config
from dife_lightning.utils.yaml_text import dump_yaml, load_yaml


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


WORDS = ("no", "on", "Yes", "007", "08", "12:30", "2024-05-01", "1_000", "0x1F", "0o7")
PAIRS = "{class_path: FacePairs, init_args: {domains: {dog: {dataset: folder, root: dogs, options: {group: WORD}}}}}"


def group_of(*words: str) -> Any:
    """Return the option ``group`` of the reader as a command understands it."""
    settings = resolved_settings(["test", "--model", "CopyXY", *words])
    return settings["data"]["init_args"]["domains"]["dog"]["options"]["group"]


@pytest.mark.parametrize("word", WORDS)
def test_words_in_the_options_of_a_reader_are_text(tmp_path: Path, word: str) -> None:
    path = tmp_path / "faces.yaml"
    for text in (word, f"'{word}'"):
        path.write_text(f"data: {PAIRS.replace('WORD', text)}")
        assert group_of("--config", str(path)) == word
    one = "{dog: {dataset: folder, root: dogs, options: {group: WORD}}}".replace("WORD", word)
    assert group_of("--data", "FacePairs", "--data.domains", one) == word
    whole = "{group: WORD}".replace("WORD", word)
    assert group_of("--config", str(path), "--data.domains.dog.options", whole) == word


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("1.5", 1.5), ("true", True), ("null", None), ("[no, 3]", ["no", 3])]
)
def test_numbers_and_lists_in_the_options_of_a_reader_are_read(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "faces.yaml"
    path.write_text(f"data: {PAIRS.replace('WORD', text)}")
    assert group_of("--config", str(path)) == value


def test_a_single_key_of_a_dictionary_says_how_to_give_it(tmp_path: Path) -> None:
    path = tmp_path / "faces.yaml"
    path.write_text(f"data: {PAIRS}")
    with pytest.raises(
        UsageError, match=r"options\.group' cannot be set alone: give the whole dictionary, '\{group: no"
    ):
        group_of("--config", str(path), "--data.domains.dog.options.group", "no")


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("off", False), ("true", True), ("False", False)])
def test_switches_still_take_these_words(tmp_path: Path, word: str, value: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"base: world/human_dog\nmodel: {{init_args: {{unit_length: {word}}}}}")
    assert resolved_settings(["fit", "--config", str(path)])["model"]["init_args"]["unit_length"] is value


def test_text_that_looks_like_a_number_is_the_same_after_writing_and_reading() -> None:
    content = {
        "a": "1e5",
        "b": "007",
        "c": "no",
        "d": 1e5,
        "e": ["12:30", "~", "null", ".5", "5"],
        "f": 1e-7,
        "g": "1.e3",
    }
    assert load_yaml(dump_yaml(content)) == content
    assert yaml.safe_load(dump_yaml(content)) == content
