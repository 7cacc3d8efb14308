"""The page of `dife serve`: its numbers, its limits, and that it gives away nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import dife_lightning as dl
from dife_lightning.cli.main import main
from dife_lightning.errors import DataError
from dife_lightning.page import faces as page_faces
from dife_lightning.page import photos as page_photos
from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import PagePhoto, PagePhotos
from dife_lightning.page.server import Page, own_names
from dife_lightning.world.dataset import WorldFaces

EYES = [[30.0, 40.0], [62.0, 40.0]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drawn faces, a damaged file, and links that lead out of the folder."""
    root = tmp_path_factory.mktemp("page")
    folder = root / "photos"
    folder.mkdir()
    for k, species in enumerate(("human", "dog", "cat")):
        Image.fromarray(WorldFaces(species, "test", 1, size=96)[0]["image"]).save(folder / f"{k}_{species}.png")
    (folder / "3_damaged.png").write_bytes(b"no picture")
    (root / "secret").mkdir()
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(root / "secret/secret.png")
    (folder / "4_link.png").symlink_to(root / "secret/secret.png")
    (folder / "linked").symlink_to(root / "secret")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> TestClient:
    photos = PagePhotos(folder, uploads=3)
    page = Page(photos, PageMatcher(photos))
    return TestClient(page.app(["127.0.0.1"]), base_url="http://127.0.0.1")


def carry(client: TestClient, sources: dict, targets: list[int], names: tuple[str, ...] = ("left", "right")) -> dict:
    answer = client.post("/api/carry", json={"sources": sources, "targets": targets, "names": list(names)})
    assert answer.status_code == 200, answer.text
    return answer.json()["found"]


def test_photos_are_numbered_and_links_out_of_the_folder_are_left_out(client):
    told = client.get("/api/photos").json()
    assert told["photos"] == ["0_human.png", "1_dog.png", "2_cat.png", "3_damaged.png"]
    assert told["model"] == "photos/dife"
    face = client.get("/api/photos/1").json()
    assert face["size"] == [96, 96]
    x0, y0, x1, y1 = face["box"]
    assert x1 - x0 == pytest.approx(y1 - y0, abs=0.2)
    image = Image.open(io.BytesIO(client.get("/api/photos/0/jpeg").content))
    assert (image.format, image.size) == ("JPEG", (96, 96))


def test_a_click_is_found_as_the_command_finds_it(client, folder):
    found = carry(client, {"0": EYES}, [1, 2, 3])
    assert "damaged" in found["3"]["error"]
    box = client.get("/api/photos/0").json()["box"]
    source = dl.SourceFace(folder / "0_human.png", np.float32(EYES), box=np.float32(box))
    carrier = dl.LandmarkTransfer([source], ["left", "right"])
    for number, name in ((1, "1_dog.png"), (2, "2_cat.png")):
        expected = carrier(folder / name)
        np.testing.assert_allclose(found[str(number)]["points"], expected.points, atol=0.3)
        np.testing.assert_allclose(found[str(number)]["confidence"], expected.confidence, atol=0.01)
        assert found[str(number)]["matched"] == expected.matched.tolist()


def test_autocast_of_the_caller_changes_nothing_but_the_network(folder):
    expected = PageMatcher(PagePhotos(folder)).carry({0: EYES}, ["a", "b"], [1])[1]
    with torch.autocast("cpu", torch.bfloat16):
        found = PageMatcher(PagePhotos(folder)).carry({0: EYES}, ["a", "b"], [1])[1]
    np.testing.assert_allclose(found["points"], expected["points"], atol=1.5)


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of photos that are read from now on."""
    seen: list[str] = []
    whole = PagePhoto.read
    monkeypatch.setattr(PagePhoto, "read", lambda photo: seen.append(photo.name) or whole(photo))
    return seen


def test_no_photo_is_read_twice_however_many_there_are(tmp_path, monkeypatch):
    for k in range(410):
        Image.new("RGB", (8, 8), (k % 255, 0, 0)).save(tmp_path / f"{k:03}.png")
    matcher = PageMatcher(PagePhotos(tmp_path))
    eyes = matcher.faces.eyes
    whole, embedded = eyes.crop, []
    monkeypatch.setattr(eyes, "crop", lambda photo, where, name: whole(photo, "whole", name))
    monkeypatch.setattr(eyes, "embed", lambda faces: embedded.extend(faces) or torch.rand(len(faces), 16, 64, 64))
    seen = counted_reads(monkeypatch)
    first = matcher.carry({0: [[2, 3]]}, ["nose"], range(410))
    assert (len(seen), len(embedded)) == (410, 410)
    assert matcher.carry({0: [[2, 3]]}, ["nose"], range(410)) == first
    matcher.carry({k: [[2, 3]] for k in range(5)}, ["nose"], range(410))
    assert (len(seen), len(embedded)) == (410, 410)


def test_without_room_for_embeddings_photos_are_embedded_again_but_not_read(folder, monkeypatch):
    monkeypatch.setattr(page_faces, "ROOM", 300 * 1024)
    matcher = PageMatcher(PagePhotos(folder))
    first = matcher.carry({0: EYES}, ["left", "right"], [1, 2, 3])
    assert "damaged" in first[3]["error"]
    assert len(matcher.faces._embeddings) == 1
    seen = counted_reads(monkeypatch)
    assert matcher.carry({0: EYES}, ["left", "right"], [1, 2, 3]) == first
    assert not seen


def test_a_photo_without_a_face_can_be_given_a_box(tmp_path, monkeypatch):
    Image.new("RGB", (60, 40)).save(tmp_path / "grey.png")
    photos = PagePhotos(tmp_path)
    matcher = PageMatcher(photos)
    monkeypatch.setattr(matcher.faces.eyes.finder, "find", lambda photos: [(None, float("nan"))])
    page = TestClient(Page(photos, matcher).app(["127.0.0.1"]), base_url="http://127.0.0.1")
    told = page.get("/api/photos/0").json()
    assert (told["size"], told["box"]) == ([60, 40], None)
    assert "give the box of the face" in told["error"]
    given = page.post("/api/photos/0/box", json={"box": [5, 5, 35, 35]}).json()
    assert given == {"size": [60, 40], "box": [5, 5, 35, 35], "how": "box"}
    assert page.post("/api/photos/0/box", json={"box": None}).status_code == 400
    assert page.get("/api/photos/0").json() == given


def test_a_folder_with_too_many_photos_is_refused(folder, monkeypatch):
    monkeypatch.setattr(page_photos, "PHOTOS", 3)
    with pytest.raises(DataError, match="holds 4 photos; a page shows 3 at most"):
        PagePhotos(folder)


def test_landmarks_do_not_depend_on_each_other_or_on_their_names(client):
    """A point outside of the face is not looked for, and does not enlarge the face; eyes and nose do not, either."""
    alone = carry(client, {"0": [EYES[0]]}, [1], ("left_eye",))["1"]
    body = {"sources": {"0": [*EYES, [50.0, 55.0], [0.0, 95.0]]}, "targets": [1]}
    body["names"] = ["left_eye", "right_eye", "nose", "far"]
    client.post("/api/photos/0/box", json={"box": [20, 20, 75, 75]})
    small = carry(client, {"0": [EYES[0]]}, [1], ("left_eye",))["1"]
    answer = client.post("/api/carry", json=body).json()
    client.post("/api/photos/0/box", json={"box": None})
    assert answer["outside"] == ["far"]
    found = answer["found"]["1"]
    assert found["points"][0] == small["points"][0] != alone["points"][0]
    assert (found["points"][3], found["confidence"][3], found["matched"][3]) == ([None, None], None, False)


def test_corrected_photos_vote_for_the_points_that_they_have(client):
    alone = carry(client, {"0": EYES}, [2])["2"]["points"]
    both = carry(client, {"0": EYES, "2": [[20.0, 70.0], None]}, [2])["2"]["points"]
    np.testing.assert_allclose(both[1], alone[1], atol=0.01)
    assert np.abs(np.array(both[0]) - alone[0]).max() > 5  # its own point is the most like itself
    np.testing.assert_allclose(both[0], [20, 70], atol=6)


def test_landmarks_are_saved_as_our_readers_take_them(client, tmp_path, folder):
    faces = {"0": EYES, "2": [[20.25, 70.5], None]}
    table = client.post("/api/file/csv", json={"names": ["left_eye", "right_eye"], "faces": faces})
    assert 'filename="landmarks.csv"' in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert list(rows[1].values()) == ["2_cat.png", "found", "20.25", "70.50", "1", "", "", ""]
    assert list(rows[1])[:5] == ["image", "group", "left_eye_x", "left_eye_y", "left_eye_v"]
    body = {"names": ["left_eye", "right_eye"], "faces": faces, "right": [0]}
    (tmp_path / "landmarks.csv").write_text(client.post("/api/file/csv", json=body).text)
    marked = dl.load_dataset("folder", folder, file=str(tmp_path / "landmarks.csv"), group="right")
    assert [face.image.name for face in marked.annotations] == ["0_human.png"]
    (tmp_path / "landmarks.csv").write_text(table.text)
    coco = client.post("/api/file/coco", json={"names": ["left_eye", "right_eye"], "faces": faces}).json()
    (tmp_path / "landmarks.json").write_text(json.dumps(coco))
    for reader, file in (("folder", "landmarks.csv"), ("coco-keypoints", "landmarks.json")):
        read = dl.load_dataset(reader, folder, file=str(tmp_path / file))
        assert [face.image.name for face in read.annotations] == ["0_human.png", "2_cat.png"]
        np.testing.assert_allclose(read.annotations[1].points[0], [20.25, 70.5])
        assert read.annotations[1].visible.tolist() == [True, False]


def test_points_without_a_match_are_told_from_others(client, tmp_path, folder):
    body = {"names": ["a", "b"], "faces": {"0": EYES, "2": [[20.25, 70.5], None]}, "matched": {"0": [True, False]}}
    rows = list(csv.DictReader(io.StringIO(client.post("/api/file/csv", json=body).text)))
    assert [(row["a_v"], row["b_v"]) for row in rows] == [("1", "0"), ("1", "")]
    (tmp_path / "landmarks.csv").write_text(client.post("/api/file/csv", json=body).text)
    read = dl.load_dataset("folder", folder, file=str(tmp_path / "landmarks.csv"))
    assert [face.visible.tolist() for face in read.annotations] == [[True, False], [True, False]]
    coco = client.post("/api/file/coco", json=body).json()["annotations"]
    assert [face["keypoints"] for face in coco] == [[*EYES[0], 2, *EYES[1], 1], [20.25, 70.5, 2, 0, 0, 0]]
    assert [face["num_keypoints"] for face in coco] == [2, 1]
    for wrong in ({"0": [True]}, {"0": 5}, [1], {"x": [True, True]}):
        assert client.post("/api/file/csv", json=body | {"matched": wrong}).status_code == 400


def test_names_of_landmarks_keep_their_columns(client):
    names = ['nose, left "tip"', "eye;x", "a_x"]
    table = client.post("/api/file/csv", json={"names": names, "faces": {"0": [*EYES, None]}}).text
    (row,) = csv.DictReader(io.StringIO(table))
    assert (row['nose, left "tip"_x'], row["eye;x_y"], row["a_x_x"]) == ("30.00", "40.00", "")
    for form in ("csv", "coco"):
        twice = client.post(f"/api/file/{form}", json={"names": ["a", "a"], "faces": {"0": EYES}})
        assert (twice.status_code, twice.json()) == (
            400, {"error": "landmarks: 'a' is the name of two points; rename one of them"}
        )  # fmt: skip
    for name in ("", " ", "two\nlines", 7, None, "a" * 200):
        assert client.post("/api/file/csv", json={"names": [name], "faces": {"0": EYES[:1]}}).status_code == 400


def test_a_box_moves_the_face(client):
    before = client.get("/api/photos/1").json()
    moved = client.post("/api/photos/1/box", json={"box": [10, 10, 80, 80]}).json()
    assert (moved["box"], moved["how"]) == ([10, 10, 80, 80], "box")
    assert client.post("/api/photos/1/box", json={"box": None}).json() == before
    wrong = ([5, 5, 5, 9], "abcd", 7, [1, 2, 3], [None] * 4, [[1, 2], [3, 4]], [-1e6, -1e6, 1e6, 1e6], [0, 0, 1, 1e308])
    for box in (*wrong, [120, 120, 140, 140]):
        assert client.post("/api/photos/1/box", json={"box": box}).status_code == 400, box
    assert client.get("/api/photos/1").json() == before


def test_uploads_are_read_as_files_are_and_have_names_of_their_own(folder, tmp_path):
    """A picture of 16 bits is not white, and two photos of one name are two rows."""
    photos = PagePhotos(folder)
    page = TestClient(Page(photos, PageMatcher(photos)).app(["127.0.0.1"]), base_url="http://127.0.0.1")
    grey = np.asarray(Image.open(folder / "1_dog.png").convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(tmp_path / "1_dog.png")
    raw = {"Content-Type": "application/octet-stream"}
    for expected in ("1_dog_2.png", "1_dog_3.png"):
        content = (tmp_path / "1_dog.png").read_bytes()
        told = page.post("/api/photos?name=1_dog.png", content=content, headers=raw).json()
        assert told["name"] == photos[told["number"]].name == expected
    read = photos[4].read()
    np.testing.assert_array_equal(read, dl.read_image(tmp_path / "1_dog.png"))
    assert 5 < read.mean() < 250
    table = page.post("/api/file/csv", json={"names": ["a", "b"], "faces": {"1": EYES, "4": EYES, "5": EYES}}).text
    assert [row["image"] for row in csv.DictReader(io.StringIO(table))] == ["1_dog.png", "1_dog_2.png", "1_dog_3.png"]


@pytest.mark.parametrize("what", ["file", "folder", "above", "pipe", "gone"])
def test_a_photo_that_becomes_a_link_after_the_start_is_not_read(folder, tmp_path, what):
    root, secret = tmp_path / "a/photos", tmp_path / "secret"
    shutil.copytree(folder.parent / "secret", secret)
    for below in (root / "sub", secret / "photos/sub", secret / "sub"):
        below.mkdir(parents=True)
        shutil.copy(folder / "0_human.png", below / "secret.png")
    photos = PagePhotos(root)
    page = TestClient(Page(photos, PageMatcher(photos)).app(["127.0.0.1"]), base_url="http://127.0.0.1")
    assert page.get("/api/photos/0/jpeg").status_code == 200
    place, link = {"file": (root / "sub/secret.png", secret / "secret.png"), "folder": (root / "sub", secret),
                   "above": (root.parent, secret)}.get(what, (root / "sub/secret.png", None))  # fmt: skip
    place.rename(tmp_path / "before")
    if link is not None:
        place.symlink_to(link)
        assert (root / "sub/secret.png").is_file()
    elif what == "pipe":
        os.mkfifo(place)
    for path in ("/api/photos/0", "/api/photos/0/jpeg"):
        answer = page.get(path)
        assert answer.status_code == 400
        assert "sub/secret.png is " in answer.json()["error"]


def test_uploads_are_bounded_in_bytes_pixels_and_number(client, monkeypatch):
    content = io.BytesIO()
    Image.fromarray(WorldFaces("wild", "test", 1, size=64)[0]["image"]).save(content, format="PNG")
    raw = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/photos?name=..%2F..%2Fetc%2Fpasswd", content=content.getvalue(), headers=raw)
    number = answer.json()["number"]
    assert client.get("/api/photos").json()["photos"][number] == "passwd"
    assert carry(client, {"0": EYES}, [number])[str(number)]["points"]
    assert "damaged" in client.post("/api/photos", content=b"<svg/>", headers=raw).json()["error"]
    large = io.BytesIO()
    Image.new("1", (9000, 9000)).save(large, format="PNG")
    assert "pixels" in client.post("/api/photos", content=large.getvalue(), headers=raw).json()["error"]
    monkeypatch.setattr("dife_lightning.page.server.BYTES", 1000)
    assert client.post("/api/photos", content=b"x" * 2000, headers=raw).status_code == 413
    monkeypatch.undo()
    for _ in range(2):
        client.post("/api/photos", content=content.getvalue(), headers=raw)
    assert (
        "3 photos are uploaded already"
        in client.post("/api/photos", content=content.getvalue(), headers=raw).json()["error"]
    )


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2Fserver.py", "/static/%2e%2e/server.py", "/static/page.py",
        "/api/photos/99", "/api/photos/-1", "/api/photos/99/jpeg", "/api/photos/../../secret/secret.png",
        "/photos/0_human.png", "/etc/passwd",
    ],
)  # fmt: skip
def test_nothing_else_is_readable(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert "import" not in answer.text


def test_other_hosts_and_other_pages_are_refused(client):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.5", "[::2]:80", ""):
        assert client.get("/", headers={"Host": host}).status_code == 400, host
    assert client.get("/api/photos", headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/photos", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    body = json.dumps({"sources": {}, "targets": [], "names": []})
    assert client.post("/api/carry", content=body, headers={"Content-Type": "text/plain"}).status_code == 415
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        assert f"/static/{name}" in page.text
        text = client.get(f"/static/{name}").text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text


@pytest.mark.parametrize(
    "body",
    [
        {}, {"sources": [], "targets": [], "names": []}, {"sources": {"0": EYES}, "targets": [1], "names": ["a", "a"]},
        {"sources": {"0": [[1, 2, 3], [4, 5, 6]]}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"0": [["x", 1], [2, 3]]}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"0": EYES}, "targets": [1], "names": [["a"], {}]},
        {"sources": {"0": [[9e9, 1], [2, 3]]}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"0": [None, None]}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"99": EYES}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"3": EYES}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"0": [[30, None], [2, 3]]}, "targets": [1], "names": ["a", "b"]},
        {"sources": {str(k): EYES for k in range(300)}, "targets": [1], "names": ["a", "b"]},
        {"sources": {"0": EYES * 40}, "targets": [1], "names": [str(k) for k in range(80)]},
    ],
)  # fmt: skip
def test_wrong_requests_are_answered_with_a_reason(client, body):
    answer = client.post("/api/carry", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_page_for_other_machines_answers_addresses_and_names_that_it_has(client, folder):
    photos = PagePhotos(folder)
    app = Page(photos, PageMatcher(photos)).app(["0.0.0.0", "Faces.lab", *own_names()], addresses=True)
    open_page = TestClient(app, base_url="http://10.0.0.5:8000")
    for host in ("10.0.0.5:8000", "[fe80::1]:8000", "faces.LAB", socket.gethostname(), "localhost:1"):
        assert open_page.get("/", headers={"Host": host}).status_code == 200, host
    refused = open_page.get("/", headers={"Host": "evil.example"})
    assert (refused.status_code, "--allow" in refused.json()["error"]) == (400, True)


ODD = (
    "1e999", "-1e999", "NaN", "Infinity", "1" * 400, "9" * 5000, "1e308", '"\\ud800"', "[" * 100_000, '{"a":' * 100_000,
    "null", "true", "[]", "{}", '""', "-1", "0.5", "[[[1]]]", '{"0": 1}', '{"0": [[1, 1e30]]}', '{"1e999": [null]}',
)  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:12])
def test_odd_values_in_requests_are_refused_in_one_line(client, value):
    """The client raises what the server would log as a traceback."""
    form = {"names": '["a"]', "faces": '{"0": [[30, 40]]}', "right": "[0]", "matched": '{"0": [true]}'}
    click = {"names": '["a"]', "sources": '{"0": [[30, 40]]}', "targets": "[1]"}
    places = {"/api/carry": click, "/api/file/csv": form, "/api/file/coco": form, "/api/photos/1/box": {"box": "null"},
              "/api/training": {**form, "faces": '{"0": [[1, 2]]}'}}  # fmt: skip
    for path, given in places.items():
        bodies = [value] + [given | {key: value} for key in given] + [given | {"names": f"[{value}]"}]
        bodies += [given | {key: f'{{"0": {inner}}}'} for key in ("faces", "sources", "matched") if key in given
                   for inner in (value, f"[{value}]", f"[[{value}, 1]]")]  # fmt: skip
        for body in bodies:
            text = body if isinstance(body, str) else "{" + ", ".join(f'"{k}": {v}' for k, v in body.items()) + "}"
            answer = client.post(path, content=text, headers={"Content-Type": "application/json"})
            assert answer.status_code in (200, 400), (path, text[:99], answer.text)
            assert answer.status_code == 200 or "\n" not in answer.json()["error"]
    client.post("/api/photos/1/box", json={"box": None})
    for path in (f"/api/photos/{value[:5000]}", f"/api/photos/{'9' * 5000}/jpeg"):
        assert client.get(path).status_code in (200, 400, 404)


def test_two_hundred_requests_at_once_are_answered(client):
    carry(client, {"0": EYES}, [1])  # faces are found
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda k: client.get(f"/api/photos/{k % 3}/jpeg").status_code, range(200)))
    assert answers == [200] * 200


def test_a_huge_photo_of_the_folder_is_refused_by_its_header(tmp_path, monkeypatch):
    Image.new("L", (400, 300)).save(tmp_path / "large.png")
    monkeypatch.setattr(page_photos, "PIXELS", 100_000)
    photos = PagePhotos(tmp_path)
    page = TestClient(Page(photos, PageMatcher(photos)).app(["127.0.0.1"]), base_url="http://127.0.0.1")
    for path in ("/api/photos/0", "/api/photos/0/jpeg"):
        assert "400 x 300 pixels" in page.get(path).json()["error"]


def test_what_cannot_be_served_is_said(tmp_path, capsys, monkeypatch):
    assert main(["serve", str(tmp_path)]) == 1
    assert "holds no images" in capsys.readouterr().err
    (tmp_path / "outside.png").symlink_to("/etc/hostname")
    assert main(["serve", str(tmp_path)]) == 1
    assert "holds no photo of its own" in capsys.readouterr().err
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["serve", str(tmp_path)]) == 1
    assert "pip install 'dife-lightning[page]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told", "answered", "refused"),
    [
        ([], "http://127.0.0.1:8000 ", ("localhost:8000", "127.0.0.1"), ("10.0.0.5", "evil.example")),
        (["--host", "::1"], "http://[::1]:8000 ", ("[::1]:8000",), ("[fe80::1]",)),
        (["--host", "0.0.0.0", "--allow", "faces.lab"], f"http://{socket.gethostname()}:8000 ",
         ("10.0.0.5:8000", "faces.lab", socket.gethostname()), ("evil.example",)),
    ],
)  # fmt: skip
def test_the_command_answers_names_of_this_machine(folder, monkeypatch, capsys, words, told, answered, refused):
    apps = []
    monkeypatch.setattr("uvicorn.Server.run", lambda server: apps.append(server.config.app))
    assert main(["serve", str(folder), *words]) == 0
    assert told in capsys.readouterr().out
    client = TestClient(apps[0])
    for hosts, status in ((answered, 200), (refused, 400)):
        assert [client.get("/", headers={"Host": host}).status_code for host in hosts] == [status] * len(hosts)
