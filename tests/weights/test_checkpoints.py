from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from dife_lightning.errors import CheckpointError
from dife_lightning.weights.checkpoints import load_state, read_checkpoint, read_tensors, write_tensors

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def test_safetensors_keep_tensors_and_metadata(tmp_path):
    path = tmp_path / "g.safetensors"
    write_tensors(path, TENSORS, {"species": "dog"})
    tensors, metadata = read_tensors(path)
    assert equal(tensors, TENSORS)
    assert metadata == {"species": "dog"}
    assert equal(load_file(path), TENSORS)


def test_views_and_shared_tensors_can_be_written(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "v.safetensors", {"t": base.T, "row": base[1], "same": base[1]})
    tensors, _ = read_tensors(tmp_path / "v.safetensors")
    assert torch.equal(tensors["t"], base.T)
    assert torch.equal(tensors["same"], tensors["row"])


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
@pytest.mark.parametrize("nested", [True, False])
def test_torch_files_are_read_with_and_without_a_state_dict_level(tmp_path, suffix, nested):
    path = tmp_path / f"x{suffix}"
    torch.save({"state_dict": TENSORS, "epoch": 3} if nested else TENSORS, path)
    tensors, metadata = read_tensors(path)
    assert equal(tensors, TENSORS)
    assert metadata == ({"epoch": 3} if nested else {})


def test_a_file_with_code_is_refused_and_the_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": Evil()}}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(CheckpointError) as error:
            read_tensors(tmp_path / name)
        assert name in str(error.value)
    assert not (tmp_path / "pwned").exists()


def storage_of_a_text():
    """An archive whose one storage is of the type 'x', as a flipped bit can make it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(("storage", "x", "0", "cpu", 4), protocol=2)[:-1] + b"Q.")
        file.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def bad_files(folder):
    torch.save(TENSORS, folder / "cut.pt")
    (folder / "cut.pt").write_bytes((folder / "cut.pt").read_bytes()[:-200])
    write_tensors(folder / "cut.safetensors", TENSORS)
    (folder / "cut.safetensors").write_bytes((folder / "cut.safetensors").read_bytes()[:-4])
    (folder / "empty.ckpt").touch()
    (folder / "text.ckpt").write_text("not a checkpoint")
    (folder / "text.safetensors").write_text("not a checkpoint")
    torch.save([1, 2], folder / "list.pt")
    (folder / "wrong.pt").write_bytes(storage_of_a_text())
    torch.save({"epoch": 3}, folder / "nothing.pt")
    torch.save({"state_dict": [torch.ones(1)]}, folder / "unnamed.pt")
    (folder / "x.onnx").touch()
    (folder / "folder.pt").mkdir()
    return {
        "cut.pt": "truncated",
        "cut.safetensors": "truncated",
        "empty.ckpt": "0 bytes",
        "text.ckpt": "no checkpoint",
        "text.safetensors": "no safetensors",
        "list.pt": "holds a list",
        "wrong.pt": "no checkpoint (AttributeError",
        "nothing.pt": "no named tensors",
        "unnamed.pt": "no named tensors",
        "x.onnx": "unknown suffix '.onnx'",
        "folder.pt": "is a folder",
        "missing.pt": "no checkpoint",
        "missing.safetensors": "no checkpoint",
    }


def test_every_bad_file_gives_one_line_naming_it_and_its_fault(tmp_path):
    for name, fault in bad_files(tmp_path).items():
        with pytest.raises(CheckpointError) as error:
            read_tensors(tmp_path / name)
        text = str(error.value)
        assert fault in text, text
        assert str(tmp_path / name) in text
        assert "\n" not in text


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "g.safetensors"
    write_tensors(path, TENSORS)
    before = path.read_bytes()
    with pytest.raises(Exception, match="metadata"):
        write_tensors(path, TENSORS, {"steps": 3})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_fitting_state_is_loaded():
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    load_state(target, source.state_dict())
    assert torch.equal(source.weight, target.weight)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.update(weight=torch.zeros(2, 4)), ["'weight'", "(2, 4)", "(2, 3)", "Linear"]),
        (lambda state: state.pop("bias"), ["no tensor 'bias'", "(2,)"]),
        (lambda state: state.update(extra=torch.zeros(5)), ["'extra'", "(5,)", "no place"]),
    ],
)
def test_the_first_wrong_tensor_is_named_with_both_shapes_and_nothing_is_loaded(change, words):
    module = nn.Linear(3, 2)
    before = module.weight.clone()
    state = nn.Linear(3, 2).state_dict()
    change(state)
    with pytest.raises(CheckpointError) as error:
        load_state(module, state, source="x.ckpt")
    assert all(word in str(error.value) for word in [*words, "x.ckpt"])
    assert torch.equal(module.weight, before)


def test_reading_a_whole_checkpoint_keeps_plain_values(tmp_path):
    torch.save(
        {"state_dict": TENSORS, "hyper_parameters": {"lr": 0.1, "domains": ["human", None]}}, tmp_path / "a.ckpt"
    )
    assert read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"] == {"lr": 0.1, "domains": ["human", None]}


def test_tensors_of_safetensors_do_not_change_with_the_file(tmp_path):
    """The library's own tensors lie in the file: written over in place they change, cut short they end the process."""
    path = tmp_path / "g.safetensors"
    write_tensors(path, {"a": torch.ones(5000)})
    tensors, _ = read_tensors(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 8000)
        file.write(bytes(8000))
    assert torch.equal(tensors["a"], torch.ones(5000))


def test_what_is_no_tensor_is_named_like_a_wrong_shape():
    state = {**nn.Linear(3, 2).state_dict(), "bias": 3}
    with pytest.raises(CheckpointError, match=r"x\.ckpt: 'bias' is int, Linear expects \(2,\)"):
        load_state(nn.Linear(3, 2), state, source="x.ckpt")


def test_an_error_speaks_of_the_file_s_own_names():
    with pytest.raises(CheckpointError, match=r"no tensor 'hg\.weight' \(\(2, 3\) in Linear\)"):
        load_state(nn.Linear(3, 2), {}, called=lambda name: f"hg.{name}")
