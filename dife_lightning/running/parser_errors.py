"""jsonargparse's errors, reduced to the line that names the cause."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable

from dife_lightning.errors import UsageError

#: What helps when nothing closer is known.
_HELP = "`dife {verb} --help` and `--print_config` show what there is"


def explain(message: str, verb: str, options: Iterable[str], classes: Iterable[str]) -> UsageError:
    """Turn the parser's message into an error of one line that says what was found and what comes closest.

    Args:
        message: text of the parser's ArgumentError.
        verb: the verb that was parsed.
        options: known option names of the verb, with or without leading dashes.
        classes: names of the known models, data modules and callbacks.
    """
    names = sorted({option.lstrip("-") for option in options})
    for pattern, build in _CASES:
        match = re.search(pattern, message, re.DOTALL)
        if match:
            return UsageError(build(match, message, names, sorted(classes)) + " " + _HELP.format(verb=verb) + ".")
    return UsageError(f"{_last_reason(message)} {_HELP.format(verb=verb)}.")


def _unrecognized(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    found = match[1].split("=")[0].lstrip("-")
    return f"unknown option '--{found}'.{_closest(found, names, dashes=True)}"


def _not_accepted(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    return f"unknown key '{match[1]}'.{_closest(match[1], names)}"


def _class_key(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    class_path, found = match[1], match[2].removeprefix("init_args.")
    known = _arguments_of(class_path)
    listing = f" It takes: {', '.join(known)}." if known else ""
    return f"unknown key '{found}' of {class_path.rpartition('.')[2]}.{_closest(found, known) or listing}"


def _unknown_class(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    found = match[1].strip()
    listing = f" Known: {', '.join(classes)}." if classes else ""
    return f"unknown class '{found}' for '{_key_of(message)}'.{_closest(found, classes) or listing}"


def _required(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    keys = [key.split(".", 1)[-1] for key in re.split(r",\s*", match[1])]
    return (
        f"nothing given for: {', '.join(keys)}. Add `--config NAME` (`dife configs` lists them) or --{keys[0]} CLASS;"
    )


def _bad_value(match: re.Match[str], message: str, names: list[str], classes: list[str]) -> str:
    found = (re.findall(r"Got value: ([^\n]*)|Given value: ([^\n]*)", message) or [("", "?")])[0]
    value = (found[0] or found[1]).strip()
    null = " (write null for Python's None)" if value == "None" else ""
    expected = [text.strip() for text in re.findall(r"Expected (?:a|an) ([^\n]*?)(?:\. Got|\n|$)", message)]
    readable = dict.fromkeys(_readable(text) for text in expected if "NoneType" not in text)
    return f"'{_key_of(message)}': expected {' or '.join(readable) or 'another value'}, found {value}{null};"


_CASES = (
    (r"unrecognized arguments: (\S+)", _unrecognized),
    (r"does not accept option '([^']+)'", _not_accepted),
    (r"Problem with given class_path '([^']+)':\s*Option '([^']+)' is not accepted", _class_key),
    (r"Problem with given class_path '([^']+)':\s*Key '([^']+)' is not expected", _class_key),
    (r"Expected a dot import path string: ([^\n]+)", _unknown_class),
    (r"arguments are required: ([^\n]+)", _required),
    (r"Expected (?:a|an) ", _bad_value),
)


def _key_of(message: str) -> str:
    """Join the nested ``Parser key "..."`` of a message: ``model`` and ``lr`` give ``model.lr``."""
    return ".".join(re.findall(r'Parser key "([^"]+)"', message)) or "?"


def _readable(type_text: str) -> str:
    """``<class 'float'>`` -> ``float``; ``typing.Literal['a', 'b']`` -> ``'a', 'b'``."""
    text = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", type_text)
    return re.sub(r"typing\.Literal\[([^\]]*)\]", r"\1", text)


def _closest(found: str, known: Iterable[str], dashes: bool = False) -> str:
    close = difflib.get_close_matches(found, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{'--' * dashes}{close[0]}'?" if close else ""


def _arguments_of(class_path: str) -> list[str]:
    """Return the argument names of a class."""
    module, _, name = class_path.rpartition(".")
    try:
        signature = inspect.signature(getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError, TypeError):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [key for key, parameter in signature.parameters.items() if parameter.kind not in kinds]


def _last_reason(message: str) -> str:
    """Return the most telling line of a message that no case knows."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "NoneType" not in line and not line.startswith(("Given value", "Subtypes"))]
    text = " ".join(dict.fromkeys((telling or lines)[:1] + (telling or lines)[-1:]))
    return f"{text.rstrip('.')}."
