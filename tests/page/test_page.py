"""The page of `dife serve`: its numbers, its limits, and that it gives away nothing else."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import dife_lightning as dl
from dife_lightning.cli.main import main
from dife_lightning.page import matching as page_matching
from dife_lightning.page import photos as page_photos
from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import PagePhoto, PagePhotos
from dife_lightning.page.server import Page
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


@pytest.mark.parametrize(("room", "reads"), [(2**28, 2), (96 * 96 * 3, 4)])
def test_photos_with_points_are_not_read_at_every_click(folder, monkeypatch, room, reads):
    """They may have many megapixels. With room for one photo, two are read again and again."""
    photos = PagePhotos(folder)
    matcher = PageMatcher(photos)
    points = {0: EYES, 1: EYES}
    first = matcher.carry(points, ["left", "right"], [2])
    matcher._pixels.clear()
    monkeypatch.setattr(page_matching, "PIXELS", room)
    seen: list[str] = []
    whole = PagePhoto.read
    monkeypatch.setattr(PagePhoto, "read", lambda photo: seen.append(photo.name) or whole(photo))
    assert [matcher.carry(points, ["left", "right"], [2]) for _ in range(2)] == [first, first]
    assert seen == ["0_human.png", "1_dog.png"] * (reads // 2)


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
    assert list(rows[1].values()) == ["2_cat.png", "found", "20.25", "70.50", "", ""]
    assert list(rows[1]) == ["image", "group", "left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y"]
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


def test_a_box_moves_the_face(client):
    before = client.get("/api/photos/1").json()
    moved = client.post("/api/photos/1/box", json={"box": [10, 10, 80, 80]}).json()
    assert (moved["box"], moved["how"]) == ([10, 10, 80, 80], "box")
    assert client.post("/api/photos/1/box", json={"box": None}).json() == before
    for wrong in ([5, 5, 5, 9], "abcd", 7, [1, 2, 3], [None] * 4, [[1, 2], [3, 4]]):
        assert client.post("/api/photos/1/box", json={"box": wrong}).status_code == 400


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
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
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
        {"sources": {"0": EYES * 40}, "targets": [1], "names": [str(k) for k in range(80)]},
    ],
)  # fmt: skip
def test_wrong_requests_are_answered_with_a_reason(client, body):
    answer = client.post("/api/carry", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


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
