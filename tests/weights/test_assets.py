from __future__ import annotations

import json

import pytest

from dife_lightning.errors import AssetError
from dife_lightning.weights import assets
from dife_lightning.weights.assets import (
    asset_notice,
    asset_terms,
    check_terms,
    find_asset,
    list_assets,
    register_asset,
)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "shelf")
    source = tmp_path / "trained.safetensors"
    source.write_bytes(b"weights")
    return source


def test_a_registered_asset_is_found_by_name(shelf):
    register_asset("world/dog", shelf, "generator", seed=3)
    path = find_asset("world/dog")
    assert path.read_bytes() == b"weights"
    assert path.name == "world-dog.safetensors"
    entry = list_assets()["world/dog"]
    assert (entry["kind"], entry["seed"], entry["bytes"]) == ("generator", 3, 7)


def test_an_altered_file_is_refused_even_if_it_was_good_before(shelf):
    path = register_asset("world/dog", shelf, "generator")
    find_asset("world/dog")
    path.write_bytes(b"weighty")
    with pytest.raises(AssetError, match=r"sha256 .* expected .* `make world`"):
        find_asset("world/dog")


def test_a_missing_file_is_named(shelf):
    register_asset("world/dog", shelf, "generator").unlink()
    with pytest.raises(AssetError, match="is missing"):
        find_asset("world/dog")


def test_an_unknown_name_gets_the_closest_and_the_list(shelf):
    register_asset("world/dog", shelf, "generator")
    register_asset("world/human", shelf, "generator")
    with pytest.raises(AssetError, match=r"Did you mean 'world/dog'\? Known: world/dog, world/human"):
        find_asset("world/dogs")


def test_a_path_of_ones_own_is_returned_as_it_is(shelf):
    assert find_asset(shelf) == shelf
    assert find_asset(str(shelf)) == shelf


def test_registering_again_replaces_the_file_and_keeps_the_others(shelf):
    register_asset("world/dog", shelf, "generator")
    register_asset("world/teacher", shelf, "teacher")
    shelf.write_bytes(b"better weights")
    register_asset("world/dog", shelf, "generator")
    assert find_asset("world/dog").read_bytes() == b"better weights"
    assert list(list_assets()) == ["world/dog", "world/teacher"]


def test_other_weights_of_a_name_have_a_higher_version(shelf):
    def versions():
        return {name: entry["version"] for name, entry in list_assets().items()}

    register_asset("world/dog", shelf, "generator")
    register_asset("world/dog", shelf, "generator", seed=3)  # the same weights
    assert versions() == {"world/dog": 1}
    shelf.write_bytes(b"better weights")
    register_asset("world/dog", shelf, "generator")
    register_asset("world/human", shelf, "generator")
    assert versions() == {"world/dog": 2, "world/human": 1}


def test_a_record_without_a_version_is_the_first_one(shelf):
    register_asset("world/dog", shelf, "generator")
    entries = list_assets()
    del entries["world/dog"]["version"]
    (assets.FOLDER / "manifest.json").write_text(json.dumps(entries))
    shelf.write_bytes(b"better weights")
    register_asset("world/dog", shelf, "generator")
    assert list_assets()["world/dog"]["version"] == 2


def test_registering_nothing_is_an_error(shelf):
    with pytest.raises(AssetError, match="no file"):
        register_asset("world/dog", shelf.with_name("none"), "generator")


def test_a_broken_manifest_is_named(shelf):
    register_asset("world/dog", shelf, "generator")
    (assets.FOLDER / "manifest.json").write_text("{")
    with pytest.raises(AssetError, match="not valid JSON"):
        list_assets()


def test_an_asset_trained_on_photographs_is_refused_without_terms_data_and_notice(shelf):
    card = shelf.with_name("card.md")
    card.write_text("Trained on faces of others.\n")
    for given, missing in (
        ({}, "terms, data, notice"),
        ({"terms": "research", "notice": card}, "data"),
        ({"data": ["AFHQ"], "notice": card}, "terms"),
        ({"data": ["AFHQ"], "terms": "research"}, "notice"),
    ):
        with pytest.raises(AssetError, match=f"asset 'photos/dog' has no {missing};"):
            register_asset("photos/dog", shelf, "generator", **given)
    assert list_assets() == {}
    register_asset("photos/dog", shelf, "generator", terms="research", data=["AFHQ"], notice=card)
    assert asset_terms("photos/dog") == "research"
    assert asset_notice("photos/dog") == "Trained on faces of others.\n"
    assert (assets.FOLDER / "photos-dog.md").is_file()


def test_assets_of_the_world_have_the_licence_of_the_code(shelf):
    register_asset("world/dog", shelf, "generator")
    assert (asset_terms("world/dog"), asset_notice("world/dog")) == ("Apache-2.0", "")


def test_a_notice_that_was_lost_is_named(shelf):
    register_asset("world/dog", shelf, "generator", notice=shelf)
    (assets.FOLDER / "world-dog.md").unlink()
    with pytest.raises(AssetError, match=r"'world/dog': its notice .*world-dog.md is missing"):
        asset_notice("world/dog")


def test_every_shipped_asset_states_its_terms():
    for name, entry in list_assets().items():
        check_terms(name, entry)
        assert asset_terms(name) != "not stated"
        asset_notice(name)


def test_every_shipped_asset_has_the_recorded_hash_and_the_package_stays_small():
    manifest = assets.FOLDER / "manifest.json"
    recorded = json.loads(manifest.read_text()) if manifest.exists() else {}
    assert list_assets() == recorded
    for name in recorded:
        assert find_asset(name).is_file()
    stray = {path.name for path in assets.FOLDER.iterdir() if path.suffix in (".safetensors", ".ckpt")} - {
        entry["file"] for entry in recorded.values()
    }
    assert not stray
    assert sum(path.stat().st_size for path in assets.FOLDER.rglob("*") if path.is_file()) < 40e6
