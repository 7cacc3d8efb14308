"""Names of a user's own files, wherever a generator or embedder is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dife_lightning import load_dataset, load_embedder, load_generator
from dife_lightning.cli.main import main
from dife_lightning.errors import AssetError
from dife_lightning.weights.assets import find_asset
from dife_lightning.weights.user_paths import list_own_files, user_path
from tests.datasets.layouts import draw_face, write_animalweb
from tests.tiny import write_generator, write_teacher


def test_names_stand_for_files_beside_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    write_generator(tmp_path / "data/g.safetensors")
    write_teacher(tmp_path / "t.safetensors")
    (tmp_path / "paths.yaml").write_text(f"dog: data/g.safetensors  # relative\ncse: {tmp_path}/t.safetensors\n")
    monkeypatch.chdir(tmp_path)
    assert find_asset("own/dog") == tmp_path / "data/g.safetensors"
    assert load_generator("own/dog") is load_generator(tmp_path / "data/g.safetensors")
    assert load_embedder("own/cse").dim == 8
    monkeypatch.chdir(tmp_path / "data")
    assert list_own_files() == {}
    monkeypatch.setenv("DIFE_PATHS", str(tmp_path / "paths.yaml"))
    assert load_generator("own/dog").resolution == 32


def test_a_data_set_is_found_by_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_animalweb(tmp_path / "elsewhere", [draw_face("animalweb-9", seed) for seed in range(3)])
    (tmp_path / "paths.yaml").write_text("animalweb: elsewhere\n")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("animalweb", "own/animalweb")) == 3


def test_folders_in_an_entry_are_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("all/faces/dog", "cats"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "paths.yaml").write_text("photos: all\nphotos/faces/cat: cats\n")
    monkeypatch.chdir(tmp_path)
    assert user_path("own/photos/faces/dog") == tmp_path / "all/faces/dog"
    assert user_path("own/photos/faces/cat") == tmp_path / "cats"
    assert user_path("here/there") == Path("here/there")
    with pytest.raises(
        AssetError, match=r"'own/photos/faces/fox' is .*all/faces/fox, which does not exist; fix entry `photos`"
    ):
        user_path("own/photos/faces/fox")


def test_what_is_missing_is_said_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match=r"no entry for 'own/ffhq'; add a line `ffhq: PATH` to paths.yaml"):
        load_generator("own/ffhq")
    (tmp_path / "paths.yaml").write_text("ffhq: /nowhere/ffhq.pkl\n")
    fix = "which does not exist; fix entry `ffhq` in paths.yaml"
    with pytest.raises(AssetError, match=f"'own/ffhq' is /nowhere/ffhq.pkl, {fix}"):
        load_embedder("own/ffhq")
    with pytest.raises(AssetError, match="Did you mean 'own/ffhq'"):
        find_asset("own/fhq")
    for text, reason in (
        ("- a\n", "expected lines like"),
        ("a: 3\n", "expected lines like"),
        ("a: [\n", "cannot be read as YAML"),
        ("a: 2020-99-99\n", "cannot be read as YAML"),
    ):
        (tmp_path / "paths.yaml").write_text(text)
        with pytest.raises(AssetError, match=reason) as error:
            list_own_files()
        assert "\n" not in str(error.value)
    monkeypatch.setenv("DIFE_PATHS", "elsewhere.yaml")
    with pytest.raises(AssetError, match=r"DIFE_PATHS is elsewhere\.yaml"):
        list_own_files()


def test_a_home_that_is_not_there_is_a_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "paths.yaml").write_text("ffhq: ~nobody-of-that-name/ffhq.pkl\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match=r"nobody-of-that-name/ffhq\.pkl, which does not exist"):
        find_asset("own/ffhq")


def test_a_list_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError("not for you")

    (tmp_path / "paths.yaml").write_text("a: b\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(AssetError, match=r"paths\.yaml cannot be read as YAML \(not for you\)"):
        list_own_files()


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--config", "~nobody-of-that-name/a.yaml"],
        ["assets", "~nobody-of-that-name"],
        ["data", "convert", "~nobody-of-that-name/a", "b", "--to", "csv"],
        ["methods", "--import", "~nobody-of-that-name/a.py"],
        ["convert", "~nobody-of-that-name/a.pkl", "b.safetensors"],
    ],
)
def test_the_home_of_nobody_is_a_path_that_does_not_exist(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) in (1, 2)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "home directory" not in said
