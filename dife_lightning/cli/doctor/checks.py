"""``dife doctor CONFIG``: what a configuration needs, looked at before a long run.

Every finding says what to type. The exit code is 0 if nothing stands in the way (there may be warnings), 1 if
something does, 2 if the configuration itself is not understood.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dife_lightning.cli.doctor.findings import Finding, Level
from dife_lightning.cli.errors import one_line
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.cli.skipping import skip_broken_in
from dife_lightning.errors import ConfigError, DifeError, UsageError

Settings = Mapping[str, Any]

_USAGE = """usage: dife doctor CONFIG [CONFIG ...] [--key value ...]

Looks at what `dife fit` with these configurations needs: generators, teacher, data, disk, device, precision, time and
memory. Says per finding what to type; the exit code is 1 if something stands in the way.

  --no-steps   do not train the few steps that time and memory are estimated from
"""
_MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


Check = Callable[[Settings], Iterator[Finding]]


def run(verb: str, args: list[str]) -> int:
    """Examine a configuration, print the findings, and return the exit code."""
    if not args or set(args) & {"-h", "--help"}:
        print(_USAGE)
        return 0 if args else 2
    steps = "--no-steps" not in args
    words = fit_words([word for word in args if word != "--no-steps"])
    settings = resolved_settings(words)
    if settings.get("skip_broken"):
        skip_broken_in(settings.get("data"))
    findings = report(examine(settings), Console())
    if steps and not _blocked(findings):
        from dife_lightning.cli.doctor.steps import measure

        findings += report(measure(words, settings), Console())
    return 1 if _blocked(findings) else 0


def fit_words(args: list[str]) -> list[str]:
    """Return the words of the `dife fit` that is meant: leading plain words are configurations."""
    words = ["fit"]
    plain = True
    for word in args:
        plain = plain and not word.startswith("-")
        words += ["--config", word] if plain else [word]
    if words == ["fit"] or ("--config" not in " ".join(words) and "-c" not in words):
        raise UsageError("name a configuration, for example `dife doctor world/human_dog trainer/cpu`.")
    return words


def examine(settings: Settings) -> Iterator[Finding]:
    """Run all checks that take no training; one that fails with a clear error becomes a finding."""
    said: set[str] = set()
    for check in CHECKS:
        try:
            found = list(check(settings))
        except DifeError as error:
            found = [Finding("error", check.__name__.removeprefix("check_"), one_line(error))]
        yield from (finding for finding in found if finding.text not in said)  # several may meet the same trouble
        said |= {finding.text for finding in found}


def report(findings: Iterable[Finding], console: Console) -> list[Finding]:
    """Print findings as they come and return them."""
    found = []
    for finding in findings:
        found.append(finding)
        mark, style = _MARKS[finding.level]
        console.print(Text.assemble((f"{mark} ", style), (f"{finding.about}: ", "bold"), finding.text), soft_wrap=True)
    return found


def _blocked(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)


# The checks


def check_assets(settings: Settings) -> Iterator[Finding]:
    """Find every generator and teacher by name, with its hash, or say where to get it."""
    from dife_lightning.cli.doctor.files import CATS, GENERATOR, TEACHER, look_at_weights

    model, data = _arguments(settings, "model"), _arguments(settings, "data")
    given = list(_generators(model).values())
    for name in sorted({name for name in given if given.count(name) > 1}):
        yield Finding("error", "assets", f"{name} is the generator of two domains; each domain needs its own")
    names = dict.fromkeys((*_generators(model).values(), *_generators(data).values()), GENERATOR)
    other = CATS if str(settings["model"]["class_path"]).endswith("CATs") else TEACHER
    names |= {model[key]: other for key in ("teacher", "init_from", "weights") if isinstance(model.get(key), str)}
    yield from look_at_weights(names)


def check_domains(settings: Settings) -> Iterator[Finding]:
    """See that domains, generators, tapped layer, channels and sizes fit each other."""
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.weights.checkpoints import find_weights

    model, data = _arguments(settings, "model"), _arguments(settings, "data")
    domains, layer = model.get("domains"), model.get("layer")
    if not isinstance(domains, Mapping) or layer is None:
        return
    for domain, channels in domains.items():
        name = _generators(model).get(domain)
        if name is None:
            yield Finding("error", "domains", f"'{domain}' has no generator; add model.init_args.generators.{domain}")
            continue
        try:
            find_weights(name)
        except DifeError:
            continue  # it is among the assets
        generator = load_generator(name)
        try:
            found, side = generator.layer_shape(int(layer))
        except ConfigError as error:
            yield Finding("error", "domains", f"{domain}: {error}; set model.init_args.layer and data.init_args.layer")
            continue
        if found != channels:
            key = f"--model.init_args.domains.{domain} {found}"
            yield Finding("error", "domains", f"{domain}: layer {layer} of {name} has {found} channels; type {key}")
        else:
            text = f"{domain}: {name}, {generator.resolution} px, layer {layer}: {found} channels of {side} x {side}"
            yield Finding("ok", "domains", text)
    for key in ("layer", "size", "generators"):
        if key in data and data[key] != model.get(key):
            text = f"data.init_args.{key} is {data[key]}, model.init_args.{key} is {model.get(key)}; make them equal"
            yield Finding("error", "domains", text)


def check_encoder(settings: Settings) -> Iterator[Finding]:
    """Build the method as configured, and see that the encoder takes the images."""
    from dife_lightning.registry import methods_by_class

    class_name = str(settings["model"]["class_path"]).rpartition(".")[2]
    classes = methods_by_class()
    if class_name not in classes:
        return
    arguments = {k: v for k, v in _arguments(settings, "model").items() if k != "init_from"}
    module = classes[class_name](**arguments)
    count = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    multiple, size = getattr(getattr(module, "encoder", None), "side_multiple", 1), arguments.get("size", 0)
    if isinstance(size, int) and size % multiple:
        best = -(-size // multiple) * multiple
        text = (
            f"size {size} is no multiple of {multiple}; type --model.init_args.size {best} --data.init_args.size {best}"
        )
        yield Finding("error", "encoder", text)
    yield Finding("ok", "encoder", f"{class_name}, {count:,} trainable parameters")


def check_data(settings: Settings) -> Iterator[Finding]:
    """Look at a folder of images, and at the lists of pairs."""
    from dife_lightning.data.photos.folder_check import advice, check_folder

    data = _arguments(settings, "data")
    if "folder" in data and data.get("species") is None:
        if data["folder"] is None:
            yield Finding("error", "data", "no folder of images; type --data.init_args.folder my/images")
            return
        report = check_folder(data["folder"], int(data.get("size", 64)))
        for level, text in advice(report, bool(data.get("skip_broken"))):
            yield Finding(level, "data", text)  # type: ignore[arg-type]
    evaluation = data.get("evaluation")
    if isinstance(evaluation, Mapping) and "domains" in (evaluation.get("init_args") or {}):
        from dife_lightning.cli.doctor.files import look_at_faces

        yield from look_at_faces(evaluation["init_args"])
    elif isinstance(evaluation, Mapping):
        pairs = evaluation.get("init_args", {}).get("pairs", [])
        count = evaluation.get("init_args", {}).get("val_count", "?")
        yield Finding("ok", "data", f"validation: {count} pairs of each of {', '.join(pairs)}")
    elif "evaluation" in data:
        yield Finding(
            "warning", "data", "no evaluation: there will be no best checkpoint; set data.init_args.evaluation"
        )


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Compare the room on the disk with that of the checkpoints."""
    from dife_lightning.utils.files import cache_folder

    needed = 4 * _checkpoint_bytes(settings)  # best, last, previous, and one being written
    for about, place, wanted in (("runs", Path(), needed), ("cache", cache_folder(), 300e6)):
        folder = next(p for p in (place.resolve(), *place.resolve().parents) if p.exists())
        free = shutil.disk_usage(folder).free
        text = f"{about}: {free / 1e9:.1f} GB free at {folder}, about {wanted / 1e9:.2f} GB needed"
        hint = "; make room or choose another place with --runs_root" if about == "runs" else "; set DIFE_CACHE"
        yield Finding("ok", "disk", text) if free > wanted else Finding("error", "disk", text + hint)


def check_device(settings: Settings) -> Iterator[Finding]:
    """See that the device is there and has the precision."""
    import torch

    trainer = settings["trainer"]
    accelerator, precision = str(trainer.get("accelerator", "auto")), str(trainer.get("precision"))
    cuda = torch.cuda.is_available()
    if accelerator in ("gpu", "cuda") and not cuda:
        yield Finding(
            "error", "device", f"accelerator {accelerator}, but there is no GPU here; use --config trainer/cpu"
        )
        return
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and cuda)
    name = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    if on_gpu and "bf16" in precision and not torch.cuda.is_bf16_supported(including_emulation=False):
        yield Finding("warning", "device", f"{name} has no bfloat16 units; use --config trainer/gpu_fp16")
    elif not on_gpu and precision == "16-mixed":
        yield Finding("error", "device", "16-mixed needs a GPU; type --trainer.precision auto")
    else:
        yield Finding("ok", "device", f"{name}, precision {precision}")


CHECKS: tuple[Check, ...] = (check_assets, check_domains, check_encoder, check_data, check_disk, check_device)


def _arguments(settings: Settings, part: str) -> dict[str, Any]:
    return dict((settings.get(part) or {}).get("init_args") or {})


def _generators(arguments: Mapping[str, Any]) -> dict[str, str]:
    found = arguments.get("generators")
    return dict(found) if isinstance(found, Mapping) else {}


def _checkpoint_bytes(settings: Settings) -> float:
    """Estimate a checkpoint: the weights and Adam's two moments, in fp32."""
    found = [f for f in check_encoder(settings) if "trainable parameters" in f.text]
    count = int(found[0].text.split(", ")[1].split()[0].replace(",", "")) if found else 50_000_000
    return 12.0 * count
