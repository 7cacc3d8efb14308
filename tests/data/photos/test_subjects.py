"""Validation and test share no animal or person, where a data set says who is in a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dife_lightning import load_dataset
from dife_lightning.data.photos.face_pairs import FacePairs
from dife_lightning.data.photos.pair_draws import draw_pair_list, usable_faces
from dife_lightning.errors import ConfigError, DataError
from dife_lightning.geometry.crops import CropOptions
from tests.datasets.layouts import draw_face, write_catflw
from tests.fake_faces import FakeFaces, make_faces

DOMAINS = {name: {"dataset": name, "root": "."} for name in ("people", "cats")}


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeFaces]:
    """60 pictures of 60 people, and 60 pictures of 20 cats, three of each."""
    monkeypatch.setenv("DIFE_CACHE", str(tmp_path / "cache"))
    found = {name: make_faces(tmp_path, 60, name=name) for name in DOMAINS}
    faces = found["cats"]
    known = [
        replace(face, subject=f"cat {i // 3}", group=f"litter {i // 6}") for i, face in enumerate(faces.annotations)
    ]
    found["cats"] = FakeFaces("cats", faces.scheme, known)
    monkeypatch.setattr(
        "dife_lightning.data.photos.face_domains.load_dataset", lambda name, root, **options: found[name]
    )
    return found


def cats_of(data: FacePairs, readers: dict[str, FakeFaces], width: int) -> tuple[set[int], set[int]]:
    """Return the numbers of the cats (or litters) in the validation and in the test list."""
    val, test = (data.lists.of(split)["people+cats"] for split in ("val", "test"))
    numbers = [{int(name) // width for _, name in found.pairs} for found in (val, test)]
    return numbers[0], numbers[1]


@pytest.mark.parametrize(("apart", "width"), [("subject", 3), ("group", 6)])
def test_validation_and_test_share_no_subject_or_group(apart, width, readers):
    data = FacePairs(DOMAINS, ["people+cats"], count=10, val_count=50, keep_apart=apart)  # type: ignore[arg-type]
    val, test = cats_of(data, readers, width)
    assert val
    assert val.isdisjoint(test)
    shared = FacePairs(DOMAINS, ["people+cats"], count=10, val_count=50, keep_apart="picture")  # type: ignore[arg-type]
    val, test = cats_of(shared, readers, width)
    assert val & test, "by pictures alone the same cats are on both sides"


def test_a_result_says_by_what_faces_were_kept_apart(readers):
    data = FacePairs(DOMAINS, ["people+cats"], count=10)  # type: ignore[arg-type]
    data.lists.of("test")
    found = {name: domain["faces"]["test"] for name, domain in data.describe()["domains"].items()}
    assert (found["cats"]["kept_apart_by"], found["cats"]["subjects"]) == ("subject", 20)
    assert found["people"]["kept_apart_by"] == "picture"
    assert "subjects" not in found["people"]
    assert "60 faces of cats, 60 usable of 20 subjects" in data.lists.summary(data.lists.of("test")["people+cats"])


def test_given_lists_that_share_a_subject_are_refused(readers, tmp_path):
    (tmp_path / "test.json").write_text('{"pairs": [["0000", "0000"]]}')
    (tmp_path / "val.json").write_text('{"pairs": [["0001", "0002"]]}')
    lists = {f"{split}_lists": {"people+cats": str(tmp_path / f"{split}.json")} for split in ("test", "val")}
    with pytest.raises(
        DataError, match=r"share 1 pictures or subjects, for example subject cat 0 of cats; .*keep_apart"
    ):
        FacePairs(DOMAINS, ["people+cats"], **lists).lists.of("val")  # type: ignore[arg-type]
    FacePairs(DOMAINS, ["people+cats"], **lists, keep_apart="picture").lists.of("val")  # type: ignore[arg-type]


def test_no_subject_is_on_both_sides_of_pairs_within_a_domain(readers):
    usable = usable_faces(readers["cats"], "3-point", CropOptions())
    found = draw_pair_list("cats+cats", "test", usable, usable, 5)
    sides = [{int(name) // 3 for name in names} for names in zip(*found.pairs, strict=True)]
    assert sides[0].isdisjoint(sides[1])


def test_an_unknown_choice_is_refused(readers):
    with pytest.raises(ConfigError, match="keep_apart 'cat' is unknown"):
        FacePairs(DOMAINS, ["people+cats"], keep_apart="cat")  # type: ignore[arg-type]


def test_catflw_states_the_cat_in_the_names_of_its_files(tmp_path):
    write_catflw(tmp_path, [draw_face("catflw-48", i) for i in range(3)])
    for folder, suffix in (("images", ".png"), ("labels", ".json")):
        (tmp_path / folder / f"00000002_000{suffix}").rename(tmp_path / folder / f"00000001_001{suffix}")
    found = {Path(face.image).stem: face.subject for face in load_dataset("catflw", tmp_path).annotations}
    assert found == {"00000000_000": "00000000", "00000001_000": "00000001", "00000001_001": "00000001"}
