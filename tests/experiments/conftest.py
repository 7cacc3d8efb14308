"""Marks the tests as slow that use trainings made for their whole file."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Fixtures that train or test the runs of a table, a demo, a benchmark or a species.
TRAINED = {"bench", "finished", "rehearsed", "result", "world", "drawn", "tested"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and TRAINED & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
