"""What the README and the pages in docs/ tell people to type exists, and every verb and public name has its place."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import dife_lightning
from dife_lightning.cli.main import VERBS
from dife_lightning.registry import get_method, list_methods
from dife_lightning.running.configs import list_configs
from tests.docs_text import CLONE, PAGES, commands, inline

TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (CLONE / "Makefile").read_text(), re.MULTILINE))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def after(words: list[str], option: str) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words[:-1]) if word == option]


def test_the_page_of_the_command_line_shows_every_verb():
    page = TEXTS[CLONE / "docs/command_line.md"]
    assert set(re.findall(r"^\| `dife ([\w-]+)`", page, re.MULTILINE)) == set(VERBS)


def test_every_shipped_name_of_the_trainer_and_the_world_is_mentioned_somewhere():
    everything = "\n".join(TEXTS.values())
    shown = {"world/human_dog", "world/dve", "world/cats", "world/ceiling", "trainer/cpu", "trainer/gpu_bf16"}
    assert not [name for name in shown if name not in everything or name not in list_configs()]


@pages
def test_shown_verbs_exist(page: Path):
    shown = {words[0] for words in commands(TEXTS[page], "dife") if words}
    own = set(re.findall(r'"(\w+)": \("dife_lightning\.cli\.', TEXTS[page]))  # a verb that the page shows how to add
    assert {verb for verb in shown if re.fullmatch(r"[a-z]+", verb)} - own <= set(VERBS)


@pages
def test_shown_configurations_are_shipped_or_files_of_the_reader(page: Path):
    named = {name for words in commands(TEXTS[page], "dife") for name in after(words, "--config")}
    shipped = {name for name in named if "/" in name and not name.endswith((".yaml", ">"))}
    assert shipped <= set(list_configs())


@pages
def test_shown_models_are_registered(page: Path):
    known = {get_method(name).__name__ for name in list_methods()} | set(list_methods())
    shown = {name for words in commands(TEXTS[page], "dife") for name in after(words, "--model")}
    own = {name for name in shown if "my" in name.lower()}  # the reader's own, in CONTRIBUTING
    assert shown - own <= known


@pages
def test_shown_make_targets_exist(page: Path):
    shown = {
        target for words in commands(TEXTS[page], "make") for target in words if re.fullmatch(r"[a-z0-9-]+", target)
    }
    assert shown <= TARGETS


@pages
def test_shown_modules_can_be_run(page: Path):
    shown = {words[1] for words in commands(TEXTS[page], "python") if words[:1] == ["-m"]}
    shown |= {words[1] for words in commands(TEXTS[page], ".venv/bin/python") if words[:1] == ["-m"]}
    for module in {name for name in shown if name.startswith(("experiments", "dife_lightning"))}:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        assert spec.submodule_search_locations is None or importlib.util.find_spec(f"{module}.__main__"), module


@pages
def test_named_files_of_the_repository_exist(page: Path):
    named = {
        text
        for text in inline(TEXTS[page])
        if re.fullmatch(r"(dife_lightning|configs|experiments|tests)/[\w./]+", text)
    }
    assert not [name for name in named if not (CLONE / name).exists()]


@pages
def test_links_lead_to_files_and_headings_that_exist(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if heading and file.suffix == ".md":
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, target


@pages
def test_public_names_of_examples_exist(page: Path):
    used = set(re.findall(r"\b(?:dl|dife_lightning)\.([a-z]\w*)\(", TEXTS[page]))
    assert used <= set(dife_lightning.__all__) | {"registry"}
