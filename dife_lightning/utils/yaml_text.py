"""YAML in which words are text: only plain numbers, ``true``, ``false`` and ``null`` are something else.

YAML 1.1, which PyYAML reads, takes ``no`` and ``on`` for booleans, ``007`` for 7, ``12:30`` for 750 and ``2024-05-01``
for a date. Names of species, files and landmarks look like that, so here they are text, as in YAML 1.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

_FLOAT = r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"


class _Loader(yaml.SafeLoader):
    """Reads plain numbers, booleans and null; all else is text."""


class _Dumper(yaml.SafeDumper):
    """Quotes text that either dialect would take for something else."""


_Loader.yaml_implicit_resolvers = {}  # for this class alone
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"^(?:{_FLOAT})$"), list("-+.0123456789"))

if TYPE_CHECKING:
    OptionValue = Any
else:

    class OptionValue:
        """A value in a dictionary of options: any, and text stays text, also ``007`` (see ``running.parser``)."""


def load_yaml(text: str) -> Any:
    """Return the content of YAML text; yaml.YAMLError if it is none."""
    return yaml.load(text, Loader=_Loader)


def load_printed(text: str) -> Any:
    """Return the content of YAML that PyYAML itself has written; its reader in C, where there is one, is faster."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dump_yaml(content: Any) -> str:
    """Return YAML text, keys in their order, that :func:`load_yaml` and PyYAML read as the same content."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)


def is_text(word: str) -> bool:
    """Return whether a word without quotes and brackets is text."""
    return bool(_Loader("").resolve(yaml.ScalarNode, word, (True, False)).endswith(":str"))
