"""The benchmark with tiny sizes: what it records. Seconds are never looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dife_lightning.pretrained.embedders import load_embedder
from dife_lightning.pretrained.generators import load_generator
from dife_lightning.registry import list_datasets
from dife_lightning.running.precision import PrecisionChoice
from experiments.bench import __main__ as bench
from experiments.bench import cases as cases
from experiments.bench.cases import CASES, ONCE
from experiments.bench.steps import Regions
from experiments.bench.timing import Conditions, Timing, peak_memory, timing

PRECISIONS = ("32-true", "bf16-mixed")
CPU = Conditions(torch.device("cpu"), "32-true", small=True, repeats=1)


def small(out: Path, *words: str) -> int:
    return bench.main(["--small", "--repeats", "1", "--threads", "1", "--out", str(out), *words])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(
            "dife_lightning.running.precision.probe_precision", lambda: PrecisionChoice("bf16-mixed", "a test")
        )
        patch.setattr(torch.cuda, "is_available", lambda: False)
        assert small(folder / "bench.json") == 0
    assert [path.name for path in folder.iterdir()] == ["bench.json"]
    return dict(json.loads((folder / "bench.json").read_text()))


def find(result: dict[str, Any], name: str, precision: str = "32-true") -> dict[str, Any]:
    (found,) = (r for r in result["records"] if r["name"] == name and r["precision"] == precision)
    return dict(found)


def test_every_case_has_its_records_in_each_precision(result: dict[str, Any]) -> None:
    twice = ("matching", "dve", "lists")
    split = [f"{c}{s}" for c in CASES for s in (("-plain", "-ours") if c.startswith(twice) else ("",))]
    expected = [(name, precision) for name in split if name not in ONCE for precision in PRECISIONS]
    measured = [(r["name"], r["precision"]) for r in result["records"] if not r["name"].startswith("reader")]
    assert sorted(measured) == sorted(expected)
    assert list(result["precisions"]) == list(PRECISIONS)
    assert all(r["seconds"] > 0 and r["repeats"] == 1 and r["rate"] > 0 and r["what"] for r in result["records"])


def test_every_reader_is_measured_alone_cropped_and_from_the_cache(result: dict[str, Any]) -> None:
    readers = [r["name"] for r in result["records"] if r["name"].startswith("reader")]
    names = {name for name in list_datasets() if name not in ("world", "sleap")}  # the latter needs an extra
    assert {name.removeprefix("reader-crop-") for name in readers if name.startswith("reader-crop-")} == names
    assert {f"reader-{name}" for name in names} <= set(readers)
    assert {f"reader-cache-{name}" for name in ("celeba", "wflw", "ap10k", "animalweb")} <= set(readers)


def test_tiny_sizes_are_not_compared_with_anything(result: dict[str, Any]) -> None:
    assert result["settings"]["small"]
    assert result["goals"] == []
    assert not any("ratio" in r or "reference_seconds" in r for r in result["records"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", ["matching-48", "matching-96", "dve-96"])
def test_ours_gives_the_plain_loss_in_less_memory(result: dict[str, Any], case: str, precision: str) -> None:
    plain, ours = (find(result, f"{case}-{kind}", precision) for kind in ("plain", "ours"))
    assert ours["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    assert 0 < ours["memory_bytes"] < plain["memory_bytes"] / 2
    assert "estimated" not in plain


def test_the_plain_loss_holds_three_maps_of_similarities(result: dict[str, Any]) -> None:
    one = 2 * 24**4 * 4  # 2 pairs of 24 x 24 cells, float32
    assert find(result, "matching-96-plain")["memory_bytes"] == pytest.approx(3 * one, rel=0.1)


def test_a_plain_loss_that_needs_much_memory_is_estimated_from_one_pair(
    result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "MOST_MEMORY", 0)
    plain, ours = CASES["matching-96"](CPU)
    assert (plain.estimated, plain.loss) == (True, None)
    assert plain.memory_bytes == pytest.approx(find(result, "matching-96-plain")["memory_bytes"], rel=0.05)
    assert ours.estimated is None


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("stage", ["warmup", "matching"])
def test_a_step_is_inside_networks_and_outside(result: dict[str, Any], stage: str, precision: str) -> None:
    found = find(result, f"step-{stage}", precision)
    names = {"generators", "teacher", "encoder", "encoder backward", "converters", "converters backward"}
    assert set(found["parts"]) == names
    assert all(seconds > 0 for seconds in found["parts"].values())
    inside = sum(found["parts"].values())
    assert found["outside_share"] == pytest.approx(1 - inside / found["seconds"])
    assert 0 < found["outside_share"] < 1


def test_shared_networks_keep_no_hook(result: dict[str, Any]) -> None:
    networks = [load_generator("world/human").network.synthesis, load_embedder("world/teacher").module]
    assert not any(n._forward_hooks or n._forward_pre_hooks for n in networks)


def test_the_json_is_what_the_command_returned_with_its_circumstances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dife_lightning.running.precision.probe_precision", lambda: PrecisionChoice("32-true", "a test")
    )
    out, before = tmp_path / "deep" / "b.json", torch.get_num_threads()
    words = ["--small", "--only", "evaluation,features-64", "--repeats", "2", "--threads", "1", "--out", str(out)]
    returned = bench.bench(bench.parse(words))
    assert json.loads(out.read_text()) == returned
    assert [(r["name"], r["precision"]) for r in returned["records"]] == [
        ("features-64", "32-true"),
        ("evaluation", "32-true"),
    ]
    assert {"versions", "commit", "dirty", "machine", "time", "load_before", "reference"} <= set(returned)
    assert returned["settings"] == {"small": True, "repeats": 2, "seconds": 5.0, "threads": 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--only", "evaluation,encoder-stp"], "--only: no case 'encoder-stp'. Did you mean 'encoder-step'?"),
        (["--repeats", "0"], "--repeats is 0"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--threads", "-1"], "--threads is -1"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_writes_nothing(
    words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main([*words, "--out", str(tmp_path / "b.json")]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {text}")
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def call() -> None:
        first = torch.empty(1000)
        second = torch.empty(2000)
        del first
        third = torch.empty(500)
        del second, third

    assert peak_memory(call, CPU.device) == 4 * 3000


def test_a_region_inside_another_counts_once_and_both_passes_are_seen() -> None:
    regions = Regions(CPU)
    inner, outer = torch.nn.Conv2d(1, 1, 1), torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    regions.watch("inner", inner)
    outer.append(inner)
    regions.watch("outer", outer, outer[0])
    outer(torch.ones(1, 1, 2, 2)).square().sum().backward()
    assert set(regions.take()) == {"outer", "outer backward"}
    inner(torch.ones(1, 1, 2, 2))
    assert set(regions.take()) == {"inner"}
    regions.remove()
    outer(torch.ones(1, 1, 2, 2))
    assert regions.take() == {}


def test_a_full_size_record_is_compared_with_the_reference() -> None:
    found = timing("encoder-step", Conditions(torch.device("cpu"), "32-true"), 2.0, 5, 12, "images/s")
    assert (found.rate, found.reference_seconds, found.ratio) == (6.0, 6.31, 3.155)
    assert timing("encoder-step", CPU, 2.0, 5, 12, "images/s").ratio is None
    on_gpu = Conditions(torch.device("cuda"), "32-true")
    assert timing("encoder-step", on_gpu, 2.0, 5, 12, "images/s").ratio is None


def test_the_best_precision_counts_for_speed_and_the_worst_for_the_rest() -> None:
    def made(name: str, precision: str, **more: Any) -> Timing:
        return Timing(name, precision, 1.0, 5, **more)

    records = [
        made("generator-64", "32-true", ratio=1.5),
        made("generator-64", "bf16-mixed", ratio=4.5),
        made("encoder-step", "32-true", ratio=3.9),
        made("matching-96-plain", "32-true", memory_bytes=1000),
        made("matching-96-ours", "32-true", memory_bytes=90),
        made("matching-96-plain", "bf16-mixed", memory_bytes=1000),
        made("matching-96-ours", "bf16-mixed", memory_bytes=110),
        made("dve-96-plain", "32-true", memory_bytes=1000),
        made("dve-96-ours", "32-true", memory_bytes=10),
        made("step-warmup", "32-true", outside_share=0.09),
        made("step-matching", "32-true", outside_share=0.2),
    ]
    verdicts = {goal.text.split(":")[0]: goal.met for goal in bench.goals(records)}
    assert verdicts == {
        "generator-64": True,
        "encoder-step": False,
        "matching-96": False,
        "dve-96": True,
        "step-warmup": True,
        "step-matching": False,
    }


@pytest.mark.parametrize(("side", "channels"), [(64, [512] * 5), (256, [512, 512, 512, 512, 512, 256, 128])])
def test_the_generators_have_the_channels_of_config_f(
    side: int, channels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[cases.Architecture] = []

    def stop(architecture: cases.Architecture) -> None:
        seen.append(architecture)
        raise InterruptedError

    monkeypatch.setattr(cases, "StyleGAN2Generator", stop)
    with pytest.raises(InterruptedError):
        cases.random_generator(side, False, torch.device("cpu"))
    assert list(seen[0].channels) == channels
    assert (seen[0].z_dim, seen[0].w_dim, seen[0].mapping_layers, seen[0].resolution) == (512, 512, 8, side)
