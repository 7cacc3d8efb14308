"""Ship a trained run with the package: ``python -m experiments.build.ship RUN NAME --notice FILE ...``.

A generator is exported as safetensors, its averaged weights alone. Of another method the weights and settings of the
best checkpoint are kept, without the state of the training. The notice, a text in Markdown, is shipped beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dife_lightning.errors import ConfigError
from experiments.common.commands import guarded
from experiments.common.options import names

#: What loading a method needs of a checkpoint.
KEPT = ("state_dict", "hyper_parameters", "method", "trained_on", "training_faces", "pytorch-lightning_version")


def main(words: Sequence[str] | None = None) -> int:
    """Ship a run; returns the exit code."""
    options = parse(words)
    return guarded(lambda: ship(options), "run the same command again")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(prog="python -m experiments.build.ship", description=__doc__)
    add = parser.add_argument
    add("run", type=Path, help="folder of the run, or a checkpoint")
    add("name", help="name of the asset, such as photos/dog")
    add("--notice", type=Path, required=True, help="text in Markdown that is shipped beside the weights")
    add("--terms", required=True, help="terms of use in a few words")
    add("--data", type=names, required=True, help="data sets that it was trained on, separated by commas")
    add("--rename", action="append", default=[], metavar="OLD=NEW",
        help="a file that the settings name, and its name as an asset, such as own/photo-dog=photos/dog")  # fmt: skip
    add("--half", action="store_true", help="write float16 weights, in half the space")
    return parser.parse_args(words)


def ship(options: argparse.Namespace) -> None:
    """Write the weights of a run and register them.

    Raises:
        ConfigError: a ``--rename`` without ``=``.
        DifeError: there is no such run, or it cannot be loaded.
    """
    from dife_lightning.loading import CHECKPOINT_SUFFIX, load, method_file
    from dife_lightning.methods.stylegan2 import StyleGAN2
    from dife_lightning.pretrained.generators import load_generator
    from dife_lightning.weights.assets import register_asset
    from dife_lightning.weights.checkpoints import read_checkpoint

    path = method_file(options.run)
    module, content = load(path), read_checkpoint(path)
    suffix = ".safetensors" if isinstance(module, StyleGAN2) else CHECKPOINT_SUFFIX
    shipped = path.with_name(f"shipped-{options.name.replace('/', '-')}{suffix}")
    info: dict[str, Any] = {"terms": options.terms, "data": options.data, "step": int(content["global_step"])}
    info |= score_of(content) | seed_of(path)
    if isinstance(module, StyleGAN2):
        info["images"] = int(module.images_seen)
        module.export(str(shipped))
        load_generator(shipped)
    else:
        info["method"] = content["method"]
        write_method(content, shipped, dict(map(_pair, options.rename)), half=options.half)
        load(shipped)
    kind = "generator" if "images" in info else "method"
    register_asset(options.name, shipped, kind, notice=options.notice, **info)
    print(f"{options.name}: {shipped.stat().st_size / 1e6:.1f} MB of {path}")


def score_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the validation score that a checkpoint was chosen by, and its name; {} for one that was not validated."""
    for state in content.get("callbacks", {}).values():
        if isinstance(state, Mapping) and state.get("monitor") and state.get("current_score") is not None:
            return {"metric": state["monitor"], "score": round(float(state["current_score"]), 4)}
    return {}


def seed_of(checkpoint: Path) -> dict[str, Any]:
    """Return the seed of the run that a checkpoint belongs to; {} for a checkpoint alone."""
    from dife_lightning.running.configs import read_yaml
    from dife_lightning.utils.run_folder import RESOLVED

    resolved = checkpoint.parents[1] / RESOLVED
    seed = read_yaml(resolved).get("seed_everything") if resolved.is_file() else None
    return {} if seed is None else {"seed": seed}


def write_method(content: Mapping[str, Any], path: Path, renamed: Mapping[str, str], *, half: bool = False) -> None:
    """Write the weights and settings of a checkpoint alone, with files that the settings name ``renamed``.

    ``half`` writes float16 weights, which are read as float32.
    """
    import torch

    from dife_lightning.utils.files import atomic_write

    kept = {key: content[key] for key in KEPT if key in content}
    if half:
        state = kept["state_dict"].items()
        kept["state_dict"] = {name: value.half() if value.is_floating_point() else value for name, value in state}
    kept["hyper_parameters"] = _with_names(kept["hyper_parameters"], renamed)
    with atomic_write(path) as temporary:
        torch.save(kept, temporary)


def _pair(text: str) -> tuple[str, str]:
    old, found, new = text.partition("=")
    if not found or not old or not new:
        raise ConfigError(f"--rename {text}: expected OLD=NEW, such as own/photo-dog=photos/dog")
    return old, new


def _with_names(value: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_names(one, renamed) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_names(one, renamed) for one in value]
    return renamed.get(value, value) if isinstance(value, str) else value


if __name__ == "__main__":
    raise SystemExit(main())
