"""Checkpoints whose settings contradict their weights are refused before memory is taken."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dife_lightning as dl
from dife_lightning.cli.main import main
from dife_lightning.errors import CheckpointError

RUN = Path(__file__).parent / "fixtures/run_0_1_0"
Change = Callable[[dict[str, Any]], object]


def settings(**values: Any) -> Change:
    return lambda content: content["hyper_parameters"].update(values)


def encoder(**values: Any) -> Change:
    return lambda content: content["hyper_parameters"]["encoder"].update(values)


def expanded(content: dict[str, Any]) -> None:
    """One stored value that stands for 10^15, with settings to match."""
    content["state_dict"]["mean_human"] = torch.zeros(1).expand(10**15)
    content["hyper_parameters"]["domains"]["human"] = 10**15


def looped(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["encoder"]["planes"] = loop = []  # type: ignore[var-annotated]
    loop.append(loop)


def doubled(content: dict[str, Any]) -> None:
    values: list[Any] = [1]
    for _ in range(18):
        values = [values, values]
    content["hyper_parameters"]["encoder"]["planes"] = values


CHANGES: dict[str, Change] = {
    "dim 10^9": settings(dim=10**9),
    "dim 10^30": settings(dim=10**30),
    "dim 0": settings(dim=0),
    "dim -1": settings(dim=-1),
    "dim nan": settings(dim=float("nan")),
    "dim text": settings(dim="16"),
    "planes 10^9": encoder(planes=[10**9] * 3),
    "10^5 planes": encoder(planes=[8] * 10**5),
    "blocks 10^9": encoder(blocks=10**9),
    "depth 10^9": encoder(depth=10**9),
    "depth 10^18": encoder(depth=10**18),
    "depth 10^30": encoder(depth=10**30),
    "groups 0": encoder(groups=0),
    "encoder a list": settings(encoder=[1, 2]),
    "encoder None": settings(encoder=None),
    "channels 10^12": settings(domains={"human": 10**12, "dog": 64}),
    "no domains": settings(domains={}),
    "unknown setting": settings(wings=2),
    "another class": settings(_class_path="dife_lightning.methods.dve.DVE"),
    "repeated values": expanded,
    "settings in a circle": looped,
    "settings that multiply": doubled,
    "weights of another kind": lambda content: content.update(state_dict=[1]),
    "a weight that is text": lambda content: content["state_dict"].update(mean_dog="text"),
    "a weight without values": lambda content: content["state_dict"].update(mean_dog=torch.zeros(64, device="meta")),
    "a sparse weight": lambda content: content["state_dict"].update(mean_dog=torch.zeros(64).to_sparse()),
    "a weight of whole numbers": lambda content: content["state_dict"].update(mean_dog=torch.zeros(64).long()),
    "settings a list": lambda content: content.update(hyper_parameters=[1]),
    "name of the class a number": settings(_class_path=3),
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process take 2 GB more than it has, no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 10**9, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(RUN, "theirs"))


@pytest.fixture(params=CHANGES.values(), ids=CHANGES.keys())
def hostile(run: Path, request: pytest.FixtureRequest) -> Path:
    path = run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    request.param(content)
    torch.save(content, path)
    return path


def test_loading_refuses_settings_that_contradict_the_weights(hostile: Path, little_memory: None) -> None:
    with pytest.raises(CheckpointError, match=r"last\.ckpt") as error:
        dl.load(hostile)
    assert "\n" not in str(error.value)


def test_a_compressed_checkpoint_is_refused(run: Path) -> None:
    path = run / "checkpoints/last.ckpt"
    shutil.make_archive("small", "zip", run)
    shutil.move("small.zip", path)
    with pytest.raises(CheckpointError, match="unpacks to"):
        dl.load(path)


def test_scoring_refuses_a_checkpoint_of_another_class_than_its_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["_class_path"] = "dife_lightning.methods.dve.DVE"
    torch.save(content, path)
    assert main(["test", "--ckpt_path", str(path)]) == 1
    assert "was written by dife_lightning.methods.dve.DVE" in capsys.readouterr().err


def test_scoring_refuses_a_run_whose_settings_contradict_the_weights(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run / "resolved.yaml"
    record.write_text(record.read_text().replace("    dim: 16\n", "    dim: 1000000000\n"))
    assert main(["test", "--ckpt_path", str(run)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "last.ckpt" in said
    assert "(16," in said
