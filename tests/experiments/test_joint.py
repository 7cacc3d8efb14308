"""The joint model against the pairwise ones, on records written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.checks import joint

DOMAINS = ["human", "dog", "cat"]


def write(folder: Path, name: str, seed: int, errors: dict[str, list[float]]) -> None:
    sets = {
        f"{kind}/long/plain/9-point": {"sums": " ".join(map(str, sums)), "points": "2" * len(sums)}
        for kind, sums in errors.items()
    }
    (folder / "runs").mkdir(exist_ok=True)
    content = {"errors": sets, "cell": {"key": {"lists": {}}}}
    (folder / f"runs/{name}-seed{seed}.json").write_text(json.dumps(content))


def test_errors_are_compared_on_the_same_pairs_with_means_over_seeds(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    base = {kind: np.round(rng.uniform(4, 12, 30), 1) for kind in joint.KINDS}
    write(tmp_path, "dife-human_dog_cat", 0, {kind: list(base[kind] + 1.0) for kind in joint.KINDS})
    for kind in joint.KINDS:
        name = f"dife-{kind.replace('+', '_')}"
        for seed, shift in enumerate((-0.5, 0.5)):
            write(tmp_path, name, seed, {kind: list(base[kind] + shift), "human+wild": [1.0] * 30})
    out = tmp_path / "joint.json"
    assert joint.main(["--records", str(tmp_path), "--out", str(out)]) == 0
    rows = {row["pair"]: row for row in json.loads(out.read_text())["rows"]}
    assert set(rows) == {"all", *joint.KINDS}
    for row in rows.values():  # one px per pair of two points is half a px per point, whatever is drawn
        assert row["difference"] == pytest.approx(0.5)
        assert row["ci95"] == pytest.approx([0.5, 0.5])
        assert row["verdict"] == "the joint model loses"
    assert rows["all"]["pairwise"] == pytest.approx(np.mean(list(base.values())) / 2)
    assert "loss +0.50 [+0.50, +0.50]" in capsys.readouterr().out


def test_a_missing_record_is_told_in_one_line(tmp_path: Path, capsys) -> None:
    assert joint.main(["--records", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: no record {tmp_path}/runs/dife-human_dog_cat-seed0.json: build")


def test_the_committed_records_are_enough(tmp_path: Path) -> None:
    assert {row["pair"] for row in joint.joint_rows(joint.RECORDS, "dife-human_dog_cat", "dife-{pair}")} > {"all"}
