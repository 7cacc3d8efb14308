from __future__ import annotations

import numpy as np
import pytest

from dife_lightning import load_dataset
from dife_lightning.errors import ConfigError
from dife_lightning.faces.schemes import get_scheme
from dife_lightning.registry import get_dataset

SMALL = {"species": "dog", "split": "val", "count": 3, "framing": "jittered"}


def test_the_world_hands_out_faces_of_its_scheme():
    dataset = get_dataset("world")(**SMALL)
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


def test_a_render_is_a_function_of_its_number():
    first, second = (get_dataset("world")(**SMALL)[2] for _ in range(2))
    assert np.array_equal(first["image"], second["image"])
    assert np.array_equal(first["points"], second["points"])


def test_who_loads_the_world_from_a_folder_is_told_how_it_is_made(tmp_path):
    with pytest.raises(ConfigError, match=r"rendered, not read.*get_dataset\('world'\)\(species"):
        load_dataset("world", tmp_path, species="dog")
