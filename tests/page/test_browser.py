"""The page in a real browser: a click lands where it should, also across species, and what is dragged is kept."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

import dife_lightning as dl
from dife_lightning.faces.schemes import to_protocol
from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import PagePhotos
from dife_lightning.page.server import Page
from dife_lightning.world.dataset import WorldFaces

selenium = pytest.importorskip("selenium", reason="tests in a browser need: pip install selenium")
BROWSER, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder of drawn faces, and the true eyes and nose of each."""
    folder = tmp_path_factory.mktemp("faces")
    truth = {}
    for species in ("cat", "dog", "human"):
        face = WorldFaces(species, "test", 3, size=192)[2]
        name = f"{species}.png"
        Image.fromarray(face["image"]).save(folder / name)
        truth[name] = to_protocol(face["points"], face["visible"], WorldFaces.scheme, "3-point")[0]
    return folder, truth


@pytest.fixture(scope="module")
def address(faces: Any) -> Iterator[str]:
    photos = PagePhotos(faces[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Page(photos, PageMatcher(photos)).app(["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def browser(address: str, tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1300,900"):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    driver.get(address)
    yield driver
    driver.quit()


def until(what: Any, seconds: float = 40) -> Any:
    """Return what becomes true."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.1)


def status(browser: Any) -> str:
    return browser.find_element("id", "status").text


def circles(browser: Any, place: str) -> list[tuple[float, float]]:
    script = "return [...document.querySelectorAll(arguments[0])].map((c) => [c.cx.baseVal.value, c.cy.baseVal.value])"
    return [tuple(place) for place in browser.execute_script(script, f"{place} circle")]  # all at one moment


def click(browser: Any, point: np.ndarray, side: int = 192) -> None:
    """Click a place of the source, in pixels of its photo."""
    from selenium.webdriver import ActionChains

    layer = browser.find_element("css selector", "#source-photo svg")
    size = layer.rect
    x, y = ((float(point[k]) + 0.5) / side * size[key] - size[key] / 2 for k, key in enumerate(("width", "height")))
    ActionChains(browser).move_to_element_with_offset(layer, round(x), round(y)).click().perform()


def test_clicks_are_found_on_other_species_corrected_and_downloaded(browser, faces, tmp_path):
    folder, truth = faces
    until(lambda: "3 photos" in status(browser))
    browser.find_element("xpath", "//button[text()='human.png']").click()
    until(lambda: browser.find_element("id", "source-name").text == "human.png")
    for k, point in enumerate(truth["human.png"]):
        if k:
            browser.find_element("id", "more").click()
        click(browser, point)
        until(lambda wanted=k + 1: len(circles(browser, ".card")) == 2 * wanted)
        until(lambda: status(browser).startswith("done"))
    shown = circles(browser, "#source-photo")
    np.testing.assert_allclose(shown, truth["human.png"], atol=1.2)  # clicks are at whole pixels of the screen

    cards = browser.find_elements("css selector", ".card")
    names = [card.find_element("css selector", "button").text for card in cards]
    assert names == ["cat.png", "dog.png"]
    for number, name in enumerate(names):
        found = np.array(circles(browser, f"[data-photo='{number}']"))
        assert np.linalg.norm(found - truth[name], axis=1).mean() < 0.1 * 192, name

    from selenium.webdriver import ActionChains

    nose = browser.find_elements("css selector", "[data-photo='0'] circle")[2]
    before = circles(browser, "[data-photo='0']")[2]
    ActionChains(browser).click_and_hold(nose).move_by_offset(15, 10).release().perform()
    until(lambda: browser.find_elements("css selector", "[data-photo='0'] circle.fixed"))
    until(lambda: status(browser).startswith("done"))
    after = circles(browser, "[data-photo='0']")[2]
    assert after[0] > before[0] + 4
    assert after[1] > before[1] + 3

    if shot := os.environ.get("PAGE_SCREENSHOT"):
        browser.save_screenshot(shot)
    browser.find_element("id", "csv").click()
    until((tmp_path / "landmarks.csv").is_file)
    with open(tmp_path / "landmarks.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"human.png", "cat.png", "dog.png"}
    assert float(rows["cat.png"]["point_3_x"]) == pytest.approx(after[0], abs=0.02)
    read = dl.load_dataset("folder", folder, file=str(tmp_path / "landmarks.csv"))
    assert len(read.annotations) == 3
    said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [text for text in said if "favicon" not in text]


def test_frames_points_and_landmarks_are_changed_by_hand(browser, faces, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    _, truth = faces
    until(lambda: "3 photos" in status(browser))
    for k in range(2):
        if k:
            browser.find_element("id", "more").click()
        click(browser, truth["cat.png"][k])
        until(lambda wanted=k + 1: len(circles(browser, ".card")) == 2 * wanted and status(browser).startswith("done"))
    count = "return performance.getEntriesByType('resource').filter((one) => one.name.endsWith('jpeg')).length"
    fetched = browser.execute_script(count)
    dog = browser.find_element("css selector", "[data-photo='1']")

    first = circles(browser, "[data-photo='1']")[0]
    dog.find_elements("css selector", "circle")[0].send_keys(Keys.ARROW_RIGHT)  # by the keyboard
    until(lambda: circles(browser, "[data-photo='1']")[0] == pytest.approx((first[0] + 1, first[1])))
    browser.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    until(lambda: circles(browser, "[data-photo='1']")[0] == pytest.approx((first[0] + 1, first[1] + 1)))
    browser.switch_to.active_element.send_keys(Keys.DELETE)
    until(lambda: len(circles(browser, "[data-photo='1']")) == 1)
    hide = dog.find_element("css selector", ".hide")
    assert hide.get_attribute("aria-pressed") == "true"
    assert browser.switch_to.active_element == hide
    until(lambda: status(browser).startswith("done"))

    layer = dog.find_element("css selector", "svg")
    width = layer.rect["width"]
    drag = ActionChains(browser).move_to_element_with_offset(layer, round(-width / 4), round(-width / 4))
    drag.key_down(Keys.SHIFT).click_and_hold().move_by_offset(round(width / 2), round(width / 2)).release()
    drag.key_up(Keys.SHIFT).perform()
    frame = "return document.querySelector(\"[data-photo='1'] rect\").width.baseVal.value"
    until(lambda: browser.execute_script(frame) == pytest.approx(96, abs=1.5))
    until(lambda: status(browser).startswith("done"))
    assert len(circles(browser, "[data-photo='1']")) == 1

    browser.find_element("css selector", "[aria-label='select point_2']").click()
    click(browser, np.array([1, 1]))  # outside of the face: only the second landmark
    until(lambda: "point_2: not looked for, outside of the frame" in status(browser))
    assert len(circles(browser, "[data-photo='2']")) == 1
    if shot := os.environ.get("PAGE_SCREENSHOT"):
        browser.save_screenshot(shot.replace(".png", "_hand.png"))
    browser.find_element("id", "csv").click()
    until((tmp_path / "landmarks.csv").is_file)
    with open(tmp_path / "landmarks.csv", newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert "dog.png" not in rows  # neither point is there
    assert (rows["human.png"]["point_1_v"], rows["human.png"]["point_2_x"]) == ("1", "")

    names = browser.find_elements("css selector", "#names input[type=text]")
    names[1].send_keys(Keys.CONTROL, "a", Keys.NULL, "point_1", Keys.TAB)
    until(lambda: "another landmark is called point_1" in status(browser))
    browser.find_element("css selector", "[aria-label='delete point_1']").click()
    until(lambda: len(circles(browser, "")) == 1)  # that of point_2 on the source
    assert [one.get_attribute("value") for one in browser.find_elements("css selector", "#names input[type=text]")] == [
        "point_2"
    ]
    hide.click()
    assert hide.get_attribute("aria-pressed") == "true"
    hide.click()
    assert hide.get_attribute("aria-pressed") == "false"
    assert browser.execute_script(count) == fetched  # photos are not loaded again


def test_a_dropped_photo_is_added_and_a_broken_connection_is_said(browser, tmp_path):
    until(lambda: "3 photos" in status(browser))
    Image.fromarray(WorldFaces("wild", "test", 1, size=100)[0]["image"]).save(tmp_path / "tiger.png")
    browser.find_element("id", "add").send_keys(str(tmp_path / "tiger.png"))
    until(lambda: browser.find_elements("xpath", "//button[text()='tiger.png']"))
    Image.fromarray(WorldFaces("wild", "test", 1, size=90)[0]["image"]).save(tmp_path / "cat.png")
    browser.find_element("id", "add").send_keys(str(tmp_path / "cat.png"))
    until(lambda: "cat.png is called cat_2.png here" in status(browser))
    browser.execute_script("window.fetch = () => Promise.reject(new TypeError('cut'))")
    click(browser, np.array([96, 96]))
    until(lambda: "the server does not answer" in status(browser))
    assert browser.find_element("id", "status").get_attribute("class") == "error"
