"""A demo small enough for a test: random frozen parts and a configuration that uses them."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.tiny import dife_arguments


def write_config(folder: Path) -> Path:
    """Write a configuration like configs/world/human_dog.yaml with tiny frozen parts; return its file."""
    model = dife_arguments(folder)
    pairs = {"pairs": ["human+dog"], "lists": ["long"], "val_count": 4, "size": 32, "batch_size": 8}
    stream = {
        "generators": model["generators"],
        "layer": 3,
        "size": 32,
        "batch_size": 4,
        "evaluation": {"class_path": "WorldPairs", "init_args": pairs},
    }
    callbacks = [
        {"class_path": "KeypointTransfer", "init_args": {"val_pictures": 0, "pictures": 0, "resamples": 200}},
        {"class_path": "StageTimer"},
        {"class_path": "StageCheckpoint"},
    ]
    trainer = {
        "max_steps": 4,
        "max_epochs": -1,
        "val_check_interval": 2,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "precision": "32-true",
        "enable_progress_bar": False,
        "callbacks": callbacks,
    }
    settings = {
        "model": {"class_path": "DIFE", "init_args": model},
        "data": {"class_path": "StyleGAN2Stream", "init_args": stream},
        "trainer": trainer,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
