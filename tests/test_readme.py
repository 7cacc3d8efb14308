"""What the README tells people to type exists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import dife_lightning
from dife_lightning.cli.main import VERBS
from dife_lightning.registry import get_method, list_methods
from dife_lightning.running.configs import list_configs

CLONE = Path(__file__).resolve().parents[1]
TEXT = (CLONE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)
SHELL = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
INLINE = re.findall(r"`([^`\n]+)`", TEXT)
COMMANDS = [shlex.split(line, comments=True) for line in [*SHELL, *INLINE] if line.startswith("dife ")]


def test_every_verb_is_shown_and_every_shown_verb_exists():
    assert {words[1] for words in COMMANDS} == set(VERBS)


def test_shown_configurations_are_shipped():
    named = {words[i + 1] for words in COMMANDS for i, word in enumerate(words) if word == "--config"}
    assert len(named) >= 6
    assert named <= set(list_configs())


def test_shown_model_names_are_registered_classes():
    known = {get_method(name).__name__ for name in list_methods()}
    shown = {words[i + 1] for words in COMMANDS for i, word in enumerate(words) if word == "--model"}
    assert shown
    assert shown <= known


def test_shown_make_targets_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (CLONE / "Makefile").read_text(), re.M))
    shown = {match for text in [*SHELL, *INLINE] for match in re.findall(r"^make ([a-z0-9-]+)", text)}
    assert {"demo", "test", "help"} <= shown
    assert shown <= targets


@pytest.mark.parametrize("path", sorted({s for s in INLINE if re.fullmatch(r"(dife_lightning|configs)/[\w./]+", s)}))
def test_named_files_and_folders_exist(path):
    assert (CLONE / path).exists()


def test_the_python_example_uses_public_names_alone():
    code = ast.parse(next(block for kind, block in BLOCKS if kind == "python"))
    used = {
        node.attr
        for node in ast.walk(code)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dl"
    }
    assert used == set(dife_lightning.__all__) - {"__version__"}
