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
#: The parser's base class of a section -> the section: what it names where no configuration chose a class.
_SECTIONS = {"LightningModule": "model", "LightningDataModule": "data"}


def explain(message: str, verb: str, options: Iterable[str], classes: Iterable[str]) -> UsageError:
    """Turn the parser's message into a one-line error with the value found and the closest known name.

    Args:
        message: text of the parser's ArgumentError.
        verb: the verb that was parsed.
        options: known option names of the verb, with or without leading dashes.
        classes: names of the known models, data modules and callbacks.
    """
    names = [option.lstrip("-") for option in options]
    if match := re.search(r"unrecognized arguments: (\S+)", message):
        return unknown_option(match[1].split("=")[0].lstrip("-"), names, verb)
    if match := re.search(r"does not accept option '([^']+)'", message):
        return unknown_key(match[1], names, verb)
    if match := re.search(
        r"given class_path '([^']+)':\s*(?:Option|Key) '([^']+)' is not (?:accepted|expected)", message
    ):
        if section := _SECTIONS.get(match[1].rpartition(".")[2]):
            return missing_sections([section], verb)  # arguments for a class that nothing names
        known = _arguments_of(match[1])
        return unknown_key(match[2].removeprefix("init_args."), known, verb, match[1].rpartition(".")[2])
    if match := re.search(r"Expected a dot import path string: ([^\n]+)", message):
        return unknown_class(match[1].strip(), _key_of(message), classes, verb)
    if match := re.search(r"given class_path '([^']+)':\s*the following arguments are required: ([^\n]+)", message):
        return _error(f"{match[1].rpartition('.')[2]} needs a value for: {match[2]};", verb)
    if match := re.search(r"arguments are required: ([^\n]+)", message):
        return missing_sections(re.split(r",\s*", match[1]), verb)
    return _error(_bad_value(message) if re.search("Expected an? ", message) else _last_reason(message), verb)


def unknown_option(found: str, known: Iterable[str], verb: str) -> UsageError:
    """Return the error for an option that a verb does not have; both names without dashes."""
    return _error(f"unknown option '--{found}'.{_closest(found, known, dashes=True)}", verb)


def unknown_key(found: str, known: Iterable[str], verb: str, cls: str | None = None) -> UsageError:
    """Return the error for a key of a configuration, or of the arguments of a class."""
    if cls is None:
        return _error(f"unknown key '{found}'.{_closest(found, known)}", verb)
    listing = f" It takes: {', '.join(sorted(known))}." if known else ""
    return _error(f"unknown key '{found}' of {cls}.{_closest(found, known) or listing}", verb)


def unknown_class(found: str, key: str, known: Iterable[str], verb: str) -> UsageError:
    """Return the error for an unknown class at ``key``."""
    names = sorted(set(known))
    listing = f" Known: {', '.join(names)}." if names else ""
    hint = _closest(found, names) or listing
    return _error(f"unknown class '{found}' for '{key}'.{hint} Classes of your own need --import FILE.", verb)


def missing_sections(keys: list[str], verb: str) -> UsageError:
    """Return the error for a command without model or data."""
    text = (
        f"nothing given for: {', '.join(keys)}. Add `--config NAME` (`dife configs` lists them) before those that only "
        f"change it, or --{keys[0]} CLASS;"
    )
    return _error(text, verb)


def untrained(verb: str, name: str) -> UsageError:
    """Return the error for a method that would be scored without training."""
    return UsageError(
        f"`dife {verb}` without --ckpt_path would score an untrained {name}. "
        "Add --ckpt_path runs/<run>, or --allow_untrained if that is what you want."
    )


def _error(text: str, verb: str) -> UsageError:
    return UsageError(f"{text} {_HELP.format(verb=verb)}.")


def _bad_value(message: str) -> str:
    found = (re.findall(r"Got value: ([^\n]*)|Given value: ([^\n]*)", message) or [("", "?")])[0]
    value = (found[0] or found[1]).strip()
    if match := re.match(r"Namespace\((\w+)=(.*)\)$", value):
        whole = f"'{{{match[1]}: {match[2].strip(chr(39))}, ...}}'"
        return f"'{_key_of(message)}.{match[1]}' cannot be set alone: give the whole dictionary, {whole}, as a value;"
    null = " (write null for Python's None)" if value == "None" else ""
    expected = [text.strip() for text in re.findall(r"Expected (?:a|an) ([^\n]*?)(?:\. Got|\n|$)", message)]
    readable = dict.fromkeys(_readable(text) for text in expected if "NoneType" not in text)
    return f"'{_key_of(message)}': expected {' or '.join(readable) or 'another value'}, found {value}{null};"


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
    """Return the first and last informative line of any other message."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "NoneType" not in line and not line.startswith(("Given value", "Subtypes"))]
    text = " ".join(dict.fromkeys((telling or lines)[:1] + (telling or lines)[-1:]))
    return f"{text.rstrip('.')}."
