from __future__ import annotations

import numpy as np
import pytest

from dife_lightning.registry import get_dataset, list_datasets
from dife_lightning.schemes import get_scheme

#: How a small instance of each registered reader is made.
SMALL = {"world": {"species": "dog", "split": "val", "count": 3, "framing": "jittered"}}


@pytest.mark.parametrize("name", list_datasets())
def test_every_dataset_hands_out_faces_of_its_scheme(name: str) -> None:
    dataset = get_dataset(name)(**SMALL[name])
    names = set()
    for i in range(len(dataset)):
        face = dataset[i]
        height, width, channels = face["image"].shape
        assert channels == 3
        assert face["image"].dtype == np.uint8
        assert face["points"].shape == (len(get_scheme(dataset.scheme).landmarks), 2)
        assert face["points"].dtype == np.float32
        assert face["visible"].shape == face["points"].shape[:1]
        seen = face["points"][face["visible"]]
        assert (seen > -0.5).all()
        assert (seen < [width - 0.5, height - 0.5]).all()
        names.add(face["name"])
    assert len(names) == len(dataset)


@pytest.mark.parametrize("name", list_datasets())
def test_an_item_is_a_function_of_its_number(name: str) -> None:
    first, second = (get_dataset(name)(**SMALL[name])[2] for _ in range(2))
    assert np.array_equal(first["image"], second["image"])
    assert np.array_equal(first["points"], second["points"])
