from __future__ import annotations

import csv
import io
import shlex

import numpy as np
import pytest
from rich.console import Console

from dife_lightning.sweeps.heatmap import heatmap
from dife_lightning.sweeps.palette import objective_scale, ticks, value_ticks
from dife_lightning.sweeps.pictures import parallel
from dife_lightning.sweeps.records import SweepFolder, Trial
from dife_lightning.sweeps.report import print_table, winner_command, write_report
from dife_lightning.sweeps.space import parse_parameter
from dife_lightning.viz.sheet import pixels
from tests.sweeps.fakes import LAMBDA, sweep_of

TWO = sweep_of({"model.lambda_m1": LAMBDA, "model.weights": {"values": ["dve", "flat", "[1, 2]"]}})
MAXIMISED = {"metric": {"name": "val/pck", "goal": "maximize"}}


def trials(objectives=(6.5, 5.25, 7.0)) -> list[Trial]:
    values = zip((0.05, 0.1, 0.5), ("dve", "flat", "[1, 2]"), objectives, strict=True)
    found = [
        Trial(n, {"model.lambda_m1": a, "model.weights": b}, "done", c, 100 * n + 99, 60.4)
        for n, (a, b, c) in enumerate(values)
    ]
    return [*found, Trial(3, dict(found[0].parameters), "failed", exit_code=1, message="loss is NaN | step 3")]


def test_the_csv_has_all_trials_the_best_first(tmp_path):
    write_report(TWO, SweepFolder(tmp_path), trials())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "sweep.csv").read_text())))
    assert [row["trial"] for row in rows] == ["1", "0", "2", "3"]
    assert rows[0] == {
        "trial": "1", "state": "done", "val/pixel_error": "5.25", "step": "199", "seconds": "60.4",
        "model.lambda_m1": "0.1", "model.weights": "flat", "message": "",
    }  # fmt: skip
    assert (rows[3]["state"], rows[3]["val/pixel_error"], rows[3]["message"]) == ("failed", "", "loss is NaN | step 3")


def test_the_page_has_the_winner_the_table_the_pictures_and_the_failures(tmp_path):
    written = write_report(TWO, SweepFolder(tmp_path), trials(), ["--trainer.max_steps=5"])
    assert [path.name for path in written] == ["sweep.csv", "sweep.md", "parallel.png", "heatmap.png"]
    text = (tmp_path / "sweep.md").read_text()
    lines = text.splitlines()
    command = lines[lines.index("```sh") + 1]
    assert shlex.split(command) == [
        "dife", "fit", "--model.lambda_m1=0.1", "--model.weights=flat", "--trainer.max_steps=5",
    ]  # fmt: skip
    assert "3 of 4 trials; `val/pixel_error`, best over a run's validations, lower is better" in text
    assert "| 1 | 0.1 | flat | 5.25 | 199 | 60 s |" in lines
    assert "- trial 3 failed: loss is NaN | step 3" in lines
    for path in written[2:]:
        assert f"({path.name})" in text
        assert path.read_bytes()[1:4] == b"PNG"


def test_the_command_of_the_winner_can_be_typed():
    best = Trial(0, {"a": [1, 2], "b": "two words"}, "done", 1.0)
    sweep = sweep_of({"a": {"value": [1, 2]}, "b": {"value": "two words"}})
    assert winner_command(sweep, best) == "dife fit '--a=[1, 2]' '--b=two words'"


def test_the_table_on_the_screen_has_the_best_first():
    output = io.StringIO()
    print_table(TWO, trials(), Console(file=output, width=120))
    rows = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1", "0", "2", "3"]
    assert "failed" in rows[3]


def test_a_sweep_in_which_nothing_varies_has_no_picture(tmp_path):
    sweep = sweep_of({"a": {"value": 1}})
    assert len(write_report(sweep, SweepFolder(tmp_path), [Trial(0, {"a": 1}, "done", 1.0)])) == 2


def count_of(picture, color, within=12) -> int:
    wanted = np.array(color[:3]) * 255
    return int((np.abs(picture.astype(float) - wanted).max(-1) < within).sum())


@pytest.mark.parametrize("more", [{}, MAXIMISED])
def test_the_best_line_is_the_thickest_in_the_colour_of_the_best(more):
    sweep = sweep_of({"model.lambda_m1": LAMBDA, "model.weights": {"values": ["dve", "flat", "[1, 2]"]}}, **more)
    drawn = pixels(parallel(sweep, trials()))
    scale = objective_scale(sweep, [6.5, 5.25, 7.0])
    best, worst = (7.0, 5.25) if more else (5.25, 7.0)
    strip = drawn[:, int(drawn.shape[1] * 0.75) :]  # the colours of the last axis are in both counts
    assert scale.color(best) == objective_scale(TWO, [5.25, 7.0]).color(5.25)
    assert count_of(drawn, scale.color(best)) - count_of(strip, scale.color(best)) > 2 * (
        count_of(drawn, scale.color(worst)) - count_of(strip, scale.color(worst))
    )


def test_a_failed_trial_is_not_drawn():
    np.testing.assert_array_equal(pixels(parallel(TWO, trials())), pixels(parallel(TWO, trials()[:3])))


def test_the_cells_of_a_grid_have_the_colour_of_their_mean():
    sweep = sweep_of({"a": {"values": [1, 2]}, "b": {"values": ["x", "y"]}, "seed": {"values": [0]}}, "grid")
    reached = {(1, "x"): 5.0, (2, "x"): 6.0, (1, "y"): 7.0}
    found = [Trial(n, {"a": a, "b": b, "seed": 0}, "done", v) for n, ((a, b), v) in enumerate(reached.items())]
    drawn = pixels(heatmap(sweep, found))
    scale = objective_scale(sweep, list(reached.values()))
    height, width = drawn.shape[:2]
    for (a, b), value in reached.items():  # a across, b upwards; a little beside the number in the middle
        x, y = (
            int(width * (0.14 + 0.8 * (0.25 + 0.5 * (a - 1)))),
            int(height * (0.15 + 0.735 * (0.75 - 0.5 * (b == "y")))),
        )
        np.testing.assert_allclose(drawn[y + 40, x], np.array(scale.color(value)[:3]) * 255, atol=2)


def test_a_map_is_drawn_where_a_parameter_is_a_range():
    one, other = (pixels(heatmap(TWO, trials(objectives))) for objectives in ((6.5, 5.25, 7.0), (5.25, 6.5, 7.0)))
    assert one.shape == other.shape
    assert (one != other).any(-1).mean() > 0.05


def test_one_trial_that_went_wrong_does_not_press_the_others_together():
    scale = objective_scale(TWO, [5.0, 5.1, 5.2, 5.3, 90.0])
    assert (scale.low, scale.high) == (5.0, pytest.approx(5.8))
    assert scale.unit(90.0) == 1.0
    assert scale.beyond([5.0, 90.0]) == 1
    up = objective_scale(sweep_of({"a": LAMBDA}, **MAXIMISED), [0.9, 0.88, 0.86, 0.1])
    assert (up.low, up.high, up.best_is_low) == (pytest.approx(0.78), 0.9, False)
    assert up.beyond([0.9, 0.1]) == 1
    assert objective_scale(TWO, [5.0]).unit(5.0) == 0.0


def test_ticks_are_round_numbers_inside_the_range():
    log = ticks(parse_parameter("a", {**LAMBDA, "min": 0.015, "max": 1.5}))
    assert [tick.label for tick in log] == ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]
    assert log[2].at == pytest.approx(np.log(0.1 / 0.015) / np.log(100))
    wide = [tick.label for tick in ticks(parse_parameter("a", {**LAMBDA, "min": 1.0e-4, "max": 10}))]
    assert wide == ["0.0001", "0.001", "0.01", "0.1", "1", "10"]
    assert [tick.label for tick in ticks(parse_parameter("a", {"min": 1, "max": 4}))] == ["1", "2", "3", "4"]
    assert all(0 <= tick.at <= 1 for tick in value_ticks(5.13, 5.17))
    assert [tick.label for tick in ticks(parse_parameter("a", {"values": [None, "a" * 20]}))] == [
        "null",
        "a" * 13 + "…",
    ]
