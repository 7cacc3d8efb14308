"""`make world` with generators of 16 px: what is trained, resumed, refused and shipped."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dife_lightning.cli.main import main as dife
from dife_lightning.errors import ConfigError, TrainingError
from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.utils.run_folder import RunFolder
from dife_lightning.weights import assets
from experiments.build import parts as parts_module
from experiments.build import world
from experiments.build.parts import PARTS, Part, check_quality, job_of, select
from experiments.common import commands
from tests.docs_text import CLONE

TINY_GENERATOR = (
    "--model.init_args.channels=[8,8,8]",
    "--model.init_args.z_dim=8",
    "--model.init_args.w_dim=8",
    "--model.init_args.mapping_layers=2",
    "--model.init_args.max_images=8",
    "--data.init_args.size=16",
    "--data.init_args.batch_size=4",
    "--data.init_args.count=8",
    "--data.init_args.held_out=4",
    "--trainer.val_check_interval=1",
)
TINY_TEACHER = (
    "--model.init_args.width=8",
    "--data.init_args.species={human: 2}",
    "--data.init_args.batch_size=2",
    "--data.init_args.evaluation.init_args.pairs=[human+dog]",
    "--data.init_args.evaluation.init_args.val_count=2",
    "--trainer.max_steps=2",
    "--trainer.val_check_interval=2",
)
TRAINER = "trainer: {accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, limit_val_batches: 1}"


ROOT = Path("runs/world")


def last(name: str) -> Path:
    return RunFolder(ROOT, name).last_checkpoint


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "assets")
    monkeypatch.setattr(world.os, "cpu_count", lambda: 1)
    (tmp_path / "assets").mkdir()
    (tmp_path / "quick.yaml").write_text(TRAINER)
    tiny = [replace(p, overrides=TINY_GENERATOR if p.kind == "generator" else TINY_TEACHER) for p in PARTS]
    monkeypatch.setattr(world, "PARTS", tuple(tiny))
    monkeypatch.setattr(parts_module, "PARTS", tuple(tiny))
    return tmp_path


def options(*words: str) -> argparse.Namespace:
    return world.parse(["--trainer", "quick.yaml", *words])


def build(names: str, *words: str) -> list[list[str]]:
    """Build parts with the commands run in this process; returns the commands."""
    seen: list[list[str]] = []

    def call(command: Sequence[str]) -> float:
        seen.append(list(command))
        assert dife(command) == 0
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "call", call)
        world.build(select(names.split(",")), options(*words))
    return seen


def runs(found: list[list[str]]) -> list[str]:
    return [words[words.index("--run") + 1] for words in found]


def test_the_plan_takes_as_long_as_make_help_says_and_parents_come_first():
    (line,) = (line for line in (CLONE / "Makefile").read_text().splitlines() if line.startswith("world:"))
    assert "2 to 3 hours on a CPU with AMX" in line
    assert 2 * 60 <= sum(part.minutes for part in PARTS) <= 3 * 60
    names = [part.name for part in PARTS]
    assert all(part.parent is None or names.index(part.parent) < names.index(part.name) for part in PARTS)
    assert {part.asset for part in PARTS} == {"world/human", "world/dog", "world/cat", "world/teacher"}


@pytest.mark.slow
def test_parts_are_trained_scored_drawn_and_shipped_with_their_recipe(workplace):
    assert runs(build("human,dog,teacher")) == ["human", "dog", "teacher"]
    entries = assets.list_assets()
    assert set(entries) == {"world/human", "world/dog", "world/teacher"}
    assert entries["world/human"]["images"] == 8
    assert entries["world/teacher"]["steps"] == 2
    assert {entry["seed"] for entry in entries.values()} == {0}
    assert entries["world/dog"]["config"] == "stylegan2/world_dog"
    assert all(entry["score"] > 0 and entry["world_version"] >= 1 for entry in entries.values())
    assert load_generator("world/dog").resolution == 16
    assert load_embedder("world/teacher").embed(torch.zeros(1, 3, 64, 64)).shape[1] == 16
    assert (workplace / "results/world/human.png").is_file()
    start = yaml.safe_load((workplace / "runs/world/dog/resolved.yaml").read_text())["model"]["init_args"]["init_from"]
    assert Path(start) == last("human")

    before = {path: path.stat().st_mtime_ns for path in workplace.joinpath("assets").iterdir()}
    assert build("human,dog,teacher") == []
    assert {path: path.stat().st_mtime_ns for path in workplace.joinpath("assets").iterdir()} == before

    assert runs(build("human,dog", "--force")) == ["human", "dog"]


def test_what_was_interrupted_goes_on_and_what_has_other_settings_begins_anew(workplace, monkeypatch):
    longer = replace(PARTS[0], overrides=(*TINY_GENERATOR, "--model.init_args.max_images=16"))
    monkeypatch.setattr(parts_module, "PARTS", (longer,))
    words = job_of(longer, ROOT, "quick.yaml")[0].words
    dife([*words, "--runs_root", "runs/world", "--run", "human", "--trainer.limit_train_batches=2",
          "--trainer.max_epochs=1"])  # fmt: skip
    resolved = workplace / "runs/world/human/resolved.yaml"
    settings = yaml.safe_load(resolved.read_text())
    settings["trainer"] |= {"max_epochs": -1, "limit_train_batches": None}
    resolved.write_text(yaml.safe_dump(settings))
    assert job_of(longer, ROOT, "quick.yaml")[0].state() == ("interrupted", "")
    (command,) = build("human")
    assert "--ckpt_path" in command
    state = torch.load(last("human"), weights_only=True)["state_dict"]
    assert int(state["images_seen"]) == 16

    other = replace(longer, overrides=(*longer.overrides, "--model.init_args.r1_gamma=2"))
    monkeypatch.setattr(parts_module, "PARTS", (other,))
    (command,) = build("human")
    assert "--overwrite" in command


def test_a_child_of_a_retrained_parent_is_out_of_date(workplace):
    job, settings = job_of(parts_module.PARTS[1], ROOT, "quick.yaml")
    for name in ("human", "dog"):
        last(name).parent.mkdir(parents=True)
    job.run.resolved.write_text(yaml.safe_dump(settings))
    torch.save({"state_dict": {"images_seen": torch.tensor(8)}, "global_step": 2}, last("dog"))
    assert job.state()[0] == "finished"
    last("human").touch()
    later = job.run.resolved.stat().st_mtime + 10
    os.utime(last("human"), (later, later))
    assert job.state()[0] == "changed"


@pytest.mark.parametrize(("found", "accept", "taken"), [(1.25, False, True), (1.3, False, False), (1.3, True, True)])
def test_a_score_a_quarter_worse_is_refused_unless_accepted(workplace, found, accept, taken):
    (workplace / "file.safetensors").write_bytes(b"x")
    assets.register_asset("world/human", workplace / "file.safetensors", "generator", score=1.0)
    if taken:
        check_quality(PARTS[0], found, accept)
    else:
        with pytest.raises(TrainingError, match=r"1\.30.*has 1\.00.*--accept"):
            check_quality(PARTS[0], found, accept)


def test_a_score_that_is_no_number_is_never_accepted(workplace):
    with pytest.raises(TrainingError, match="nan"):
        check_quality(PARTS[0], float("nan"), accept=True)


def test_a_child_without_its_parent_is_refused_before_anything_is_trained(workplace):
    with pytest.raises(ConfigError, match="--only human,dog"):
        world.command_of(PARTS[1], job_of(PARTS[1], ROOT, "quick.yaml")[0], "new")


def test_a_wrong_part_is_one_line(capsys):
    assert world.main(["--only", "cow"]) == 1
    assert capsys.readouterr().err == "error: --only: no part 'cow'. Known: cat, dog, human, teacher.\n"


def test_a_configuration_error_of_a_part_is_one_line(workplace):
    part = Part("human", "world/human", "generator", "stylegan2/world_human", 1, overrides=("--model.init_args.lrr=1",))
    with pytest.raises(ConfigError, match=r"part 'human': unknown key 'lrr'"):
        job_of(part, workplace, "quick.yaml")
