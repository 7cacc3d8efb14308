"""The published protocols of Meta-CSKT on small folders of the published layout: each trains a step and is tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dife_lightning.cli.main import main
from dife_lightning.nn.hrnet import HRNet, HRNetOptions
from dife_lightning.running.configs import load_config
from dife_lightning.weights.checkpoints import read_checkpoint
from tests.datasets.layouts import Face, draw_face, write_animalweb, write_horse
from tests.tiny import draw_nothing

pytestmark = pytest.mark.slow
#: Species of the small AnimalWeb, in the order of the numbers of its pictures: yak_0, yak_1, ...
SPECIES = ["yak"] * 4 + ["koala"] * 2 + ["lion"] * 2 + ["fox"] * 4 + ["japanesemacaque"] * 3 + ["gorilla"] * 3
TINY = "{stem: 4, bottlenecks: 1, channels: [4, 4, 4, 4], modules: [1, 1, 1], blocks: 1, momentum: 0.1}"
QUICK = [
    "--trainer.accelerator=cpu", "--trainer.val_check_interval=1", "--trainer.enable_progress_bar=false",
    "--data.init_args.num_workers=0", "--data.init_args.evaluation.init_args.num_workers=0",
    f"--model.init_args.network={TINY}", "--model.init_args.init_from=null",
]  # fmt: skip
FEW = ["--data.init_args.labelled_batch=1", "--data.init_args.unlabelled_batch=2"]
ONE_STEP = ["--model.init_args.steps=1", "--model.init_args.warmup_steps=0", "--model.init_args.wait=0", *FEW]


def lines(*numbers: int) -> str:
    return "".join(f"{SPECIES[number]}_{number}.jpg\r\n" for number in numbers)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write AnimalWeb, the files of Meta-CSKT, horses, and paths.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    draw_nothing(monkeypatch)
    write_animalweb(tmp_path / "aw", [draw_face("animalweb-9", i, group=one) for i, one in enumerate(SPECIES)])
    write_meta_cskt(tmp_path / "aw/bbox.csv", tmp_path / "meta")
    write_horses(tmp_path / "release_data")
    entries = {"animalweb": "aw", "meta-cskt": "meta", "horse": "release_data"}
    (tmp_path / "paths.yaml").write_text("".join(f"{name}: {path}\n" for name, path in entries.items()))
    return tmp_path


def write_meta_cskt(boxes: Path, root: Path) -> None:
    (root / "data").mkdir(parents=True)
    boxes.rename(root / "data/bbox.csv")
    lists = {
        "all.txt": lines(*range(len(SPECIES))),
        "all_150.txt": lines(6, 7, 5),  # koala_5 is a test face, as in the published list
        "japanesemacaque_train.txt": lines(12, 13),
        "japanesemacaque_test.txt": lines(14),
        "primate.txt": lines(15, 16, 17),
        "cercopithecidae_val.txt": lines(17, 17),
    }
    for few in (40, 80):
        lists |= {f"train_{few}img.txt": lines(0, 1, 0)} if few == 80 else {f"train_{few}img.txt": lines(0, 1)}
        lists |= {f"test_{few}_known.txt": lines(2, 3), f"test_{few}_unknown.txt": lines(4, 5)}
    for name, text in lists.items():
        (root / "data" / name).write_bytes(text.encode())
    rows = [
        (f"{one}_{i}.jpg", 0.25 if i in (8, 16) else 0.1, 0.04 if i in (8, 9) else 0.3) for i, one in enumerate(SPECIES)
    ]
    for column, names in enumerate(
        (("40_flip", "flip_80", "japanese_flip"), ("40_human", "human_80", "japanese_human")), 1
    ):
        for name in names:
            table = "".join(f"{row[0]},{row[column]}\n" for row in rows)
            (root / f"{name}.csv").write_text(f"img,nme\n{table}")


def write_horses(root: Path) -> None:
    seen = np.array([True, False, True, True, False])
    faces: list[Face] = [draw_face("horse-5", i, split="train" if i < 5 else "test") for i in range(7)]
    faces[1] = draw_face("horse-5", 1, split="train", visible=seen)
    write_horse(root, faces)
    train = (root / "train_horse.txt").read_text().splitlines()
    for name, chosen in (("few_train.txt", train[:2]), ("few_val.txt", train[4:])):
        (root / name).write_text("\n".join(chosen))


def fit(name: str, *more: str) -> int:
    return main(["fit", "--config", f"meta_cskt/{name}", "--run", "it", *QUICK, *ONE_STEP, *more])


def scored(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """Test the run; return the rows of the results by domain."""
    assert main(["test", "--ckpt_path", "runs/it", "--trainer.accelerator=cpu"]) == 0, capsys.readouterr().err
    (file,) = Path("runs/it/eval").rglob("metrics.json")
    content = json.loads(file.read_text())
    assert content["switches"]["normalizer"] == "published"
    return {row["domain"]: row for row in content["rows"]}


@pytest.mark.parametrize("few", [40, 80])
def test_animalweb_trains_on_the_lists_and_mines_by_the_published_shifts(few, folder, capsys, caplog):
    assert fit(f"animalweb_{few}") == 0, capsys.readouterr().err
    told = capsys.readouterr().err
    # of 18 faces 2 are labelled, 4 are tested and 2 validate; fox_8 is both a positive and a hard negative
    assert "faces: 2 labelled, 10 unlabelled" in caplog.text
    assert "unlabelled pool: 10 faces; 6 test faces (0 by name, 6 by content) removed" in told
    assert "human shifts: 10 of 10 faces found by name, 0 not; 8 of 18 rows are of other faces" in told
    assert "unlabelled faces: 1 positive, 7 semi-hard, 2 hard negatives (t_neg 0.2, t_pos 0.05)" in told
    assert f"test_{few}_unknown.txt shares 1 picture with all_150.txt (koala_5)" in told
    assert ("train_80img.txt lists 1 face again (yak_0.jpg); each counts once" in told) == (few == 80)
    rows = scored(capsys)
    assert {name: rows[name]["faces"] for name in ("known", "unknown")} == {"known": 2, "unknown": 2}


def test_the_published_network_trains_on_images_of_the_published_size(folder, capsys):
    """HRNetV2-W18 on 255 x 255 pixels, whose heat maps have 64 x 64 cells."""
    words = [word for word in QUICK if "network" not in word]
    mining = ["--model.init_args.mining.t_neg=null", "--model.init_args.mining.t_pos=null"]
    steps = ["--model.init_args.steps=2", "--model.init_args.warmup_steps=1", "--model.init_args.wait=0"]
    config = ["fit", "--config", "meta_cskt/animalweb_40", "--run", "it"]
    assert main([*config, *words, *FEW, *mining, *steps, "--trainer.limit_val_batches=0"]) == 0, capsys.readouterr().err
    content = read_checkpoint(Path("runs/it/checkpoints/last.ckpt"))
    assert int(content["state_dict"]["steps_done"]) == 2
    network = HRNet(HRNetOptions(points=9))
    network.load_state_dict(
        {name.removeprefix("adaptation."): v for name, v in content["state_dict"].items() if name.startswith("adapt")}
    )
    assert network.eval()(torch.zeros(1, 3, 255, 255)).shape == (1, 9, 64, 64)
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(9.6e6, rel=0.02)


def test_a_training_starts_from_a_public_network_of_people(folder, capsys):
    """`HR18-AFLW.pth` has 19 points: its head is replaced, all else moves by one step of Adam (lr 1e-4)."""
    sizes = {"stem": 4, "bottlenecks": 1, "channels": (4, 4, 4, 4), "modules": (1, 1, 1), "blocks": 1}
    public = HRNet(HRNetOptions(points=19, **sizes)).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in public.items()}}, folder / "HR18-AFLW.pth")
    with (folder / "paths.yaml").open("a") as paths:
        paths.write("hr18-aflw: HR18-AFLW.pth\n")
    assert fit("animalweb_40", "--model.init_args.init_from=own/hr18-aflw") == 0, capsys.readouterr().err
    assert "start weights own/hr18-aflw: " in (told := capsys.readouterr().err)
    assert "start untrained" in told
    trained = read_checkpoint(Path("runs/it/checkpoints/last.ckpt"))["state_dict"]
    for role in ("base", "adaptation"):
        kept = [name for name in public if f"{role}.{name}" in trained and public[name].is_floating_point()]
        kept = [name for name in kept if trained[f"{role}.{name}"].shape == public[name].shape]
        moved = [name for name in kept if "running" not in name]
        assert len(moved) > 100
        assert all((trained[f"{role}.{name}"] - public[name]).abs().max() < 2e-4 for name in moved)
    assert scored(capsys)["known"]["faces"] == 2


def test_the_published_pool_holds_the_test_faces_and_is_called_transductive(folder, capsys):
    assert fit("animalweb_40", "--data.init_args.unlabelled=all") == 0, capsys.readouterr().err
    told = capsys.readouterr().err
    assert "unlabelled pool: all 16 faces, 6 test faces (0 by name, 6 by content) among them: transductive" in told


def test_macaques_are_trained_with_other_primates_and_without_positives(folder, capsys, caplog):
    assert fit("macaque") == 0, capsys.readouterr().err
    told = capsys.readouterr().err
    assert "faces: 2 labelled, 2 unlabelled" in caplog.text  # gorilla_17 validates
    assert "unlabelled faces: 0 positives, 1 semi-hard, 1 hard negative (t_neg 0.2, t_pos none)" in told
    assert scored(capsys)["macaque"]["faces"] == 1


def test_horses_are_trained_with_animalweb_without_mining(folder, capsys, caplog):
    assert fit("horse") == 0, capsys.readouterr().err
    told = capsys.readouterr().err
    assert "faces: 2 labelled, 20 unlabelled" in caplog.text  # 18 of AnimalWeb and 2 horses; one horse validates
    assert "unlabelled faces: 0 positives, 20 semi-hard, 0 hard negatives (t_neg none, t_pos none)" in told
    assert scored(capsys)["horse"]["faces"] == 2


@pytest.mark.parametrize("name", ["animalweb_40", "horse"])
def test_the_doctor_finds_the_files_or_says_which_are_missing(name, folder, capsys):
    small = [f"--model.init_args.network={TINY}", "--model.init_args.init_from=null", "--trainer.accelerator=cpu",
             "--data.init_args.num_workers=0", "--data.init_args.evaluation.init_args.num_workers=0", *FEW]  # fmt: skip
    code = main(["doctor", f"meta_cskt/{name}", *small])
    told = capsys.readouterr().out
    assert code == 0, told
    domain = name.partition("_")[0]
    assert f"data: {domain}, labelled: 2 faces of {domain}, 2 usable" in told
    assert "pool: " in told
    assert "test faces: " in told
    assert ("mining: flip shifts of 18 faces in own/meta-cskt/" in told) == (name != "horse")
    for file in (*(folder / "meta").glob("*.csv"), *(folder / "meta/data").glob("*_known.txt")):
        file.unlink()
    assert main(["doctor", f"meta_cskt/{name}", *small]) == (0 if name == "horse" else 1)
    told = capsys.readouterr().out
    assert ("does not exist; fix entry `meta-cskt` in paths.yaml" in told) == (name != "horse")


@pytest.mark.parametrize(("name", "steps", "warmup"), [
    ("animalweb_40", 12_000, 2000), ("animalweb_80", 10_000, 0), ("macaque", 10_000, 0), ("horse", 5000, 0),
])  # fmt: skip
def test_the_hyper_parameters_are_the_published_ones(name: str, steps: int, warmup: int) -> None:
    content = load_config(f"meta_cskt/{name}")
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    assert (model["steps"], model["warmup_steps"]) == (steps, warmup)
    assert (model["lr"], model["wait"], model["refresh"], model["sigma"]) == (1e-4, 50, 600, 1)
    assert "network" not in model
    assert (model["decode"], model["flip_test"], model["published_targets"]) == ({"rule": "quarter"}, False, True)
    thresholds: Sequence[float | None] = {"macaque": (0.2, None), "horse": (None, None)}.get(name, (0.2, 0.05))
    assert (model["mining"]["t_neg"], model["mining"]["t_pos"]) == thresholds
    assert (data["size"], data["labelled_batch"], data["unlabelled_batch"], data["flip"]) == (255, 4, 16, False)
    assert data["crop"]["rule"] == data["evaluation"]["init_args"]["crop"]["rule"] == "animalweb"
