"""Files of annotation tools in which any value is another one end in an error of one line, never in a traceback."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import DifeError
from tests.datasets.labelled import put

OTHERS = (None, True, -1, float("inf"), "", "x", [], {}, [[1]], {"a": 1})
FILES: dict[str, Any] = {
    "labelme": {
        "shapes": [
            {"label": "nose", "points": [[1, 2]], "group_id": 1, "shape_type": "point", "flags": {}},
            {"label": "cat", "points": [[1, 2], [3, 4]], "group_id": 1, "shape_type": "rectangle", "flags": {}},
        ],
        "imagePath": "a.png", "imageWidth": 50, "imageHeight": 40,
    },
    "label-studio": [{
        "id": 1, "data": {"img": "a.png"}, "annotations": [{"result": [
            {"type": "keypointlabels", "original_width": 50, "original_height": 40, "parentID": "r",
             "value": {"x": 1, "y": 2, "keypointlabels": ["nose"]}},
            {"type": "rectanglelabels", "id": "r", "original_width": 50, "original_height": 40,
             "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["cat"]}},
        ]}],
    }],
    "via": {"a": {"filename": "a.png", "regions": [
        {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"landmark": "nose"}},
        {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}, "region_attributes": {}},
    ]}},
}  # fmt: skip


def places(content: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield from places(content[key], (*path, key))


def with_other(content: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    found = copy.deepcopy(content)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


@pytest.mark.parametrize("reader", FILES)
def test_every_value_may_be_another_one(reader, root):
    (root / "b.png").unlink()
    read, refused = 0, []
    for path in places(FILES[reader]):
        for value in OTHERS:
            put(root / "a.json", with_other(FILES[reader], path, value))
            try:
                list(load_dataset(reader, root).annotations)
                read += 1
            except DifeError as error:
                refused.append(str(error))
    assert min(read, len(refused)) > 10
    assert not [text for text in refused if "\n" in text]
