"""A model card in Markdown, written from a run's record alone: nothing is guessed, nothing is measured again.

The record may be that of somebody else. So all its text stands in code spans, in which Markdown knows neither HTML nor
links, and numbers are read as numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from dife_lightning.errors import printable
from dife_lightning.running.run_record import RunRecord, TestRecord, number, part
from dife_lightning.weights.assets import asset_terms, list_assets

#: Longest text of a setting in the tables, and of any other text; longer ones are left out, or cut.
_SETTING, _LONGEST = 100, 400
#: Logged values of validations that a card shows: a name with one slash.
_VALIDATION = "val/"
#: Settings that say how a training is run, not what it learns from.
_PRACTICAL = ("num_workers", "cache", "evaluation", "share_every", "batches_ahead", "pin_memory")
_NOT_RECORDED = "not recorded"
Table = Iterable[Sequence[str]]


def model_card(record: RunRecord) -> str:
    """Return the card of a run as Markdown."""
    sections = {
        f"# Model card of {code(record.path.name)}": _summary(record),
        "## The model": _model(record),
        "## Training": _training(record),
        "## Figures": _figures(record),
        "## Loading": _loading(record),
        "## Limits": "\n".join(f"- {line}" for line in limits(record)),
        "## Versions": _versions(record),
        "## Terms": _terms(record),
    }
    return "\n\n".join(f"{title}\n{text}" for title, text in sections.items()) + "\n"


# Pieces of Markdown


def code(value: Any) -> str:
    """Return a value of the record as a code span, cut and without line breaks, backticks and bars of tables."""
    text = printable(str(value)).replace("`", "'").replace("|", "¦").strip()
    return f"`{text if len(text) <= _LONGEST else f'{text[:_LONGEST]} ...'}`" if text else "(empty)"


def _flow(value: Any) -> str:
    """Return a setting in one line of YAML."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False).strip().removesuffix("\n...")


def _figure(value: Any, form: str = ".2f") -> str:
    found = number(value)
    return "?" if found is None else format(found, form)


def _table(header: Sequence[str], rows: Table) -> str:
    lines = [" | ".join(row) for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _settings(arguments: dict[str, Any]) -> list[Sequence[str]]:
    """Return the rows of the settings that are set and short."""
    shown = {name: _flow(value) for name, value in arguments.items() if name not in _PRACTICAL}
    return [
        (code(name), code(text))
        for name, text in shown.items()
        if len(text) <= _SETTING and text not in ("null", "false", "[]", "{}", "")
    ]


# Sections


def _summary(record: RunRecord) -> str:
    species = ", ".join(code(name) for name in record.trained_species())
    about = f" for {species}" if species else ""
    return f"{code(record.class_name('model'))}{about}, written from the record of the run by `dife card`."


def _model(record: RunRecord) -> str:
    count = record.parameters
    values = (
        "no checkpoint in this folder" if count is None else ", ".join(f"{code(k)} {v:,}" for k, v in count.items())
    )
    rows = [("method", code(record.class_name("model"))), ("values in the checkpoint", values or "none")]
    return _table(("setting", "value"), [*rows, *_settings(record.arguments("model"))])


def _training(record: RunRecord) -> str:
    if not record.trained:
        return "Nothing was trained in this folder: it holds a test alone."
    environment, arguments = record.environment, record.arguments("data")
    trainer, machine = part(record.settings, "trainer"), part(environment, "machine")
    device = ", ".join(str(machine[key]) for key in ("gpu", "processor", "system") if machine.get(key))
    devices = [str(trainer.get(key)) for key in ("devices", "accelerator", "num_nodes") if trainer.get(key) is not None]
    rows = [
        ("data module", code(record.class_name("data"))),
        *_settings(arguments),
        ("steps", _steps(record)),
        ("images", _images(record)),
        ("time without validations", _duration(record.seconds())),
        ("machine", code(device) if device else _NOT_RECORDED),
        ("devices, accelerator, nodes", code(", ".join(devices)) if devices else _NOT_RECORDED),
        ("precision", code(environment.get("precision") or trainer.get("precision") or _NOT_RECORDED)),
        ("seed", code(record.settings.get("seed_everything", _NOT_RECORDED))),
        ("continued after interruptions", str(record.continued)),
    ]
    return _table(("training", "value"), rows)


def _steps(record: RunRecord) -> str:
    stages = [f"{code(name)} {_figure(part(record.stages, name).get('steps'), ',.0f')}" for name in record.stages]
    return ", ".join(stages) or _NOT_RECORDED


def _images(record: RunRecord) -> str:
    """Return the images that were seen: as logged, else the size of a batch times the steps."""
    if logged := record.logged("train/images"):
        return f"{logged[-1][1]:,.0f}"
    batch, steps = number(record.arguments("data").get("batch_size")), record.steps()
    if batch is None or steps is None:
        return _NOT_RECORDED
    return f"{batch * steps:,.0f} ({batch:,.0f} a step)"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NOT_RECORDED
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _figures(record: RunRecord) -> str:
    found = [_validation(record), *(_test(test) for test in record.tests)]
    if not record.tests:
        found.append("Not tested: the folder has no results of `dife test`.")
    return "\n\n".join(text for text in found if text)


def _validation(record: RunRecord) -> str:
    """Return the table of the validations' values; validation images may have chosen the checkpoint."""
    names = {name for row in record.log for name in row if name.startswith(_VALIDATION) and name.count("/") == 1}
    rows = []
    for name in sorted(names):
        if values := record.logged(name):
            low, last = min(values, key=lambda pair: pair[1]), values[-1]
            rows.append(
                (code(name), *(f"{_figure(value)} at step {_figure(step, '.0f')}" for step, value in (low, last)))
            )
    return f"Validation, which chooses the checkpoint:\n\n{_table(('value', 'smallest', 'last'), rows)}" if rows else ""


def _test(test: TestRecord) -> str:
    header = ("pair", "list", "framing", "points", "error", "95 %", "swaps", "PCK@0.1", "pairs")
    names, shares = ("pair", "list", "framing", "protocol"), ("swap_rate", "pck_image_10")
    rows = [
        (
            *(code(row.get(key, "?")) for key in names),
            _figure(row.get("pixel_error")),
            _interval(row.get("ci95")),
            *(_figure(row.get(key), ".1%") for key in shares),
            _figure(row.get("pairs"), ",.0f"),
        )
        for row in test.rows
    ]
    switches, lists = part(test.metrics, "switches"), part(test.metrics, "lists", "test")
    bootstrap = part(switches, "bootstrap")
    notes = [f"Data: {code(test.data or _NOT_RECORDED)}"]
    if "error_unit" in switches:
        notes.append(
            f"Errors in {code(switches['error_unit'])}, images of {_figure(switches.get('image_size'), '.0f')} px"
        )
    if bootstrap:
        notes.append(f"Intervals: bootstrap over {code(bootstrap.get('over', '?'))}, {_drawn(bootstrap)}")
    notes += [f"Test list {code(name)}: sha256 {code(digest)}" for name, digest in lists.items()]
    notes += _crops(test)
    told = "\n".join(f"- {note}" for note in notes)
    return f"Test {code(test.name)}:\n\n{_table(header, rows)}\n\n{told}"


def _interval(ends: Any) -> str:
    low, high = ends if isinstance(ends, list) and len(ends) == 2 else (None, None)
    return f"{_figure(low)} to {_figure(high)}"


def _drawn(bootstrap: dict[str, Any]) -> str:
    return f"{_figure(bootstrap.get('resamples'), ',.0f')} draws, seed {_figure(bootstrap.get('seed'), '.0f')}"


def _crops(test: TestRecord) -> list[str]:
    domains = part(test.metrics, "data", "domains")
    crops = {name: part(domains, name, "crop") for name in domains}
    return [
        f"Faces of {code(name)}: data set {code(part(domains, name).get('dataset', '?'))}, "
        f"crop {code(_flow({key: value for key, value in crop.items() if value is not None}))}"
        for name, crop in crops.items()
    ]


def _loading(record: RunRecord) -> str:
    if record.parameters is None:
        return "There is no checkpoint in this folder, so nothing can be loaded."
    path = repr(printable(record.path.name)).replace("`", "'")
    if record.class_name("model") == "StyleGAN2":
        lines = [
            f"generator = dl.load_generator({path})",
            "images = generator.image(generator.map(torch.randn(4, generator.z_dim), truncation=0.7))  # in [-1, 1]",
        ]
        return "```python\nimport torch, dife_lightning as dl\n" + "\n".join(lines) + "\n```"
    lines = [
        f"method = dl.load({path})  # the folder of the run",
        "points = method.transfer((dl.read_image('a.png'), dl.read_image('b.png')), [[49, 61]])  # x and y in pixels",
    ]
    return "```python\nimport dife_lightning as dl\n" + "\n".join(lines) + "\n```"


def limits(record: RunRecord) -> list[str]:
    """Return what the record says was not done, one sentence each."""
    trained, rows = record.trained_species(), [row for test in record.tests for row in test.rows]
    tested = list(dict.fromkeys(name for row in rows for name in str(row.get("pair", "")).split("+") if name))
    found = ["One run with one seed: its record says nothing about the spread over seeds."] if record.trained else []
    if not rows:
        found.append("Not tested: validation figures are of images that may have chosen the checkpoint.")
    if record.trained and not trained:
        found.append("The record does not name the species of the training.")
    elif trained and (unseen := [name for name in tested if name not in trained]):
        found.append(f"Tested on species that are not in the training: {_codes(unseen)}.")
    if rows and (untested := [name for name in trained if name not in tested]):
        found.append(f"Trained on, but not tested on: {_codes(untested)}.")
    if rows:
        framings = list(dict.fromkeys(str(row.get("framing", "?")) for row in rows))
        found.append(f"Tested on {_codes(tested)} alone, with the framing {_codes(framings)} alone.")
    if rows and {test.data for test in record.tests if test.rows} == {"WorldPairs"}:
        found.append("Tested on drawn faces of the embedded world only, not on photographs.")
    if record.class_name("data") == "StyleGAN2Stream":
        photos = ", and on photos in equation 1" if part(record.arguments("data"), "photos") else ""
        found.append(f"Trained on images of generators{photos}: what these never show was not seen.")
    return [*found, *_unfinished(record)]


def _unfinished(record: RunRecord) -> list[str]:
    wanted, done = number(part(record.settings, "trainer").get("max_steps")), record.steps()
    found = []
    if done is None and record.trained:
        found.append("The record has no times of stages: the training did not end, or nothing was trained.")
    elif done is not None and wanted is not None and done < wanted:
        found.append(f"The training ended after {done:,} of {wanted:,.0f} steps.")
    if record.environment.get("dirty"):
        found.append("The code differed from its commit when the training began.")
    return found


def _codes(names: Iterable[str]) -> str:
    return ", ".join(code(name) for name in names)


def _versions(record: RunRecord) -> str:
    environment = record.environment
    facts = {**part(environment, "versions"), "commit": environment.get("commit"), "time": environment.get("time")}
    command = environment.get("command")
    facts["command"] = " ".join(map(str, command)) if isinstance(command, list) else command
    return _table(("what", "value"), [(code(name), code(value)) for name, value in facts.items() if value is not None])


def _terms(record: RunRecord) -> str:
    stated = record.environment.get("terms") or record.settings.get("terms")
    lines = [f"Terms of this model, by its record: {code(stated)}"] if stated else []
    assets = list_assets()
    for name in dict.fromkeys(_texts({key: record.settings.get(key) for key in ("model", "data")})):
        if name in assets:
            lines.append(f"Learnt from the shipped asset {code(name)}: {code(asset_terms(name))}")
        elif name.startswith(("own/", "backbone:")):
            lines.append(f"Learnt from {code(name)}: terms {_NOT_RECORDED}")
    data = record.arguments("data")
    photos = [name for name in _texts(part(data, "photos").get("folder")) if not name.startswith("own/")]
    for folder in (*filter(None, map(data.get, ("folder", "root"))), *photos):
        lines.append(f"Learnt from the images in {code(folder)}: terms {_NOT_RECORDED}")
    lines.append("A trained model is usually bound by the terms of everything that it learnt from.")
    return "\n".join(f"- {line}" for line in lines)


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts among nested settings; a part that YAML aliases repeat is read once."""
    waiting, seen = [value], set[int]()
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.values() if isinstance(item, dict) else item
