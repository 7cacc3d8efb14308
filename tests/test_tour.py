"""The notebook of the documentation runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest

TOUR = Path(__file__).parents[1] / "docs/tour.ipynb"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, list]:
    """Run all cells in one namespace; returns it, and the value that each code cell shows."""
    names: dict = {}
    values = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("tour"))
        for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                values.append(run_cell("".join(cell["source"]), names))
                getattr(values[-1], "load", lambda: None)()  # a picture, before its file is gone
    return names, values


def run_cell(source: str, names: dict) -> object:
    """Run a cell; return the value of its last line, if that is an expression, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(TOUR), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(TOUR), "eval"), names) if last is not None else None


def test_the_cat_has_eyes_and_nose_where_the_tour_finds_them(shown):
    """By eye, in chelsea: the eyes are at (171, 115) and (318, 137), the nose at (265, 245)."""
    names, _ = shown
    for points in (names["points"], names["face"].points):
        np.testing.assert_allclose(points, [[171, 115], [318, 137], [265, 245]], atol=35)
    assert names["face"].matched.all()
    assert names["found"].matched.mean() > 0.3


def test_pictures_are_shown(shown):
    names, values = shown
    pictures = [value for value in values if hasattr(value, "size") and hasattr(value, "save")]
    assert len(pictures) == 3
    assert pictures[-1].size == (names["cat"].shape[1], names["cat"].shape[0])
    assert names["labels"].shape == (2, 256, 256)
    assert names["placed"].support > 0.5


def test_no_output_is_stored():
    cells = [cell for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
