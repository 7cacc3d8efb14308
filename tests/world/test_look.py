"""The look is frozen: generators and teachers were trained on these very pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.world.look import GOLDEN, describe

ADVICE = "the world looks different: undo it, or raise WORLD_VERSION, run `python -m tests.world.look` and train anew"


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found():
    return describe()


def test_the_golden_file_is_of_this_version(golden, found):
    assert found["version"] == golden["version"], ADVICE
    assert list(found["samples"]) == list(golden["samples"])


def test_the_pictures_look_as_they_did(golden, found):
    for name, sample in golden["samples"].items():
        away = np.abs(np.subtract(found["samples"][name]["blocks"], sample["blocks"]))
        assert away.max() < 1.0, f"{name}: {ADVICE}"  # of 255; one pixel of a block that flips moves it by 0.4
        assert away.mean() < 0.2, f"{name}: {ADVICE}"


def test_the_truth_is_as_it_was(golden, found):
    for name, sample in golden["samples"].items():
        now = found["samples"][name]
        np.testing.assert_allclose(now["points"], sample["points"], atol=0.01, err_msg=f"{name}: {ADVICE}")
        away = np.abs(np.subtract(now["uv"], sample["uv"]))
        assert away.max() < 0.01, f"{name}: {ADVICE}"  # one pixel that leaves the mask moves it by up to 0.004
        assert away.mean() < 0.00025, f"{name}: {ADVICE}"
        assert now["visible"] == sample["visible"], f"{name}: {ADVICE}"
        assert now["mask"] == pytest.approx(sample["mask"], abs=0.003), f"{name}: {ADVICE}"
