"""The doctor's checks that need no training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dife_lightning.cli.doctor.configured import Configured
from dife_lightning.cli.doctor.findings import Finding
from dife_lightning.cli.errors import one_line
from dife_lightning.errors import AssetError, ConfigError, DifeError

Check = Callable[[Configured], Iterator[Finding]]
#: Assumed number of parameters of a method that is not registered.
_PARAMETERS = 50_000_000


def examine(configured: Configured) -> Iterator[Finding]:
    """Run all checks; one that fails with a clear error becomes a finding."""
    for check in CHECKS:
        try:
            yield from list(check(configured))
        except DifeError as error:
            yield Finding("error", check.__name__.removeprefix("check_"), one_line(error))


def check_assets(configured: Configured) -> Iterator[Finding]:
    """All generators and teachers exist, with their hashes; otherwise say where to get them."""
    from dife_lightning.cli.doctor.files import CATS, GENERATOR, HRNET, TEACHER, look_at_weights

    given = list(configured.generators("model").values())
    for name in sorted({name for name in given if given.count(name) > 1}):
        yield Finding("error", "assets", f"{name} is the generator of two domains; each domain needs its own")
    names = dict.fromkeys((*given, *configured.generators("data").values()), GENERATOR)
    others = (configured.model.get(key) for key in ("teacher", "init_from", "weights"))
    origins = {"CATs": CATS, "PublicCATs": CATS, "LandmarkNet": HRNET, "MetaCSKT": HRNET}
    names |= {name: origins.get(configured.method, TEACHER) for name in others if isinstance(name, str)}
    yield from look_at_weights(names)


def check_domains(configured: Configured) -> Iterator[Finding]:
    """Domains, generators, tapped layer, channels and sizes fit each other."""
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.weights.checkpoints import find_weights

    model, data = configured.model, configured.data
    domains, layer = model.get("domains"), model.get("layer")
    if not isinstance(domains, Mapping) or layer is None:
        return
    for domain, channels in domains.items():
        name = configured.generators("model").get(domain)
        if name is None:
            yield Finding("error", "domains", f"'{domain}' has no generator; add model.init_args.generators.{domain}")
            continue
        try:
            find_weights(name)
        except DifeError:
            continue  # check_assets reports it
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


def check_teacher(configured: Configured) -> Iterator[Finding]:
    """The surface teacher's embedding varies over generated images of each domain."""
    from dife_lightning.pretrained.embedders import load_embedder
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.pretrained.variation import near_constant, teacher_variation

    model, generators = configured.model, configured.generators("model")
    name = model.get("teacher")
    if not isinstance(name, str) or not generators or not model.get("lambda_k1", 1):
        return
    try:
        teacher = load_embedder(name)
        loaded = {domain: load_generator(generator) for domain, generator in generators.items()}
    except DifeError:
        return  # check_assets and check_domains report it
    truncation, seed = float((model.get("pairs") or {}).get("truncation", 0.7)), int(model.get("seed", 0))
    size = int(model.get("size", 96))
    found = {d: teacher_variation(teacher, generator, d, size, truncation, seed) for d, generator in loaded.items()}
    told = ", ".join(f"{domain} {value:.2f}" for domain, value in found.items())
    line = near_constant(name, found)
    yield Finding("warning" if line else "ok", "teacher", line or f"{name}: variation over an image: {told}")


def check_encoder(configured: Configured) -> Iterator[Finding]:
    """The method can be built as configured, which checks that its encoder takes images of the size."""
    if configured.module is not None:
        yield Finding("ok", "encoder", f"{configured.method}, {configured.trainable:,} trainable parameters")


def check_score(configured: Configured) -> Iterator[Finding]:
    """The network whose features score a generator can be loaded."""
    from dife_lightning.pretrained.embedders import load_embedder

    name = configured.model.get("fid_embedder")
    if isinstance(name, str):
        try:
            load_embedder(name)
        except AssetError as error:
            hint = "or use fixed filters: --model.init_args.fid_embedder null"
            yield Finding("error", "score", f"{one_line(error)}, {hint}")
        else:
            yield Finding("ok", "score", f"val/fid compares features of {name}")


def check_data(configured: Configured) -> Iterator[Finding]:
    """The images or the photos of the pairs can be read; there are pairs for validation."""
    from dife_lightning.data.photos.folder_check import advice, check_folder

    data = configured.data
    if "folder" in data and data.get("species") is None:
        if data["folder"] is None:
            yield Finding("error", "data", "no folder of images; type --data.init_args.folder my/images")
            return
        report = check_folder(data["folder"], int(data.get("size", 64)))
        for level, text in advice(report, bool(data.get("skip_broken"))):
            yield Finding(level, "data", text)  # type: ignore[arg-type]
    if configured.data_class == "FewLabels":
        from dife_lightning.cli.doctor.single_faces import look_at_few_labels, look_at_shifts

        yield from look_at_few_labels(data)
        yield from look_at_shifts(configured.model.get("mining") or {})
    evaluation = data.get("evaluation")
    if isinstance(evaluation, Mapping) and str(evaluation.get("class_path")).endswith("FaceSets"):
        from dife_lightning.cli.doctor.single_faces import look_at_face_sets

        yield from look_at_face_sets(evaluation["init_args"])
    elif isinstance(evaluation, Mapping) and "domains" in (evaluation.get("init_args") or {}):
        from dife_lightning.cli.doctor.files import look_at_faces
        from dife_lightning.cli.doctor.layout import look_at_layout

        layout = list(look_at_layout(evaluation["init_args"]))
        yield from layout
        if all(finding.level != "error" for finding in layout):
            yield from look_at_faces(evaluation["init_args"])
    elif isinstance(evaluation, Mapping):
        pairs = evaluation.get("init_args", {}).get("pairs", [])
        count = evaluation.get("init_args", {}).get("val_count", "?")
        yield Finding("ok", "data", f"validation: {count} pairs of each of {', '.join(pairs)}")
    elif "evaluation" in data:
        yield Finding(
            "warning", "data", "no evaluation: there will be no best checkpoint; set data.init_args.evaluation"
        )


def check_photos(configured: Configured) -> Iterator[Finding]:
    """The unlabelled photos beside a stream can be read, and the method learns from them."""
    from dife_lightning.cli.doctor.files import look_at_photos
    from dife_lightning.data.photos.stream_photos import StreamPhotos, check_use

    given, domains = configured.data.get("photos"), configured.generators("model")
    if isinstance(given, Mapping):
        check_use(configured.module)
        yield from look_at_photos(StreamPhotos(**given), domains, int(configured.model.get("size", 96)))


def check_disk(configured: Configured) -> Iterator[Finding]:
    """There is enough space on the disk for the checkpoints and the cache."""
    from dife_lightning.utils.files import cache_folder

    # Four checkpoints: best, last, previous, and one being written; each holds the weights and Adam's two moments.
    needed = 4 * 3 * 4.0 * (configured.trainable or _PARAMETERS)
    for about, place, wanted in (("runs", Path(), needed), ("cache", cache_folder(), 300e6)):
        folder = next(p for p in (place.resolve(), *place.resolve().parents) if p.exists())
        free = shutil.disk_usage(folder).free
        text = f"{about}: {free / 1e9:.1f} GB free at {folder}, about {wanted / 1e9:.2f} GB needed"
        hint = "; free some space or choose another folder with --runs_root" if about == "runs" else "; set DIFE_CACHE"
        yield Finding("ok", "disk", text) if free > wanted else Finding("error", "disk", text + hint)


def check_device(configured: Configured) -> Iterator[Finding]:
    """The device exists and supports the precision."""
    import torch

    trainer = configured.trainer
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


CHECKS: tuple[Check, ...] = (
    check_assets,
    check_domains,
    check_teacher,
    check_encoder,
    check_score,
    check_data,
    check_photos,
    check_disk,
    check_device,
)
