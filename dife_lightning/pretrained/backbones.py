"""Frozen backbones by name: DINOv2, DINOv3 and any other vision network of ``transformers``; mobile networks.

``backbone:facebook/dinov2-small?layer=9&side=448`` is an embedder like any other. The name is a folder, an entry
``own/<name>`` of ``paths.yaml``, or a name on the Hugging Face hub, optionally with ``@<revision>``. Hub models are
looked up in the user's cache (``HF_HOME``) first and downloaded otherwise. Only safetensors weights are read, code that
comes with a model is never executed, and a file without all weights of the network is refused.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import torch

from dife_lightning.errors import AssetError, CheckpointError, ConfigError, DifeError, did_you_mean, reason_of
from dife_lightning.nn.backbone import Backbone, BackboneOptions, PixelOptions
from dife_lightning.pretrained.imagenet import PREFIX as IMAGENET
from dife_lightning.pretrained.imagenet import load_imagenet
from dife_lightning.weights.user_paths import PREFIX as OWN
from dife_lightning.weights.user_paths import user_path

PREFIX = "backbone:"
_CONFIG, _PIXELS = "config.json", "preprocessor_config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PATTERNS = [_CONFIG, _PIXELS, _WEIGHTS, _INDEX, "model-*-of-*.safetensors"]
_PLAIN_KERNELS = ("eager", "sdpa")
_SWITCHES = {"true": True, "false": False}


def backbone_name(model: str, options: BackboneOptions) -> str:
    """Return the embedder name for ``model`` with these options."""
    given = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    query = "&".join(f"{key}={str(value).lower()}" for key, value in given.items())
    return f"{PREFIX}{model}" + (f"?{query}" if query else "")


def parse_backbone(name: str) -> tuple[str, BackboneOptions]:
    """Split an embedder name into model and options, as :func:`backbone_name` joins them; ConfigError if it cannot."""
    model, _, query = name.removeprefix(PREFIX).partition("?")
    if not model:
        raise ConfigError(f"'{name}' names no model: type for example {PREFIX}facebook/dinov2-small")
    given: dict[str, Any] = {}
    known = {f.name: f.default for f in fields(BackboneOptions)}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ConfigError(f"'{name}': no option '{key}'. {did_you_mean(key, known)}")
        switch = isinstance(known[key], bool)
        try:
            given[key] = _SWITCHES[text.lower()] if switch else int(text)
        except (KeyError, ValueError):
            expected = "true or false" if switch else "a whole number"
            raise ConfigError(f"'{name}': {key} is '{text}', expected {expected}") from None
    return model, BackboneOptions(**given)


def load_backbone(name: str) -> Backbone:
    """Load the network of an embedder name on the CPU.

    Raises:
        AssetError: ``transformers`` is not installed, or the model is not found.
        CheckpointError: the safetensors weights are missing, damaged or incomplete.
        ConfigError: an option makes no sense, or the network has no feature map.
    """
    model, options = parse_backbone(name)
    if model.startswith(IMAGENET):
        mobile, pixels = load_imagenet(model)
        return Backbone(mobile, options, pixels)
    transformers = _transformers()
    folder = find_model(model)
    network = _network(transformers, folder)
    try:
        with _quiet(transformers):
            return Backbone(network, options, _pixel_options(folder))
    except DifeError as error:
        raise type(error)(f"{model}: {error}") from None


def find_model(model: str) -> Path:
    """Return the folder of ``model``: a local one, or that in the user's cache, downloaded if necessary.

    Raises:
        AssetError: there is no such folder, and neither the cache nor the hub knows the name.
        CheckpointError: the folder has no safetensors weights.
    """
    folder = _local(model)
    if folder.is_dir():
        _check_folder(folder)
        return folder
    if model.startswith((OWN, ".", "/", "~")):
        raise AssetError(f"no backbone '{model}': there is no such folder; give one that save_pretrained wrote")
    name, _, revision = model.partition("@")
    return _cached(name, revision or None) or _downloaded(model, name, revision or None)


def state_of(name: str) -> str:
    """Return sizes and times of the weights in a local folder, so that caches see when they change."""
    folder = _local(parse_backbone(name)[0])
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return " ".join(f"{file.stat().st_mtime_ns} {file.stat().st_size}" for file in files)


def _local(model: str) -> Path:
    return user_path(model)


def _transformers() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        reason = reason_of(error)
        raise AssetError(
            f"a backbone needs the package transformers ({reason}); type: pip install 'dife-lightning[backbones]'"
        ) from None
    return transformers


def _has_weights(folder: Path) -> bool:
    if (folder / _WEIGHTS).is_file():
        return True
    if not (folder / _INDEX).is_file():
        return False
    return all((folder / str(shard)).is_file() for shard in set(_json(folder / _INDEX).get("weight_map", {}).values()))


def _check_folder(folder: Path) -> None:
    if not (folder / _CONFIG).is_file():
        raise AssetError(f"{folder} has no {_CONFIG}: give a folder that save_pretrained of transformers wrote")
    if not _has_weights(folder):
        others = sorted(file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".h5"))
        hint = f"{others[0]} is not read, it could run code; save it again with save_pretrained" if others else ""
        raise CheckpointError(
            f"{folder} has no {_WEIGHTS}, or not all of its parts; {hint or 'copy the whole folder again'}"
        )


def _cached(name: str, revision: str | None) -> Path | None:
    """Return the folder of ``name`` in the user's cache if configuration and all weights are there, else None."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, _CONFIG, revision=revision)
    except ValueError:  # not a valid name on the hub
        return None
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and _has_weights(folder) else None


def _downloaded(model: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub's client and the network raise many types
        raise AssetError(_not_found(model, name, error, Path(constants.HF_HUB_CACHE))) from None
    _check_folder(folder)
    return folder


def _not_found(model: str, name: str, error: Exception, cache: Path) -> str:
    looked = f"no backbone '{model}': no folder of that name, nothing in the cache {cache}"
    kind, page = type(error).__name__, f"https://huggingface.co/{name}"
    cause = type(error.__cause__ or error).__name__
    if kind == "GatedRepoError":
        return f"{looked}, and the model is gated: accept its terms at {page}, then type `hf auth login`"
    if kind == "HFValidationError":
        return f"{looked}, and it is no valid name on the hub; expected a name such as facebook/dinov2-small"
    if kind in ("RepositoryNotFoundError", "RevisionNotFoundError"):
        return f"{looked}, and the hub does not know it; check the name at https://huggingface.co/models"
    return (
        f"{looked}, and the hub is not reachable ({cause}); type `hf download {name}` on a machine with a network, "
        "or set HF_HOME to a cache that has it, or give a folder"
    )


def _network(transformers: ModuleType, folder: Path) -> Any:
    """Load the bare network of a folder, without the hub and without executing code from the folder."""
    _check_kernels(_json(folder / _CONFIG), folder)
    try:
        with _quiet(transformers):
            network, report = transformers.AutoModel.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True, dtype=torch.float32,
            )  # fmt: skip
    except Exception as error:  # on damaged files transformers raises almost any type
        if "trust_remote_code" in str(error):
            text = "needs code of its own, which is never run here; use a model that is built into transformers"
            raise CheckpointError(f"{folder} {text}") from None
        raise CheckpointError(f"transformers cannot load {folder} ({reason_of(error)}); copy it again") from None
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))  # no part of a map
    if missing:
        raise CheckpointError(
            f"{folder} has no weights for {len(missing)} tensors of {type(network).__name__}, '{missing[0]}' first: "
            "a part of it would be random; use the folder of the base model"
        )
    return network


def _check_kernels(config: Any, folder: Path, inside: bool = False) -> None:
    """Refuse a configuration that computes attention with a kernel from the hub, which is code."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            _check_kernels(value, folder, inside or str(key).endswith("_implementation"))
    elif inside and isinstance(config, str) and config not in _PLAIN_KERNELS:
        raise CheckpointError(
            f"{folder}/{_CONFIG} asks for '{config}', code that is never downloaded; remove the line ..._implementation"
        )


def _pixel_options(folder: Path) -> PixelOptions:
    """Read the preprocessing of the network; ImageNet's mean and deviation if it is not stated."""
    side = _side(_json(folder / _CONFIG).get("image_size"))
    if not (folder / _PIXELS).is_file():
        warnings.warn(
            f"{folder} has no {_PIXELS}: images are normalised with ImageNet's mean and deviation", stacklevel=2
        )
        return PixelOptions(side=side)
    found = _json(folder / _PIXELS)
    scale = 255 * float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 255.0
    normal = found.get("do_normalize", True) and "image_mean" in found and "image_std" in found
    return PixelOptions(
        mean=tuple(found["image_mean"]) if normal else (0.0, 0.0, 0.0),
        std=tuple(found["image_std"]) if normal else (1.0, 1.0, 1.0),
        scale=scale,
        reverse=bool(found.get("do_flip_channel_order", False)),
        side=(_side(found.get("crop_size")) if found.get("do_center_crop", True) else None)
        or _side(found.get("size"))
        or side,
    )


def _side(size: Any) -> int | None:
    """Return the shorter side of a configuration's ``size`` (a number, a list or a dictionary)."""
    if isinstance(size, Mapping):
        size = [size[key] for key in ("shortest_edge", "height", "width") if isinstance(size.get(key), int)]
    sides = [size] if isinstance(size, int) else [side for side in size or () if isinstance(side, int)]
    return min(sides, default=None)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no JSON file ({reason_of(error)}); copy it again") from None
    return found if isinstance(found, dict) else {}


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Silence the load report and progress bar; we raise errors for what matters."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
