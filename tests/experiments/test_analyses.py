"""Analyses by the command, on one real `dife test` and on predictions that were made up."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from dife_lightning.cli.main import main as dife
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.errors import DataError
from experiments.analyses import __main__ as analyses
from experiments.analyses.failures import PairImages
from experiments.analyses.numbers import ALL
from experiments.analyses.sets import from_words, read_sets
from tests.experiments.made_up import find, records, write, write_table
from tests.tiny import write_teacher


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory):
    """Two methods on five pairs of each of two kinds, by `dife test`."""
    folder = tmp_path_factory.mktemp("tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DIFE_CACHE", str(folder / "cache"))
        teacher = write_teacher(folder / "teacher.safetensors")
        data = ["pairs=[human+dog, human+cat]", "lists=[paper]", "framings=[jittered]", "count=5", "size=32"]
        words = ["test", "--config", "world/test", *(f"--data.init_args.{word}" for word in data)]
        words += ["--trainer.enable_progress_bar=false", "--data.init_args.test_seed=2"]
        for name, model in (("copy-xy", ["--model", "CopyXY"]), ("teacher", [f"--model.init_args.embedder={teacher}"])):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*(log_every_n_steps|num_workers).*")
                assert dife([*words, *model, "--out", f"tests/{name}"]) == 0
        yield folder, teacher


@pytest.fixture
def analyse(tested, monkeypatch):
    folder, teacher = tested
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DIFE_CACHE", str(folder / "cache"))
    usual = ["copy-xy=tests/copy-xy", "teacher=tests/teacher", "--resamples", "100", "--test_seed", "2"]

    def run(*words: str) -> int:
        return analyses.main([*usual, *words])

    return run, teacher


def test_every_analysis_writes_its_files(tested, analyse):
    run, teacher = analyse
    models = ["--models", "copy-xy=CopyXY", f"teacher={teacher}"]
    words = ["--extra_pairs", "3", "--worst", "2", "--median", "1", "--bins", "2", "--out", "all"]
    assert run(*words, *models) == 0
    out = tested[0] / "all"
    stems = {"landmarks", "swaps", "pck", "differences", "extra", "failures"}
    for suffix in (".json", ".md", ".csv"):
        assert stems <= {path.stem for path in out.glob(f"*{suffix}")}
    pictures = {path.relative_to(out).as_posix() for path in out.rglob("*.png")}
    assert pictures == {
        *("landmarks.png", "landmarks_heat.png", "swaps.png", "pck.png", "extra.png", "extra_where.png"),
        *(f"differences_{name}.png" for name in ("yaw", "turn", "shape")),
        *(f"failures/{pair}_{name}.png" for pair in ("human+dog", "human+cat") for name in ("copy-xy", "teacher")),
    }
    page = (out / "analyses.md").read_text()
    assert all(f"]({name})" in page for name in pictures)
    assert "Left out" not in page
    facts = json.loads((out / "swaps.json").read_text())
    assert facts["tests"] == {"copy-xy": ["tests/copy-xy"], "teacher": ["tests/teacher"]}
    assert [(one["pair"], one["pairs"]) for one in facts["sets"]] == [("human+dog", 5), ("human+cat", 5)]


def test_the_numbers_are_those_of_the_test(tested, analyse):
    run, _ = analyse
    assert run("--only", "landmarks,swaps", "--out", "numbers") == 0
    out = tested[0] / "numbers"
    landmarks, swaps = (json.loads((out / f"{name}.json").read_text())[name] for name in ("landmarks", "swaps"))
    for name in ("copy-xy", "teacher"):
        for row in json.loads((tested[0] / f"tests/{name}/metrics.json").read_text())["rows"]:
            if row["protocol"] == "9-point":
                same = {"method": name, "pair": row["pair"]}
                found = find(landmarks, **same, landmark=ALL)
                assert found["pixel_error"] == pytest.approx(row["pixel_error"], abs=1e-5)
                assert found["points"] == row["points"]
                for landmark, error in row["per_landmark"].items():
                    assert find(landmarks, **same, landmark=landmark)["pixel_error"] == pytest.approx(error, abs=1e-5)
                assert find(swaps, **same, landmark=ALL)["swap_rate"] == pytest.approx(row["swap_rate"])


def test_the_first_pairs_with_further_points_are_framed_as_the_tested_ones(tested):
    sources = from_words([f"a={tested[0] / 'tests/copy-xy'}"])
    one = read_sets(sources).sets[0]
    images = PairImages(one, test_seed=2)
    pair = images[3]
    assert pair.pair_id == one.pair_ids[3]
    np.testing.assert_allclose(pair.target_points[:9], one.first.truth[3], atol=1e-3)
    assert pair.target_image.shape == (32, 32, 3)
    with pytest.raises(DataError, match="add its --test_seed"):
        PairImages(one)[3]


def test_pictures_that_are_not_of_the_world_come_from_the_data_that_was_tested(tested):
    data = WorldPairs(lists=["paper"], framings=["jittered"], count=5, size=32, test_seed=2, cache=False)
    data.setup("test")
    one = read_sets(from_words([f"a={tested[0] / 'tests/copy-xy'}"])).sets[0]
    found, wanted = PairImages(one, data=data)[4], PairImages(one, test_seed=2)[4]
    assert found.pair_id == wanted.pair_id == one.pair_ids[4]
    np.testing.assert_array_equal(found.target_image, wanted.target_image)
    data.test_sets[0].prepared = data.test_sets[0].prepared[:4]
    data.test_sets[0].pairs = data.test_sets[0].pairs[:4]
    with pytest.raises(DataError, match="add the --benchmark that was tested"):
        PairImages(one, data=data)[4]


def test_what_needs_the_framing_is_left_out_where_it_is_not_known(tested, analyse, capsys):
    run, _ = analyse
    assert run("--only", "differences,extra,failures", "--out", "wrong", "--test_seed", "5", "--extra_pairs", "1") == 0
    told = capsys.readouterr().out
    assert "left out: human+dog: errors against the rotation in the picture are left out" in told
    assert "left out: no pictures of failures: human+cat: the rendered pictures differ from those of the test" in told
    assert "left out: unlabelled points, teacher on human+dog, human+cat: its checkpoint is not known" in told
    out = tested[0] / "wrong"
    assert {path.name for path in out.glob("differences_*.png")} == {"differences_yaw.png", "differences_shape.png"}
    assert not (out / "failures.json").exists()


def test_photographs_are_analysed_without_what_is_not_known_of_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {i: f"celeba/{i}.jpg>ap10k/{i}.jpg" for i in range(30)}
    write(tmp_path / "a", records(0), names=names, lists=["test"])
    assert analyses.main(["a=a", "--resamples", "100", "--out", "out"]) == 0
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if line.startswith("left out: ")]
    assert len(lines) == 3
    assert "photographs have no known pose and shape" in lines[0]
    assert "photographs need --benchmark, for example" in lines[2]
    assert {path.stem for path in Path("out").glob("*.json")} == {"landmarks", "swaps", "pck"}
    page = Path("out/analyses.md").read_text()
    assert page.count("\n- ") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "swapz"], "no analysis 'swapz'. Did you mean 'swaps'"),
        (["none=nowhere"], "no predictions.csv in nowhere"),
        (["--runs_root", "nowhere"], "no tests to analyse: make a table first"),
        (["--runs_root", "nowhere", "--rows", "dife"], "no test of 'dife' in nowhere"),
        (["--benchmark", "mafl"], "benchmarks: mafl_ap10k"),
        (["--models", "dife"], "expected name=run"),
        (["broken=broken"], "the file is damaged, run the test again"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "broken", records(0)) / "predictions.csv"
    path.write_text(path.read_text()[:-30])
    assert analyses.main(words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def test_a_table_of_runs_is_analysed_by_its_plan(monkeypatch, tmp_path):
    _, runs = write_table(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["--plan", "plan.yaml", "--runs_root", str(runs), "--only", "swaps", "--resamples", "100", "--out", "out"]
    assert analyses.main([*words, "--rows", "dife,teacher", f"mine={runs / 'dife-n-seed0'}"]) == 0
    rows = json.loads(Path("out/swaps.json").read_text())["swaps"]
    assert list(dict.fromkeys(row["method"] for row in rows)) == ["teacher", "dife", "mine"]
    assert find(rows, method="dife", pair="human+dog", landmark=ALL)["seeds"] == 2
