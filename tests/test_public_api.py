from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import Tensor

import dife_lightning
import dife_lightning.methods
from dife_lightning.errors import CheckpointError
from dife_lightning.loading import best_checkpoint, load

PACKAGE = Path(dife_lightning.__file__).parent

METHOD = """
import lightning as L
import torch
from dife_lightning.loading import stamp

METHOD = "Tiny"


class Tiny(L.LightningModule):
    def __init__(self, width: int = 3, domains: list[str] | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        return self.net(batch).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def on_save_checkpoint(self, checkpoint):
        stamp(checkpoint, self)
"""


@pytest.fixture
def tiny_method(tmp_path, monkeypatch):
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "zz_tiny.py").write_text(METHOD)
    monkeypatch.setattr(dife_lightning.methods, "__path__", [*dife_lightning.methods.__path__, str(folder)])
    # The module stays imported: the command line's parser imports the module of every LightningModule that exists.
    return dife_lightning.registry.get_method("zz-tiny")


def train_one_step(module: L.LightningModule, path) -> Tensor:
    rows = torch.utils.data.DataLoader(torch.ones(2, 5), batch_size=2)
    trainer = L.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, rows)
    trainer.save_checkpoint(path)
    return module.net.weight.detach().clone()


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, dife_lightning; sys.exit(bool({'torch', 'lightning', 'numpy', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", dife_lightning.__all__)
def test_every_public_name_is_there(name):
    assert getattr(dife_lightning, name) is not None
    assert name in dir(dife_lightning)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No dife_lightning attribute nothing"):
        _ = dife_lightning.nothing


def test_a_checkpoint_from_python_loads_into_the_right_class(tiny_method, tmp_path):
    weight = train_one_step(tiny_method(width=5, domains=["human"]), tmp_path / "a.ckpt")
    loaded = dife_lightning.load(tmp_path / "a.ckpt")
    assert type(loaded) is tiny_method
    assert torch.equal(loaded.net.weight, weight)
    assert loaded.hparams.domains == ["human"]
    assert not loaded.training


def test_a_checkpoint_of_the_command_line_loads_by_its_class_path(tiny_method, tmp_path):
    train_one_step(tiny_method(width=5), tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    del content["method"]
    content["hyper_parameters"]["_class_path"] = "dife_lightning.methods.zz_tiny.Tiny"
    content["hyper_parameters"]["_instantiator"] = "os.system"
    torch.save(content, tmp_path / "b.ckpt")
    assert type(load(tmp_path / "b.ckpt")) is tiny_method


def test_a_runs_folder_means_its_best_checkpoint_else_its_last(tiny_method, tmp_path):
    folder = tmp_path / "run/checkpoints"
    folder.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"best\.ckpt"):
        load(tmp_path / "run")
    (folder / "last.ckpt").touch()
    assert best_checkpoint(tmp_path / "run") == folder / "last.ckpt"
    train_one_step(tiny_method(width=5), folder / "best.ckpt")
    assert type(load(tmp_path / "run")) is tiny_method


def save(path, **content):
    torch.save({"state_dict": {"a": torch.zeros(1)}, **content}, path)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "not a checkpoint of dife-lightning"),
        ({"hyper_parameters": {}}, "does not say which method"),
        ({"hyper_parameters": {}, "method": "zz-tyny"}, "Did you mean 'zz-tiny'"),
        ({"hyper_parameters": {"_class_path": "os.path.join"}}, "written by 'os.path.join', which is no method"),
        ({"hyper_parameters": {"_class_path": "dife_lightning.methods._base.X"}}, "no method here"),
        ({"hyper_parameters": {"depth": 3}, "method": "zz-tiny"}, "settings do not fit Tiny.*depth"),
        ({"hyper_parameters": {"width": 5}, "method": "zz-tiny"}, r"no tensor 'net\.weight'"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_line(tiny_method, tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words) as error:
        load(save(tmp_path / "a.ckpt", **content))
    assert "\n" not in str(error.value)
    assert "a.ckpt" in str(error.value)


ROOMS = ["", *(f".{path.parent.name}" for path in sorted(PACKAGE.glob("*/__init__.pyi")))]


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_a_room_are_there_and_are_not_hidden_by_its_files(room):
    package = importlib.import_module(f"dife_lightning{room}")
    files = {path.stem for path in PACKAGE.joinpath(room.strip(".")).iterdir() if path.stem != "__init__"}
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name not in files or room == "", f"{name} is a file, too"


def test_importing_the_rooms_loads_neither_torch_nor_lightning():
    names = ", ".join(f"dife_lightning{room}" for room in ROOMS)
    code = f"import sys, {names}; sys.exit(bool({{'torch', 'lightning'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
