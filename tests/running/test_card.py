"""Model cards: what they take from a run's record, and what a hostile or broken record does to them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dife_lightning.cli.main import main
from dife_lightning.running.card import code, model_card
from dife_lightning.running.run_record import read_record
from tests.docs_text import blocks
from tests.tiny import write_run

OLD = Path(__file__).parents[1] / "fixtures" / "run_0_1_0"
ROW = {
    "pair": "human+wild", "list": "long", "framing": "plain", "protocol": "3-point", "list_hash": "ab12",
    "pixel_error": 4.321, "ci95": [4.0, 4.75], "pairs": 1000, "swap_rate": 0.125, "pck_image_10": 0.9,
}  # fmt: skip
METRICS = {
    "rows": [ROW],
    "lists": {"test": {"human+wild/long": "ab12"}},
    "switches": {
        "error_unit": "pixels of a crop",
        "image_size": 96,
        "bootstrap": {"over": "photos", "resamples": 2000, "seed": 3},
    },
    "data": {"domains": {"wild": {"dataset": "ap10k", "crop": {"rule": "landmarks", "factor": 2.8, "min_side": None}}}},
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "first"))


def generator_run(path: Path) -> Path:
    """A StyleGAN2 of a folder of photos, trained for 48 of 64 images, as its training leaves it."""
    run = Path(write_run(path))
    model = {"class_path": "dife_lightning.methods.stylegan2.StyleGAN2", "init_args": {"channels": [8, 8, 8, 8]}}
    data = {
        "class_path": "dife_lightning.data.images.GeneratorImages",
        "init_args": {"folder": "my/cats", "batch_size": 16},
    }
    settings = {"seed_everything": 5, "trainer": {"max_steps": 8, "devices": 1}, "model": model, "data": data}
    (run / "resolved.yaml").write_text(yaml.safe_dump(settings))
    (run / "stages.json").write_text(json.dumps({"training": {"steps": 6, "seconds": 600}}))
    (run / "environment.json").write_text(json.dumps({"verb": "fit", "dirty": True, "machine": {"gpu": "A GPU"}}))
    (run / "metrics.csv").write_text("step,train/images,val/fid\n1,16,\n3,,50.5\n3,32,\n5,,51.25\n5,48,\n")
    return run


def add_test(run: Path, metrics: object, name: str = "test-faces") -> None:
    (run / "eval" / name).mkdir(parents=True)
    (run / "eval" / name / "metrics.json").write_text(json.dumps(metrics))
    settings = {"data": {"class_path": "dife_lightning.data.photos.face_pairs.FacePairs"}}
    (run / "eval" / name / "resolved.yaml").write_text(yaml.safe_dump(settings))


def test_the_card_of_a_run_of_version_0_1(old):
    card = model_card(read_record(old))
    for said in (
        "# Model card of `first`\n`DIFE` for `human`, `dog`",
        "| values in the checkpoint | `encoder` 12,048, `converters` 2,128 |",
        "| `generators` | `{human: world/human, dog: world/dog}` |",
        "| steps | `warmup` 3, `matching` 3 |",
        "| images | 72 (12 a step) |",
        "| time without validations | 29 seconds |",
        "| machine | `AMD EPYC, Linux-",
        "| `val/pixel_error` | 21.02 at step 5 | 21.02 at step 5 |",
        "Not tested: the folder has no results of `dife test`.",
        "| `torch` | `2.13.0+cpu` |",
        "| `commit` | `64e1f2813b14981663569b95a75d692096d890d5` |",
        "- Learnt from the shipped asset `world/teacher`: `Apache-2.0`",
    ):
        assert said in card, said


@pytest.mark.parametrize(
    ("folder", "learnt"),
    [
        ("own/photos/unlabelled", ["own/photos/unlabelled"]),
        ({"human": "my/people", "dog": "own/dogs"}, ["own/dogs", "the images in my/people"]),
    ],
)
def test_photos_beside_the_samples_are_named_with_their_terms(old, folder, learnt):
    settings = yaml.safe_load((old / "resolved.yaml").read_text())
    settings["data"]["init_args"]["photos"] = {"folder": folder, "batch_size": 12}
    (old / "resolved.yaml").write_text(yaml.safe_dump(settings))
    lines = model_card(read_record(old)).replace("`", "").splitlines()
    assert (
        "- Trained on images of generators, and on photos in equation 1: what these never show was not seen." in lines
    )
    for name in learnt:
        assert lines.count(f"- Learnt from {name}: terms not recorded") == 1


def test_its_lines_of_loading_run_as_they_are(old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(name)
    (lines,) = blocks(model_card(read_record(old)), "python")
    assert lines.count("\n") == 3
    found: dict[str, torch.Tensor] = {}
    exec(lines, found)
    assert tuple(found["points"].shape) == (1, 2)


def test_the_card_of_a_generator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card = model_card(read_record(generator_run(tmp_path / "cats")))
    for said in (
        "| `folder` | `my/cats` |",
        "| steps | `training` 6 |",
        "| images | 48 |",
        "| time without validations | 10.0 minutes |",
        "| machine | `A GPU` |",
        "| seed | `5` |",
        "| `val/fid` | 50.50 at step 3 | 51.25 at step 5 |",
        "- The record does not name the species of the training.",
        "- The training ended after 6 of 8 steps.",
        "- The code differed from its commit when the training began.",
        "- Learnt from the images in `my/cats`: terms not recorded",
    ):
        assert said in card, said
    assert re.search(r"values in the checkpoint \| `generator` [\d,]+, ", card)
    found: dict[str, torch.Tensor] = {}
    exec(blocks(card, "python")[0], found)
    assert tuple(found["images"].shape) == (4, 3, 32, 32)


def test_tests_are_shown_with_intervals_lists_and_crops_and_their_gaps_are_limits(old):
    add_test(old, METRICS)
    card = model_card(read_record(old))
    for said in (
        "| `human+wild` | `long` | `plain` | `3-point` | 4.32 | 4.00 to 4.75 | 12.5% | 90.0% | 1,000 |",
        "- Data: `FacePairs`",
        "- Errors in `pixels of a crop`, images of 96 px",
        "- Intervals: bootstrap over `photos`, 2,000 draws, seed 3",
        "- Test list `human+wild/long`: sha256 `ab12`",
        "- Faces of `wild`: data set `ap10k`, crop `{rule: landmarks, factor: 2.8}`",
        "- Tested on species that are not in the training: `wild`.",
        "- Trained on, but not tested on: `dog`.",
        "- Tested on `human`, `wild` alone, with the framing `plain` alone.",
    ):
        assert said in card, said
    assert "Not tested" not in card
    assert "not on photographs" not in card


def test_a_test_on_the_world_says_that_it_is_not_of_photographs(old):
    add_test(old, METRICS)
    (old / "eval/test-faces/resolved.yaml").unlink()  # then the pairs are those of the run
    assert "- Tested on drawn faces of the embedded world only, not on photographs." in model_card(read_record(old))


def test_an_unfinished_run_is_described_as_far_as_its_record_goes(old):
    for name in ("stages.json", "metrics.csv", "environment.json"):
        (old / name).unlink()
    shutil.rmtree(old / "checkpoints")
    card = model_card(read_record(old))
    assert "| steps | not recorded |" in card
    assert "There is no checkpoint in this folder" in card
    assert "- The record has no times of stages" in card


EVIL = (
    "<script>alert(1)</script>[x](http://evil.example)`|![i](http://evil.example/i.png)\n# big\x1b[31m www.evil.example"
)


def test_text_of_a_record_cannot_leave_its_code_span(old):
    settings = yaml.safe_load((old / "resolved.yaml").read_text())
    settings["model"]["init_args"] |= {"teacher": EVIL[:60], EVIL[:50]: "x", "domains": {EVIL[:40]: 1}}
    settings["model"]["class_path"] = f"a.{EVIL.replace('.', ' ')}"
    settings["seed_everything"] = EVIL
    (old / "resolved.yaml").write_text(yaml.safe_dump(settings))
    environment = {
        "machine": {"gpu": EVIL},
        "versions": {EVIL: EVIL},
        "command": [EVIL],
        "precision": EVIL,
        "commit": EVIL,
    }
    (old / "environment.json").write_text(json.dumps({**environment, "terms": EVIL}))
    (old / "stages.json").write_text(json.dumps({EVIL: {"steps": EVIL, "seconds": EVIL}}))
    (old / "metrics.csv").write_text(f'step,"val/{EVIL.replace("/", "")}"\n"{EVIL}",1.5\n')
    rows = [dict.fromkeys(ROW, EVIL), {"ci95": [EVIL, {}], "pair": None, "pixel_error": {}}]
    domains = {EVIL: {"dataset": EVIL, "crop": {EVIL: EVIL}}, "x": EVIL}
    bootstrap = {"over": EVIL, "resamples": EVIL}
    switches = {"error_unit": EVIL, "image_size": EVIL, "bootstrap": bootstrap}
    add_test(old, {"rows": rows, "lists": {"test": {EVIL: EVIL}}, "switches": switches, "data": {"domains": domains}})
    evil = old.rename(old.with_name("`'\"<b>x"))
    card = model_card(read_record(evil))
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", card, flags=re.DOTALL))
    assert "evil" not in outside
    assert "script" not in outside
    assert not set("<>[]`\x1b") & set(outside.replace("], [", "").replace("[[", ""))
    assert "\x1b" not in card
    assert not [line for line in card.splitlines() if line.startswith("# ") and "Model card" not in line]
    tables = [line for line in card.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in tables} == {3, 4, 10}


def test_a_record_of_the_wrong_shape_is_no_traceback(old):
    for name, content in (
        ("environment.json", {"machine": 3, "versions": [1], "command": 5}),
        ("stages.json", {"a": 1}),
    ):
        (old / name).write_text(json.dumps(content))
    add_test(old, {"rows": 7, "switches": [], "lists": None, "data": {"domains": [1]}})
    (old / "resolved.yaml").write_text("model: DIFE\ndata: [1]\ntrainer: 4\n")
    assert "`DIFE`" in model_card(read_record(old))
    (old / "resolved.yaml").write_text("model: {class_path: DIFE, init_args: &a {b: *a}}\n")  # contains itself
    assert "`DIFE`" in model_card(read_record(old))


@pytest.mark.parametrize("text", ["", "a\nb", "a|b", "``", "x" * 1000])
def test_a_code_span_is_one_line_with_two_backticks(text):
    found = code(text)
    assert "\n" not in found
    assert "|" not in found
    assert found.count("`") == (2 if text else 0)
    assert len(found) < 500


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda run: shutil.rmtree(run),
            "does not exist: no resolved.yaml in it; expected a folder such as runs/first.",
        ),
        (lambda run: (run / "resolved.yaml").unlink(), "is not the folder of a run: no resolved.yaml in it"),
        (lambda run: (run / "resolved.yaml").write_text("model: [1"), "resolved.yaml is damaged (ParserError"),
        (
            lambda run: (run / "resolved.yaml").write_text("- 1"),
            "resolved.yaml holds a list, expected names and values.",
        ),
        (lambda run: (run / "resolved.yaml").write_text("name: site"), "names no model, so"),
        (lambda run: (run / "environment.json").write_text("{"), "environment.json is damaged (JSONDecodeError"),
        (lambda run: (run / "stages.json").write_bytes(b"\xff{"), "stages.json is damaged (UnicodeDecodeError"),
        (lambda run: (run / "metrics.csv").write_bytes(b"\xff\n1"), "metrics.csv is damaged (UnicodeDecodeError"),
        (lambda run: add_test(run, []), "metrics.json holds a list"),
        (lambda run: (run / "checkpoints/last.ckpt").write_bytes(b"PK"), "last.ckpt is truncated or no checkpoint"),
    ],
)
def test_a_broken_or_foreign_folder_is_an_error_of_one_line(old, capsys, break_it, message):
    break_it(old)
    assert main(["card", str(old)]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert error.count("\n") == 1


def test_the_verb_prints_the_card_or_writes_it(old, tmp_path, capsys):
    assert main(["card", str(old)]) == 0
    printed = capsys.readouterr().out
    assert main(["card", str(old), "--out", str(tmp_path / "cards/first.md")]) == 0
    assert (tmp_path / "cards/first.md").read_text() == printed
    assert capsys.readouterr().out == f"{tmp_path / 'cards/first.md'}\n"
