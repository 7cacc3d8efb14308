from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dife_lightning.data import cache, pairs
from dife_lightning.data.pairs import KeypointPairs, pairs_of
from dife_lightning.data.world import pairs as world_pairs
from dife_lightning.data.world.pairs import WorldPairs
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.faces.batches import PairBatch
from dife_lightning.faces.schemes import to_layout


class Faces:
    """Random faces, each a function of its index; counts how often one was made."""

    made = 0

    def __init__(self, species, split, count, framing="plain", size=64, seed=0):
        self.species, self.split, self.count, self.framing, self.size, self.seed = (
            species,
            split,
            count,
            framing,
            size,
            seed,
        )

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        type(self).made += 1
        text = f"{self.species}{self.split}{index}{self.framing}{self.seed}"
        rng = np.random.default_rng(np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32))
        return {
            "image": rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8),
            "points": (rng.random((9, 2)) * self.size).astype(np.float32),
            "visible": rng.random(9) > 0.2,
            "name": f"{self.species}-{self.split}-{index:06d}",
        }


def make(framing="jittered", size=64, face_size=64) -> KeypointPairs:
    source, target = (Faces(name, "test", 9, framing, face_size, seed) for seed, name in enumerate(("human", "dog")))
    indices = [(0, 5), (3, 2), (7, 8)]
    return KeypointPairs(source, target, indices, pair="human+dog", list_name="long", framing=framing, size=size)


def test_items_pair_the_listed_faces_and_are_visible_in_both():
    sets = make()
    source, target, item = sets.source[3], sets.target[2], sets[1]
    np.testing.assert_array_equal(item.source_image, source["image"])
    np.testing.assert_array_equal(item.target_image, target["image"])
    seen = [to_layout(face["points"], face["visible"], "animalweb-9")[1] for face in (source, target)]
    np.testing.assert_array_equal(item.visible, seen[0] & seen[1])
    assert item.pair_id == "human-test-000003>dog-test-000002"


@pytest.mark.parametrize("ahead", [False, True])
def test_the_first_pairs_of_a_set_are_those_of_the_whole_one(ahead):
    whole = make()
    if ahead:
        whole.prepared = [whole[i] for i in range(3)]
    part = whole.first(2)
    assert (len(part), len(whole), len(whole.first(9))) == (2, 3, 3)
    assert (part.name, part.list_hash) == (whole.name, whole.list_hash)
    (found,), expected = part.loader(4), next(iter(whole.loader(2)))
    assert found.pair_id == expected.pair_id
    assert torch.equal(found.target_image, expected.target_image)


def test_images_are_brought_to_one_size_with_their_points():
    large, item = make(size=32, face_size=64), make(size=64)[0]
    assert large[0].source_image.shape == (32, 32, 3)
    np.testing.assert_allclose(large[0].source_points, (item.source_points + 0.5) / 2 - 0.5, atol=1e-4)


def test_batches_hold_images_in_minus_one_to_one_and_their_numbers():
    batches = list(make().loader(batch_size=2))
    assert [batch.index.tolist() for batch in batches] == [[0, 1], [2]]
    first = batches[0]
    assert first.source_image.shape == (2, 3, 64, 64)
    assert first.source_image.dtype == torch.float32
    expected = make()[1].target_image[10, 20].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(first.target_image[1, :, 10, 20].numpy(), expected, atol=1e-6)
    assert (first.pair, first.framing, first.list_name, first.species) == (
        "human+dog",
        "jittered",
        "long",
        ("human", "dog"),
    )
    assert first.source_points.shape == (2, 12, 2)


def test_workers_do_not_change_the_batches():
    alone, shared = list(make().loader(2)), list(make().loader(2, num_workers=1))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a.source_image, b.source_image)
        assert a.pair_id == b.pair_id


def test_lightning_moves_a_batch():
    from lightning.fabric.utilities import move_data_to_device

    batch = next(iter(make().loader(2)))
    moved = move_data_to_device(batch, torch.device("meta"))
    assert isinstance(moved, PairBatch)
    assert {moved.source_image.device.type, moved.visible.device.type, moved.index.device.type} == {"meta"}
    assert moved.pair_id == batch.pair_id
    assert batch.source_image.device.type == "cpu"


def test_an_empty_list_and_a_foreign_loader_are_refused():
    with pytest.raises(DataError, match="list of human\\+dog is empty"):
        KeypointPairs(Faces("a", "val", 1), Faces("b", "val", 1), [], pair="human+dog", list_name="long")
    with pytest.raises(ConfigError, match="WorldPairs"):
        pairs_of(torch.utils.data.DataLoader([1, 2]))
    assert pairs_of(make().loader(1)).name == "human+dog/long/jittered"


class Animals(Faces):
    """Faces numbered as AP-10K does."""

    def __getitem__(self, index):
        face = super().__getitem__(index)
        return {**face, "points": np.repeat(face["points"], 2, 0)[:17], "visible": np.ones(17, bool)}


def mixed(**options):
    names = {"pair": "human+dog", "list_name": "long"}
    schemes = ("animalweb-9", "ap10k-17")
    return KeypointPairs(
        Faces("human", "test", 9), Animals("dog", "test", 9), [(1, 2)], scheme=schemes, **names, **options
    )


def test_schemes_that_share_one_protocol_are_scored_on_that():
    assert mixed().protocols == ("3-point",)
    assert make().protocols == ("9-point", "3-point")
    with pytest.raises(ConfigError, match="'animalweb-9' and 'ap10k-17' do not both have 9-point; they share 3-point"):
        mixed(protocols=["9-point"])


def test_the_order_of_eyes_is_that_which_was_asked_for():
    animal = Animals("dog", "test", 9)[2]["points"]
    for options, rows in (({}, [1, 0, 2]), ({"eye_order": "stored"}, [0, 1, 2])):
        np.testing.assert_array_equal(mixed(**options)[0].target_points[9:], animal[rows])
    with pytest.raises(ConfigError, match="unknown eye order 'lft'"):
        mixed(eye_order="lft")


def test_raw_sets_cannot_be_scored():
    with pytest.raises(ConfigError, match="'catflw-48' and 'animalweb-9' have no protocol in common"):
        KeypointPairs(
            Faces("a", "val", 1),
            Faces("b", "val", 1),
            [(0, 0)],
            pair="cat+dog",
            list_name="val",
            scheme=("catflw-48", "animalweb-9"),
        )


class Lists(list):
    hash = ""


def fake_pair_list(pair, split, kind, *, seed=None, count=None):
    source, target = pair.split("+")
    count = count or {"paper": 4, "long": 6}[kind]
    entries = Lists((source, (7 * i + (seed or 0)) % 50, target, (3 * i) % 50) for i in range(count))
    entries.hash = hashlib.sha256(repr((split, list(entries))).encode()).hexdigest()
    return entries


@pytest.fixture
def world(monkeypatch, tmp_path):
    import dife_lightning.world as real

    fakes = {"WorldFaces": Faces, "pair_list": fake_pair_list, "WORLD_VERSION": 1}
    for name, value in fakes.items():
        monkeypatch.setattr(real, name, value, raising=False)
    monkeypatch.setattr(real, "list_species", lambda: ["cat", "dog", "human", "wild"], raising=False)
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    Faces.made = 0
    return SimpleNamespace(cache=tmp_path / "cache")


def test_there_is_one_test_set_per_pair_list_and_framing(world):
    data = WorldPairs(["human+dog", "dog+cat"])
    data.setup("test")
    names = [sets.name for sets in data.test_sets]
    assert len(names) == len(set(names)) == 8
    assert "dog+cat/paper/plain" in names
    assert len(data.test_dataloader()) == 8
    assert not data.val_sets


def test_validation_pairs_come_from_the_val_split_only(world):
    data = WorldPairs(val_count=5)
    data.setup("fit")
    assert [sets.name for sets in data.val_sets] == ["human+dog/val/jittered"]
    assert all("-val-" in item.pair_id and "-test-" not in item.pair_id for item in data.val_sets[0].prepared)
    assert not data.test_sets
    data.setup("test")
    assert all("-val-" not in sets[0].pair_id for sets in data.test_sets)


def test_list_hashes_of_both_splits_are_known_without_rendering(world):
    data = WorldPairs(val_count=5)
    hashes = data.list_hashes()
    assert set(hashes["val"]) == {"human+dog/val"}
    assert set(hashes["test"]) == {"human+dog/paper", "human+dog/long"}
    assert Faces.made == 0


def test_a_second_setup_reads_the_cache_and_gives_the_same(world):
    first, second = WorldPairs(lists=["long"]), WorldPairs(lists=["long"])
    first.setup("test")
    made = Faces.made
    second.setup("test")
    assert Faces.made == made > 0
    for a, b in zip(first.test_sets, second.test_sets, strict=True):
        for i in range(len(a)):
            for field in ("source_image", "target_points", "visible"):
                np.testing.assert_array_equal(getattr(a[i], field), getattr(b[i], field))
            assert a[i].pair_id == b[i].pair_id


@pytest.mark.parametrize("damage", ["empty", "foreign", "truncated", "flipped", "method"])
def test_a_damaged_cache_file_is_made_anew(world, damage):
    arguments = {"lists": ["long"], "framings": ["plain"]}
    first = WorldPairs(**arguments)
    first.setup("test")
    (path,) = (world.cache / "pairs").glob("*.npz")
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 99]) + whole[middle + 99 :]
    entry = whole.index(b"PK\x01\x02") + 10  # where the table at the end says how the first array is packed
    method = whole[:entry] + b"\x63" + whole[entry + 1 :]
    damaged = {"empty": b"", "foreign": b"PK\x03\x04 no", "truncated": whole[:middle], "flipped": flipped}
    path.write_bytes({**damaged, "method": method}[damage])
    second = WorldPairs(**arguments)
    second.setup("test")
    np.testing.assert_array_equal(second.test_sets[0][3].source_image, first.test_sets[0][3].source_image)
    assert len(path.read_bytes()) == len(whole)


def test_settings_that_change_the_items_change_the_cache_file(world, monkeypatch):
    import dife_lightning.world as real

    variants = [{}, {"test_seed": 1}, {"count": 3}, {"size": 32}]
    for variant in variants:
        WorldPairs(lists=["long"], framings=["plain"], **variant).setup("test")
    monkeypatch.setattr(real, "WORLD_VERSION", 2)
    WorldPairs(lists=["long"], framings=["plain"]).setup("test")
    assert len(list((world.cache / "pairs").glob("*.npz"))) == len(variants) + 1


def test_a_cache_that_cannot_be_written_costs_time_only(world, monkeypatch):
    world.cache.write_text("a file where the folder should be")
    data = WorldPairs(lists=["long"], framings=["plain"])
    data.setup("test")
    assert len(data.test_sets[0]) == 6


def test_without_a_cache_nothing_is_written(world):
    WorldPairs(lists=["long"], framings=["plain"], cache=False).setup("test")
    assert not world.cache.exists()


def test_a_seed_draws_other_framings_for_source_and_target(world):
    data = WorldPairs(["dog+dog"], lists=["long"], framings=["jittered"], test_seed=4)
    data.setup("test")
    sets = data.test_sets[0]
    assert sets.source.seed != sets.target.seed
    assert {sets.source.seed, sets.target.seed}.isdisjoint({0, 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": ["human-dog"]}, "source first"),
        ({"pairs": ["human+dgo"]}, "Did you mean 'dog'"),
        ({"lists": ["papr"]}, "Did you mean 'paper'"),
        ({"framings": []}, "framings is empty"),
        ({"val_count": 0}, "counts >= 1"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
    ],
)
def test_senseless_settings_are_refused_in_one_line(world, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        WorldPairs(**arguments)
    assert "\n" not in str(caught.value)


def test_modules_import_no_world_before_it_is_needed():
    for module in (pairs, cache, world_pairs):
        assert "world" not in vars(module)
