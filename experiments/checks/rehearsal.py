"""Check the whole path from public weights and data sets to the tables, with small stand-ins for all of them.

Writes small generators in the files of NVlabs and rosinality, a small DensePose CSE in that of detectron2, a small CATs
in those of its authors, and faces of the embedded world in the trees of CelebA / MAFL, AP-10K, WFLW and AnimalWeb, all
named in a ``paths.yaml``. Then runs all commands that a user runs with the real ones:
``dife doctor``, ``dife fit`` with the paper's configurations (reduced in length and width by one more file), ``dife
test``, ``dife data preview`` and both benchmark tables. The numbers mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from dife_lightning.nn.cats import CATsArchitecture, CATsNetwork
from dife_lightning.nn.stylegan2 import Architecture, StyleGAN2Generator
from dife_lightning.running.configs import load_config
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.world import WorldFaces
from experiments.common import commands
from experiments.common.commands import guarded
from experiments.common.jobs import fit_words, place_words
from experiments.common.plan import PLANS, plan_content
from experiments.tables import __main__ as tables
from tests.datasets.layouts import Face, write_animalweb, write_ap10k, write_celeba, write_wflw
from tests.nn.public_cse import filled, tiny_shapes
from tests.pretrained.formats.writers import write_cats, write_detectron2, write_nvlabs, write_rosinality
from tests.tiny import TINY_CATS

#: Channels of the tapped layer (64 px) and of the embedding.
FEATURES, DIM = 16, 6
BENCHMARKS = ("mafl_ap10k", "wflw_animalweb")
SPECIES = ("dog", "cat", "wild")
Points = NDArray[np.float32]


def main(words: Sequence[str] | None = None) -> int:
    """Write the stand-ins and run all commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m experiments.checks.rehearsal", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/rehearsal"), help="folder of all files (%(default)s)")
    parser.add_argument("--faces", type=int, default=12, help="faces of each species and split (%(default)s)")
    options = parser.parse_args(words)
    return guarded(lambda: rehearse(options.out, options.faces), "run the same command to start again")


def rehearse(out: Path, faces: int) -> None:
    """Run everything once in the folder ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ["DIFE_PATHS"] = str((out / "paths.yaml").resolve())
    (out / "paths.yaml").write_text(yaml.safe_dump(write_weights(out / "weights") | write_faces(out / "faces", faces)))
    small = {name: out / f"small_{name}.yaml" for name in SMALL}
    for name, path in small.items():
        path.write_text(yaml.safe_dump(reduced(name, count=max(1, faces // 3))))
    for benchmark in BENCHMARKS:
        configs = ["paper/human_dog", f"paper/{benchmark}", str(small["dife"])]
        commands.call(["doctor", *configs, "trainer/cpu", "--no-steps"])
        run = RunFolder(out / "runs", f"human_dog-{benchmark}")
        commands.call([*fit_words(configs, 0, trainer="trainer/cpu"), *place_words(run)])
        commands.call(["test", "--ckpt_path", str(run.path), "--trainer.precision=32-true"])
        _table(benchmark, small, out, count=max(1, faces // 3))
    count = str(max(1, faces // 3))
    commands.call(["test", "--config", "paper/cats", "--data.init_args.count", count, "--out", str(out / "cats")])
    preview = ["data", "preview", "ap10k", "own/ap10k", "--species", "dog", "--count", "6"]
    commands.call([*preview, "--out", str(out / "dogs.png")])


def _table(benchmark: str, small: dict[str, Path], out: Path, count: int) -> None:
    """Build the benchmark's table from its plan, with short trainings and without backbones from the hub."""
    plan = plan_content(PLANS / f"table1_{benchmark}.yaml")
    plan["rows"] = {name: row for name, row in plan["rows"].items() if row.get("test") != "FrozenBackbone"}
    for name, row in plan["rows"].items():
        if "fit" in row:
            row["fit"].append(str(small[name]))
    plan["columns"] = {name: plan["columns"][name] for name in ("human+dog", "human+wild")}
    for column in plan["columns"].values():
        column["model"] = "human_dog"
    path = out / f"plan_{benchmark}.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    words = ["--plan", str(path), "--runs_root", str(out / "runs" / benchmark), "--out", str(out / benchmark)]
    code = tables.main([*words, "--trainer", "trainer/cpu", "--count", str(count)])
    if code:
        raise SystemExit(code)


# Stand-ins for the user's files


def write_weights(folder: Path) -> dict[str, str]:
    """Write generators, a teacher and a CATs in public layouts; returns own name -> file or folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    architecture = Architecture((8, 8, 8, 8, FEATURES, 8), z_dim=16, w_dim=16, mapping_layers=2)
    files = {"ffhq": "ffhq.pkl", "afhq_dog": "afhq_dog.pt", "afhq_cat": "afhq_cat.pkl"}
    for file in files.values():
        write = write_nvlabs if file.endswith(".pkl") else write_rosinality
        write(folder / file, StyleGAN2Generator(architecture))
    write_detectron2(folder / "cse.pkl", filled(tiny_shapes()))
    write_cats(folder / "cats-spair", CATsNetwork(CATsArchitecture(**TINY_CATS)))
    others = {"cse": "cse.pkl", "cats-spair": "cats-spair"}
    return {name: str((folder / file).resolve()) for name, file in (files | others).items()}


def write_faces(folder: Path, count: int) -> dict[str, str]:
    """Write faces of the world in public layouts; returns own name -> root."""
    people = [(split, face) for split in ("train", "val", "test") for face in _faces("human", split, count)]
    write_celeba(folder / "celeba", [_in_celeba(face, split) for split, face in people])
    write_wflw(folder / "wflw", [_in_wflw(face, split) for split, face in people])
    animals = [
        (species, split, face)
        for species in SPECIES
        for split in ("val", "test")
        for face in _faces(species, split, count)
    ]
    groups = {species: itertools.cycle(_groups("mafl_ap10k", species)) for species in SPECIES}
    write_ap10k(folder / "ap10k", [_in_ap10k(face, next(groups[species]), split) for species, split, face in animals])
    groups = {species: itertools.cycle(_groups("wflw_animalweb", species)) for species in SPECIES}
    whole = [Face(image, points, group=next(groups[species])) for species, _, (image, points) in animals]
    write_animalweb(folder / "animalweb", whole)
    return {name: str((folder / name).resolve()) for name in ("celeba", "wflw", "ap10k", "animalweb")}


def _groups(benchmark: str, domain: str) -> list[str]:
    """Return the species of a data set that belong to a domain in a benchmark's configuration."""
    content = load_config(f"paper/{benchmark}")
    domains = content["data"]["init_args"]["evaluation"]["init_args"]["domains"]
    found = domains[domain]["options"]["species"]
    return [found] if isinstance(found, str) else list(found)


def _faces(species: str, split: str, count: int) -> list[tuple[NDArray[np.uint8], Points]]:
    """Return the first ``count`` faces whose landmarks are all visible."""
    world = WorldFaces(species, split, 8 * count, size=96)  # type: ignore[arg-type]
    found = []
    for index in range(len(world)):
        face = world[index]
        if face["visible"].all():
            found.append((face["image"], face["points"]))
        if len(found) == count:
            break
    return found


def _five(points: Points) -> Points:
    """Eyes, nose and mouth corners from the world's nine landmarks, the viewer's left first."""
    return np.stack([points[0:2].mean(0), points[2:4].mean(0), points[4], points[5], points[6]])


def _in_celeba(face: tuple[NDArray[np.uint8], Points], split: str) -> Face:
    """Return a face at its position in an aligned CelebA picture (178 x 218)."""
    from dife_lightning.faces.transforms import resize

    image, points = resize(*face, 178)
    canvas = np.full((218, 178, 3), 128, dtype=np.uint8)
    canvas[30:208] = image
    group = "mafl-test" if split == "test" else "mafl-train"
    return Face(canvas, _five(points) + np.array([0, 30], np.float32), group=group, split=split)


def _in_ap10k(face: tuple[NDArray[np.uint8], Points], species: str, split: str) -> Face:
    image, nine = face
    left, right, nose, _, _ = _five(nine)
    points, visible = np.zeros((17, 2), np.float32), np.zeros(17, bool)
    points[:3], visible[:3] = (right, left, nose), True  # the animal's own left eye is at the viewer's right
    return Face(image, points, group=species, visible=visible, box=(0, 0, image.shape[1], image.shape[0]), split=split)


def _in_wflw(face: tuple[NDArray[np.uint8], Points], split: str) -> Face:
    image, nine = face
    points = np.repeat(nine[4:5], 98, axis=0)
    places = {60: 0, 64: 1, 68: 2, 72: 3, 54: 4, 76: 5, 82: 6, 90: 7, 94: 8}
    for place, own in places.items():
        points[place] = nine[own]
    points[96], points[97] = _five(nine)[:2]
    return Face(image, points, box=(0, 0, image.shape[1], image.shape[0]), split="train" if split == "val" else split)


_ENCODER = {"planes": [16, 16, 16], "blocks": 1, "depth": 4, "groups": 16}
#: Row of a table -> class of its method, and what makes its networks and schedule small.
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "dife": (
        "DIFE",
        {
            "domains": dict.fromkeys(("human", "dog"), FEATURES),
            "dim": DIM,
            "warmup_steps": 1,
            "encoder": _ENCODER,
            "converter": {"hidden": 16, "groups": 16, "kernel": 3},
            "distillation": {"statistics_samples": 2},
            "exploration": {"steps": 2},
            "optimizer": {"schedule": "constant"},
        },
    ),
    "dve": ("DVE", {"dim": DIM, "encoder": _ENCODER, "optimizer": {"schedule": "constant"}}),
}


def reduced(name: str, count: int) -> dict[str, Any]:
    """Return settings that make the paper's configurations of a row short and narrow."""
    class_path, model = SMALL[name]
    evaluation = {"class_path": "FacePairs", "init_args": {"count": count, "val_count": 2}}
    return {
        "model": {"class_path": class_path, "init_args": model},
        "data": {"class_path": "StyleGAN2Stream", "init_args": {"batch_size": 4, "evaluation": evaluation}},
        "trainer": {"max_steps": 2, "val_check_interval": 1, "enable_progress_bar": False},
    }


if __name__ == "__main__":
    raise SystemExit(main())
