"""Marks the tests as slow that use trainings made for their whole file, and makes mean shapes quick."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dife_lightning.methods.mean_shape import _mean_layout
from dife_lightning.world import mean_shape

#: Fixtures that train or test the runs of a table, a demo, a benchmark or a species.
TRAINED = {"bench", "finished", "rehearsed", "result", "world", "drawn", "tested"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and TRAINED & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _quick_mean_shapes() -> Iterator[None]:
    """Take mean shapes of 20 faces: tables need a row of them, and tests/world/test_dataset.py checks the value."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mean_shape, "__defaults__", (20,))
        _mean_layout.cache_clear()
        yield
    _mean_layout.cache_clear()
