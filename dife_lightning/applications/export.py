"""Trained networks for programs without this package: ONNX, or an exported program of torch (``.pt2``)."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dife_lightning.applications.face_embedder import SIZE
from dife_lightning.errors import CheckpointError, ConfigError, reason_of
from dife_lightning.loading import load, method_file
from dife_lightning.pretrained.encoders import load_encoder
from dife_lightning.utils.checks import require, require_choice
from dife_lightning.utils.files import atomic_buffer, atomic_write
from dife_lightning.weights.checkpoints import read_checkpoint

Form = Literal["onnx", "pt2"]
#: What `pip install` needs for ONNX.
PACKAGES = ("onnx", "onnxscript")


class _Embeds(nn.Module):
    """Images -> embedding."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.method.embed(images)
        return embedding


def exportable(name: str | Path) -> tuple[nn.Module, str, dict[str, Any]]:
    """Return the network of a trained method, what it returns, and facts that its user needs.

    Args:
        name: a run, a checkpoint or a shipped name, of a method with an embedding or of a landmark model.

    Returns:
        The network, ``embedding`` or ``heat_maps``, and its facts as plain values: ``size``, the side of its images,
        and ``landmarks`` of a landmark model.

    Raises:
        CheckpointError: a method without either.
    """
    path = method_file(name)
    method_name = read_checkpoint(path).get("method")
    if method_name == "dife":
        lone: Any = load_encoder(path).module
        return lone, "embedding", {"size": lone.size, "channels": lone.dim}
    method: Any = load(path)
    if hasattr(method, "evaluated") and hasattr(method, "scheme"):
        from dife_lightning.faces.schemes import get_scheme

        scheme = get_scheme(method.scheme)
        facts = {"size": getattr(method, "size", None), "landmarks": list(scheme.landmarks)}
        return method.evaluated, "heat_maps", facts
    if not hasattr(method, "embed"):
        raise CheckpointError(f"{name}: {type(method).__name__} has neither an embedding nor heat maps to export")
    return _Embeds(method), "embedding", {"size": getattr(method, "size", None)}


def export(name: str | Path, path: str | Path, form: Form = "onnx", size: int | None = None) -> dict[str, Any]:
    """Write the network of a trained method, and return what its user must know.

    The input ``images`` is (B, 3, H, W) float32, RGB in [-1, 1]. Batch, height and width are free where the network
    allows it; else the size is fixed, or even the batch.

    Args:
        name: see :func:`exportable`.
        path: of the file; its facts are part of it (``metadata`` of ONNX, an extra file of pt2).
        form: ``onnx`` or ``pt2``.
        size: side of the images that the network is traced with; that of its training by default, 96 if it states none.

    Raises:
        ConfigError: another form, or a package is missing.
        CheckpointError: a method without a network to export.
    """
    require_choice("form", form, ("onnx", "pt2"))
    require(at_least=16, size=size)
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if form == "onnx" and missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; type: pip install 'dife-lightning[onnx]'")
    network, output, facts = exportable(name)
    side = size or int(facts["size"] or SIZE)
    program, free = _program(network.eval(), side)
    facts["size"] = facts["size"] or side
    said = {**facts, "model": str(name), "output": output, "input": "RGB in [-1, 1], (B, 3, H, W)", "free": free}
    if form == "pt2":
        with atomic_buffer(path) as buffer, _quiet():
            torch.export.save(program, buffer, extra_files={"facts.json": json.dumps(said)})
    else:
        with atomic_write(path) as temporary, _quiet():
            _write_onnx(program, output, said, temporary)
    return said


def _program(network: nn.Module, side: int) -> tuple[Any, list[str]]:
    """Return the exported program, with as many free sizes as the network allows, and their names."""
    auto = torch.export.Dim.AUTO
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = images[:1].expand(3, -1, -1, -1)
    larger = torch.nn.functional.interpolate(other, (2 * side, 2 * side))
    attempts: list[tuple[dict[int, Any], list[str], Tensor]] = [
        ({0: auto, 2: auto, 3: auto}, ["batch", "height", "width"], larger),
        ({0: auto}, ["batch"], other),
        ({}, [], images),
    ]
    reason: object = "its numbers change"
    for shapes, free, check in attempts:
        try:
            with torch.no_grad(), _quiet():
                program = torch.export.export(network, (images,), dynamic_shapes=(shapes,) if shapes else None)
                if torch.allclose(program.module()(check), network(check), atol=1e-4):
                    return program, free
        except Exception as error:  # torch raises almost anything for a size that it cannot leave open
            reason = reason_of(error)
    raise CheckpointError(f"{type(network).__name__} cannot be exported by this version of torch ({reason}).")


def _write_onnx(program: Any, output: str, said: dict[str, Any], path: Path) -> None:
    names: dict[str, Any] = {"input_names": ["images"], "output_names": [output]}
    written = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    assert written is not None
    written.model.metadata_props["facts"] = json.dumps(said)
    written.save(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what torch says of its own parts."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
