"""What a sample is: a pure function of its name, whatever the size and framing."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world import Framing, landmarks_only, render, render_image
from dife_lightning.world.scene.factors import sample_rng
from tests.world.samples import JITTER, SPECIES, same, sample


@pytest.mark.parametrize("species", SPECIES)
def test_the_same_arguments_give_the_same_bytes(species):
    first = sample(species, 3)
    random.seed(1), np.random.seed(1)
    render("human", "train", 0, framing=JITTER)
    assert same(render(species, "val", 3), first)


def test_the_global_random_numbers_are_left_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    render("dog", "val", 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("species", SPECIES)
def test_shapes_types_and_ranges_are_as_documented(species):
    one = sample(species, 1, size=48)
    assert (one.image.shape, one.image.dtype) == ((48, 48, 3), np.uint8)
    assert (one.points.shape, one.points.dtype) == ((9, 2), np.float32)
    assert (one.visible.shape, one.visible.dtype) == ((9,), np.bool_)
    assert (one.mask.shape, one.mask.dtype) == ((48, 48), np.bool_)
    assert (one.uv.shape, one.uv.dtype) == ((48, 48, 2), np.float32)
    assert (one.species, one.split, one.index) == (species, "val", 1)
    assert np.all(np.abs(one.pose) <= (35, 18, 10))
    assert 0 <= one.mouth_open <= 1
    assert np.isfinite(one.points).all()
    assert one.image.std() > 10


@pytest.mark.parametrize("species", SPECIES)
def test_size_changes_neither_the_individual_nor_its_place(species):
    small, large = sample(species, 2, size=48), sample(species, 2, size=96)
    assert small.pose == large.pose
    assert small.mouth_open == large.mouth_open
    np.testing.assert_allclose((small.points + 0.5) * 2 - 0.5, large.points, atol=1e-3)
    halved = large.image.reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(halved - small.image).mean() < 4  # a random other dog is about 60 away


def test_framing_changes_neither_pose_nor_expression():
    plain, framed = sample("cat", 4), sample("cat", 4, framing=JITTER)
    assert (plain.pose, plain.mouth_open) == (framed.pose, framed.mouth_open)


def test_the_neutral_framing_is_the_default():
    assert same(render("wild", "test", 7, framing=Framing()), sample("wild", 7, split="test"))


def test_the_fast_functions_agree_with_render():
    one = sample("human", 5, framing=JITTER)
    points, visible = landmarks_only("human", "val", 5, framing=JITTER)
    np.testing.assert_array_equal(points, one.points)
    np.testing.assert_array_equal(visible, one.visible)
    np.testing.assert_array_equal(render_image("human", "val", 5), sample("human", 5).image)


def test_splits_species_and_indices_share_no_random_stream():
    names = list(product([*SPECIES, "unknown"], ("train", "val", "test"), [*range(40), 10**6, 2**32, 2**40]))
    starts = {tuple(sample_rng(*name).integers(0, 2**62, 3).tolist()) for name in names}
    assert len(starts) == len(names)


@pytest.mark.parametrize("species", SPECIES)
def test_pictures_of_different_splits_differ(species):
    images = [render_image(species, split, index, size=16) for split in ("train", "val", "test") for index in range(4)]
    assert min(np.abs(a - b.astype(float)).mean() for i, a in enumerate(images) for b in images[:i]) > 8


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("dgo", "val", 0), {}, r"no species 'dgo'.*Did you mean 'dog'\?"),
        (("dog", "vall", 0), {}, r"split 'vall' is unknown.*Did you mean 'val'\?"),
        (("dog", "val", -1), {}, "index is -1; expected at least 0"),
        (("dog", "val", 0), {"size": 7}, "size is 7; expected at least 8"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(arguments, options, message):
    for function in (render, render_image, landmarks_only):
        with pytest.raises(ConfigError, match=message) as caught:
            function(*arguments, **options)
        assert "\n" not in str(caught.value)
