"""What docs/sweeps.md shows can be typed."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats

from dife_lightning.cli.main import main
from dife_lightning.cli.settings import resolved_settings
from dife_lightning.cli.sweep import _parser
from dife_lightning.sweeps.definition import DISTRIBUTIONS, find_sweep, list_sweeps, parse_sweep, read_sweep
from dife_lightning.sweeps.study import STARTUP, suggest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/sweeps.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n# (\S+\.yaml).*?\n(.*?)```", TEXT, re.S)
COMMANDS = [shlex.split(line, comments=True) for line in TEXT.splitlines() if line.startswith("dife sweep ")]


@pytest.mark.parametrize("text", [text for _, text in FILES])
def test_shown_files_are_sweeps_whose_keys_exist_and_leave_the_other_settings_alone(text):
    sweep = parse_sweep(yaml.safe_load(text))
    values = suggest(sweep, 0, 0, [])
    plain = resolved_settings([word for word in sweep.words if word != "${args}"])
    found = resolved_settings(sweep.command(values))
    for key, value in values.items():
        *parts, last = key.split(".")
        left: Any = found
        right: Any = plain
        for part in parts:
            left, right = left[part], right[part]
        assert left.pop(last) == value
        right.pop(last)
    assert found == plain


def test_shown_commands_have_options_that_exist_and_files_that_are_shown_or_shipped():
    assert len(COMMANDS) >= 6
    for words in COMMANDS:
        options = _parser().parse_args(words[2:] if "--" not in words else words[2 : words.index("--")])
        assert options.file in {*list_sweeps(), *(name for name, _ in FILES)}


def test_numbers_in_the_text_are_those_of_the_code():
    assert f"{STARTUP} at random, then Optuna's TPE" in TEXT
    long, short = (read_sweep(find_sweep(name)) for name in ("sweeps/lambdas", "sweeps/lambdas_world_short"))
    assert f"in {long.most} trainings of full length" in " ".join(TEXT.split())
    assert {"--model.init_args.warmup_steps=320", "--trainer.max_steps=400"} <= set(short.words)
    assert "(320 + 80), half of the pseudo-pairs, and 16 trainings" in " ".join(TEXT.split())
    assert short.most == 16
    for name in set(DISTRIBUTIONS) - {"constant", "categorical"}:
        assert f"`{name}`" in TEXT


def test_the_committed_sweep_still_reports_its_table_and_the_correlations_in_the_text(tmp_path, capsys):
    record = ROOT / "experiments/records/world/sweep_lambdas"
    shutil.copytree(record, tmp_path / "sweep_lambdas")
    (command,) = [[*words[1:], "--sweeps_root", str(tmp_path)] for words in COMMANDS if "sweep_lambdas" in words]
    assert main(command) == 0
    assert (tmp_path / "sweep_lambdas/sweep.csv").read_text() == (record / "sweep.csv").read_text()
    with (record / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16
    page = (tmp_path / "sweep_lambdas/sweep.md").read_text()
    for name in ("lambda_k1", "lambda_k2", "lambda_m1", "lambda_m2"):
        values = [[float(row[key]) for row in rows] for key in (f"model.init_args.{name}", "val/pixel_error")]
        rho = f"{stats.spearmanr(*values).statistic:+.2f}"
        assert f"| {name} | {rho} |" in page
        assert f"{rho.replace('-', '−')} ({name[-2:].upper()})" in TEXT
    assert {path.name for path in (tmp_path / "sweep_lambdas").glob("*.png")} == {
        f"{name}.png" for name in re.findall(r"`(\w+)\.png`", TEXT)
    }
    capsys.readouterr()
    assert main([*command, "--best"]) == 0
    best = capsys.readouterr().out
    swept = yaml.safe_load((ROOT / "experiments/tables/plans/swept.yaml").read_text())["rows"]["dife-swept"]
    assert all(f"--{name}={value}" in best for name, value in swept["set"].items())
    assert swept["note"].startswith(f"trial {rows[0]['trial']} of 16")
