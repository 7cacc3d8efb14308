from __future__ import annotations

import hashlib

import pytest

from dife_lightning.errors import ConfigError, DataError
from dife_lightning.mining.leaks import check_pool, content_hashes


def faces(**contents: str) -> dict[str, str]:
    """Name -> hash of a content."""
    return {name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()}


POOL = faces(a="1", b="2", c="3", d="4", e="4")
TEST = faces(b="other", x="4", y="9")  # b has the name of a test face; d and e have the content of one


def test_test_faces_are_removed_by_name_and_by_content_and_counted_in_one_line():
    checked = check_pool(POOL, TEST)
    assert checked.names == ("a", "c")
    assert (checked.by_name, checked.by_content) == (("b",), ("d", "e"))
    assert str(checked) == "unlabelled pool: 2 faces; 3 test faces (1 by name, 2 by content) removed"
    assert not checked.transductive
    assert checked.facts() == {
        "pool": 2,
        "test_by_name": 1,
        "test_by_content": 2,
        "unlabelled": "train_only",
        "transductive": False,
    }


def test_a_face_that_is_both_is_counted_once():
    checked = check_pool(faces(a="1", b="2"), faces(b="2"))
    assert (checked.names, checked.by_name, checked.by_content) == (("a",), ("b",), ())


def test_all_keeps_test_faces_and_says_so():
    checked = check_pool(POOL, TEST, "all", refuse=True)
    assert checked.names == tuple(POOL)
    assert checked.transductive
    assert checked.facts()["transductive"] is True
    assert str(checked) == (
        "unlabelled pool: all 5 faces, 3 test faces (1 by name, 2 by content) among them: transductive"
    )


def test_all_without_a_test_face_is_not_transductive():
    checked = check_pool(POOL, faces(x="9"), "all")
    assert not checked.transductive
    assert str(checked).endswith("0 test faces (0 by name, 0 by content) among them: not transductive")


def test_test_faces_can_be_refused():
    assert check_pool(POOL, faces(x="9"), refuse=True).names == tuple(POOL)
    with pytest.raises(DataError, match="3 test faces in the unlabelled pool: b, d, e; remove them, or set unlabelled"):
        check_pool(POOL, TEST, refuse=True)


def test_a_pool_of_test_faces_alone_and_what_is_no_hash_are_refused():
    with pytest.raises(DataError, match="no unlabelled face: 5 given, 5 of them test faces"):
        check_pool(POOL, POOL)
    with pytest.raises(DataError, match="face 'a': 'ABC' is no SHA-256"):
        check_pool({"a": "ABC"}, TEST)
    with pytest.raises(DataError, match="face 'x': '' is no SHA-256"):
        check_pool(POOL, {"x": ""})
    with pytest.raises(ConfigError, match="unlabelled 'none' is unknown"):
        check_pool(POOL, TEST, "none")


def test_hashes_are_those_of_the_files_content(tmp_path):
    for name, content in (("one.jpg", b"1"), ("copy.jpg", b"1"), ("other.jpg", b"2")):
        (tmp_path / name).write_bytes(content)
    found = content_hashes({"face 0": tmp_path / "one.jpg", "face 1": tmp_path / "one.jpg"})
    assert found == dict.fromkeys(["face 0", "face 1"], hashlib.sha256(b"1").hexdigest())
    renamed = check_pool(
        content_hashes({name: tmp_path / name for name in ("copy.jpg", "other.jpg")}), {"test/1": found["face 0"]}
    )
    assert renamed.names == ("other.jpg",)
    with pytest.raises(DataError, match=r"face 'b': .*gone.jpg cannot be read \(No such file or directory\)"):
        content_hashes({"b": tmp_path / "gone.jpg"})
