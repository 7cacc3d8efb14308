"""Writers of the public checkpoint layouts, for tests and rehearsals: another hand than the readers'."""

from __future__ import annotations

import argparse
import copy
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dife_lightning.nn.cats import CATsNetwork
from dife_lightning.nn.stylegan2 import StyleGAN2Generator


class _Persistent:
    """Stands for an object of NVlabs' persistence while it is pickled."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.meta = {"type": "class", "version": 6, "module_src": "", "class_name": class_name, "state": state}


def _named(module: str, name: str) -> Any:
    """Return a function that pickles as ``module.name``."""

    def function(*arguments: Any) -> Any:
        raise AssertionError("a pickled function was called")

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function


@contextmanager
def known_modules(**functions: Any) -> Iterator[None]:
    """Let functions be found under the modules that they claim to be of, while something is pickled."""
    made = []
    for function in functions.values():
        parts = function.__module__.split(".")
        for depth in range(1, len(parts) + 1):
            name = ".".join(parts[:depth])
            if name not in sys.modules:
                sys.modules[name] = types.ModuleType(name)
                made.append(name)
        setattr(sys.modules[function.__module__], function.__name__, function)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def write_nvlabs(path: Path, generator: nn.Module, *, protocol: int = 4, **attributes: Any) -> None:
    """Pickle ``generator`` as ``G_ema`` (and, zeroed, as ``G``) as stylegan2-ada-pytorch does.

    Args:
        path: the ``.pkl``.
        generator: whose names are NVlabs' already.
        protocol: of the pickle.
        **attributes: of every module's state, e.g. ``conv_clamp=256``.
    """
    rebuild = _named("torch_utils.persistence", "_reconstruct_persistent_obj")

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            return (rebuild, (value.meta,)) if isinstance(value, _Persistent) else NotImplemented

    other = copy.deepcopy(generator)
    other.load_state_dict({name: torch.zeros_like(value) for name, value in generator.state_dict().items()})
    content = {"training_set_kwargs": None, "G": _persistent(other, attributes), "D": None}
    content |= {"G_ema": _persistent(generator, attributes), "augment_pipe": None}
    with known_modules(rebuild=rebuild), path.open("wb") as file:
        Pickler(file, protocol=protocol).dump(content)


def _persistent(module: nn.Module, attributes: Mapping[str, Any]) -> _Persistent:
    state: dict[str, Any] = {"training": False, **attributes}
    state["_parameters"] = OrderedDict(
        (n, nn.Parameter(p.detach().clone())) for n, p in module.named_parameters(recurse=False)
    )
    state["_buffers"] = OrderedDict((n, b.detach().clone()) for n, b in module.named_buffers(recurse=False))
    state["_modules"] = OrderedDict((n, _persistent(m, attributes)) for n, m in module.named_children())
    return _Persistent(type(module).__name__, state)


def rosinality_state(generator: StyleGAN2Generator) -> dict[str, Tensor]:
    """Return the generator's tensors under rosinality's names and axes."""
    found: dict[str, Tensor] = {}
    tensors = {k: v.detach().clone() for k, v in generator.state_dict().items()}
    for i in range(generator.architecture.mapping_layers):
        for kind in ("weight", "bias"):
            found[f"style.{i + 1}.{kind}"] = tensors[f"mapping.fc{i}.{kind}"]
    found["input.input"] = tensors["synthesis.b4.const"][None]
    noise = 0
    for k, side in enumerate(generator.architecture.resolutions):
        layers = ("conv1",) if side == 4 else ("conv0", "conv1")
        for j, layer in enumerate(layers):
            own, theirs = f"synthesis.b{side}.{layer}", "conv1" if side == 4 else f"convs.{2 * (k - 1) + j}"
            found[f"{theirs}.conv.weight"] = tensors[f"{own}.weight"][None]
            found[f"{theirs}.noise.weight"] = tensors[f"{own}.noise_strength"].reshape(1)
            found[f"{theirs}.activate.bias"] = tensors[f"{own}.bias"]
            for kind in ("weight", "bias"):
                found[f"{theirs}.conv.modulation.{kind}"] = tensors[f"{own}.affine.{kind}"]
            if layer == "conv0":
                found[f"{theirs}.conv.blur.kernel"] = tensors[f"{own}.resample_filter"] * 4
            found[f"noises.noise_{noise}"] = tensors[f"{own}.noise_const"][None, None]
            noise += 1
        own, theirs = f"synthesis.b{side}.torgb", "to_rgb1" if side == 4 else f"to_rgbs.{k - 1}"
        found[f"{theirs}.conv.weight"] = tensors[f"{own}.weight"][None]
        found[f"{theirs}.bias"] = tensors[f"{own}.bias"].reshape(1, 3, 1, 1)
        for kind in ("weight", "bias"):
            found[f"{theirs}.conv.modulation.{kind}"] = tensors[f"{own}.affine.{kind}"]
        if side > 4:
            found[f"{theirs}.upsample.kernel"] = tensors[f"synthesis.b{side}.resample_filter"] * 4
    return found


def write_rosinality(path: Path, generator: StyleGAN2Generator, *, mean: bool = True, zipped: bool = True) -> None:
    """Save ``generator`` as convert_weight.py of rosinality's repository does (without ``mean``: a training's)."""
    content: dict[str, Any] = {"g_ema": OrderedDict(rosinality_state(generator))}
    if mean:
        content["latent_avg"] = generator.mapping.w_avg.detach().clone()
    else:
        content |= {"g": content["g_ema"], "d": {}, "g_optim": {"state": {}, "param_groups": []}, "ada_aug_p": 0.1}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def write_detectron2(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Pickle ``{"model": {name: numpy array}}`` as detectron2's model zoo does (``.pkl``), or save it (``.pth``)."""
    if path.suffix == ".pth":
        torch.save({"model": dict(tensors), "iteration": 7}, path)
        return
    arrays = {name: value.numpy() for name, value in tensors.items()}
    with path.open("wb") as file:
        pickle.dump({"model": arrays, "__author__": "somebody", "matching_heuristics": True}, file, protocol=2)


def write_cats(folder: Path, network: CATsNetwork, *, protocol: int = 4, prefix: str = "", **settings: Any) -> None:
    """Write ``args.pkl`` and ``model_best.pth`` as CATs' training does.

    Args:
        folder: of both; it is made.
        network: whose names are the public ones already.
        protocol: of the pickled namespace.
        prefix: before every tensor's name, e.g. ``module.``.
        **settings: further ones, or others than the network's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = network.architecture
    hyperpixel = "[" + ",".join(map(str, sizes.hyperpixels)) + "]"
    known = {"feature_size": sizes.side, "depth": sizes.depth, "num_heads": sizes.heads, "hyperpixel": hyperpixel}
    other = {"name_exp": "spair", "lr": 3e-5, "step": "[70, 80, 90]", "freeze": False, "pretrained": None}
    with (folder / "args.pkl").open("wb") as file:
        pickle.dump(argparse.Namespace(**{**other, **known, **settings}), file, protocol=protocol)
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW([{"params": parameters[:2]}, {"params": parameters[2:], "lr": 3e-6}], lr=3e-5)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(adam, [70, 80, 90], gamma=0.5)
    content = {
        "epoch": 3,
        "state_dict": OrderedDict((prefix + name, value) for name, value in network.state_dict().items()),
        "optimizer": adam.state_dict(),
        "scheduler": scheduler.state_dict(),
        "best_loss": 0.5,
    }
    torch.save(content, folder / "model_best.pth")
