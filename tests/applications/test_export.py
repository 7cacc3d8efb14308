"""Exported networks give the numbers of our own, at other sizes, too; the example of the documentation runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, chelsea

import dife_lightning as dl
from dife_lightning.applications.export import PACKAGES, _program, export
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError, ConfigError
from dife_lightning.method import plain
from dife_lightning.methods.dife import DIFE
from tests.tiny import dife_arguments

DOCS = Path(__file__).parents[2] / "docs/applications.md"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped DIFE as ONNX, and squares around two faces."""
    folder = tmp_path_factory.mktemp("export")
    assert main(["export", "photos/dife", "--out", str(folder / "dife.onnx")]) == 0
    Image.fromarray(astronaut()[45:180, 156:291]).save(folder / "person.png")
    Image.fromarray(chelsea()[:, 95:395]).save(folder / "cat.png")
    return folder


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(count)) * 2 - 1


def run(path: Path, batch: torch.Tensor) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"images": batch.numpy()})[0]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 96), (2, 64, 80)])
def test_onnx_returns_our_embedding_at_any_size(shipped, shape):
    batch = images(*shape)
    with torch.no_grad():
        expected = dl.load("photos/dife").embed(batch)
    np.testing.assert_allclose(run(shipped / "dife.onnx", batch), expected, atol=1e-5)


def test_the_example_of_the_documentation_carries_an_eye(shipped, monkeypatch, capsys):
    """The eye at (46, 57) of the person is the cat's eye at the viewer's left, as the README's picture shows."""
    monkeypatch.chdir(shipped)
    (code,) = re.findall(r"```python\n(import json\n.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(code.splitlines()) <= 15
    exec(compile(code, str(DOCS), "exec"), {})  # the example itself is tested
    x, y = map(float, re.findall(r"[\d.]+", capsys.readouterr().out))
    ours = dl.load("photos/dife").transfer((astronaut()[45:180, 156:291], chelsea()[:, 95:395]), [[46, 57]])[0]
    assert abs(x - ours[0]) <= 10  # the example resizes a little differently; a cell is 4.7 px
    assert abs(y - ours[1]) <= 10


def test_an_hourglass_and_a_landmark_model_are_exported(tmp_path):
    torch.manual_seed(0)
    dife = DIFE(**dife_arguments(tmp_path)).eval()
    content = {"method": "dife", "state_dict": dife.state_dict(), "hyper_parameters": plain(dict(dife.hparams))}
    torch.save(content, tmp_path / "tiny.ckpt")
    said = export(tmp_path / "tiny.ckpt", tmp_path / "tiny.onnx", size=32)
    assert said["free"] == ["batch", "height", "width"]
    batch = images(2, 48, 64)
    with torch.no_grad():
        np.testing.assert_allclose(run(tmp_path / "tiny.onnx", batch), dife.embed(batch), atol=1e-4)
    facts = onnxruntime.InferenceSession(tmp_path / "tiny.onnx").get_modelmeta().custom_metadata_map["facts"]
    assert json.loads(facts)["channels"] == dife.dim

    said = export("photos/human-landmarks", tmp_path / "points.pt2", "pt2")
    files = {"facts.json": ""}
    program = torch.export.load(tmp_path / "points.pt2", extra_files=files)
    assert json.loads(files["facts.json"])["landmarks"] == said["landmarks"]
    model = dl.load("photos/human-landmarks")
    batch = images(3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(batch), model.evaluated(batch), atol=1e-5, rtol=0)
        points = model.detect(batch).points
    assert points.shape[1] == len(said["landmarks"])


def test_what_cannot_be_exported_is_said(tmp_path, monkeypatch, capsys):
    assert main(["export", "photos/human", "--out", str(tmp_path / "x.onnx")]) == 1
    assert "no trained method" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="form 'tflite'"):
        export("photos/dife", tmp_path / "x", "tflite")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError):
        export(tmp_path / "nothing.ckpt", tmp_path / "x.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in PACKAGES else object())
    with pytest.raises(ConfigError, match="onnx and onnxscript not installed; type: pip install"):
        export("photos/dife", tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_that_torch_cannot_export_is_named_with_the_reason():
    class Reads(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such kernel")

    with pytest.raises(CheckpointError, match=r"Reads cannot be exported by this version of torch \(.*no such kernel"):
        _program(Reads(), 16)
