"""The lists of image pairs: fixed, disjoint, and identified by a hash."""

from __future__ import annotations

import hashlib

import pytest

from dife_lightning.errors import ConfigError
from dife_lightning.world import pair_list

PAPER = {"human+dog": 100, "human+cat": 89, "dog+cat": 89, "human+wild": 47}
#: First eight hexadecimal digits of the published lists' hashes. They may never change: results name them.
PUBLISHED = {
    "human+dog/val/paper": "db8af06c",
    "human+dog/val/long": "50c00a93",
    "human+dog/test/paper": "44515084",
    "human+dog/test/long": "6606aad6",
    "human+cat/val/paper": "4d4d8970",
    "human+cat/val/long": "82137253",
    "human+cat/test/paper": "69ca9b76",
    "human+cat/test/long": "0dea212a",
    "dog+cat/val/paper": "05a59f8e",
    "dog+cat/val/long": "583f7b2c",
    "dog+cat/test/paper": "019a9856",
    "dog+cat/test/long": "9233bc01",
    "human+wild/val/paper": "268d1f65",
    "human+wild/val/long": "12463ee9",
    "human+wild/test/paper": "977b6a0d",
    "human+wild/test/long": "4df2e002",
}


def images(drawn):
    return [name for pair in drawn for name in ((pair[0], pair[1]), (pair[2], pair[3]))]


@pytest.mark.parametrize(("pair", "count"), PAPER.items())
@pytest.mark.parametrize("split", ["val", "test"])
def test_paper_lists_have_the_papers_counts(pair, count, split):
    drawn = pair_list(pair, split, "paper")
    assert len(drawn) == len(list(drawn)) == count
    assert {(entry.source_species, entry.target_species) for entry in drawn} == {tuple(pair.split("+"))}


@pytest.mark.parametrize("pair", [*PAPER, "human+human"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_long_lists_have_a_thousand_pairs_of_two_thousand_images(pair, split):
    drawn = pair_list(pair, split, "long")
    assert len(drawn) == 1000
    assert len(set(images(drawn))) == 2000
    assert len({entry.id for entry in drawn}) == 1000


def test_an_index_stands_once_in_a_list_even_across_species():
    drawn = pair_list("human+dog", "test", "long")
    assert len({index for _, index in images(drawn)}) == 2000


def test_lists_of_val_and_test_share_no_image():
    val, test = (pair_list("human+cat", split, "long") for split in ("val", "test"))
    assert (val.split, test.split) == ("val", "test")
    assert not {(val.split, *name) for name in images(val)} & {(test.split, *name) for name in images(test)}
    assert val.hash != test.hash


@pytest.mark.parametrize(("name", "digits"), PUBLISHED.items())
def test_the_published_lists_never_change(name, digits):
    assert pair_list(*name.split("/")).hash[:8] == digits


def test_a_seed_or_a_count_gives_another_list():
    lists = [
        pair_list("human+dog", "test", "long"),
        *(pair_list("human+dog", "test", "long", seed=seed) for seed in (0, 1, 2, 2**32, 2**40)),
        pair_list("human+dog", "test", "long", count=999),
        pair_list("human+dog", "test", "paper"),
        pair_list("human+cat", "test", "long"),
        pair_list("human+dog", "val", "long"),
    ]
    assert len({drawn.hash for drawn in lists}) == len(lists)
    assert len(lists[-4]) == 999
    assert lists[1] == pair_list("human+dog", "test", "long", seed=0)


def test_the_hash_is_that_of_split_and_pairs():
    drawn = pair_list("dog+cat", "test", "paper", seed=3, count=2)
    text = '["test",[' + ",".join(f'["dog",{a},"cat",{b}]' for _, a, _, b in drawn) + "]]"
    assert drawn.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("human-dog", "test", "paper"), {}, r"expected two species like 'human\+dog'.*Did you mean 'human\+dog'"),
        (("human+dgo", "test", "paper"), {}, r"no species 'dgo'.*Did you mean 'dog'"),
        (("human+dog", "tset", "paper"), {}, r"split 'tset' is unknown.*Did you mean 'test'"),
        (("human+dog", "test", "papers"), {}, r"pair list 'papers' is unknown.*Did you mean 'paper'"),
        (("human+dog", "test", "long"), {"count": 0}, "count is 0; expected at least 1 and at most 100000"),
        (("human+dog", "test", "long"), {"count": 100_001}, "count is 100001; expected at least 1 and at most 100000"),
        (("human+dog", "test", "long"), {"seed": -1}, "seed is -1; expected at least 0"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(arguments, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        pair_list(*arguments, **options)
    assert "\n" not in str(caught.value)
