"""The files around the code are valid, and say what is true of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import dife_lightning
from dife_lightning.registry import list_datasets
from tests.test_rooms import LEVEL

CLONE = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]


def content(name: str):
    return yaml.safe_load((CLONE / name).read_text(encoding="utf-8"))


def test_the_citation_names_the_software_and_the_paper_of_the_method():
    citation = content("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()  # what the format requires
    assert citation["version"] == dife_lightning.__version__
    assert citation["license"] == PROJECT["license"]
    paper = citation["preferred-citation"]
    assert (paper["title"], paper["year"]) == ("Dense Interspecies Face Embedding", 2022)
    assert [author["family-names"] for author in paper["authors"]] == ["Yang", "Jeon", "Nam", "Kim"]


def test_the_changelog_has_the_present_version_and_what_comes_next():
    headings = re.findall(r"^## \[(.+?)\]", (CLONE / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert dife_lightning.__version__ in headings


def test_the_workflow_runs_make_targets_that_exist_on_every_supported_python():
    jobs = content(".github/workflows/tests.yml")["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    wanted = {target for step in steps for target in step.removeprefix("make ").split()}
    targets = set(re.findall(r"^([a-z0-9-]+):", (CLONE / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "lint", "types", "docs", "test-lowest", "test-newest"} <= wanted <= targets
    supported = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert jobs["tests"]["strategy"]["matrix"]["python"] == supported


def test_the_issue_form_asks_for_the_output_of_the_doctor():
    form = content(".github/ISSUE_TEMPLATE/bug.yml")
    assert {"name", "description", "body"} <= form.keys()
    doctor = next(field for field in form["body"] if field.get("id") == "doctor")
    assert "dife doctor" in doctor["attributes"]["description"]
    assert doctor["validations"]["required"]


def test_the_hooks_run_the_tools_of_the_project():
    hooks = [hook for repo in content(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {"ruff-format", "ruff-check", "mypy", "end-of-file-fixer"} <= {hook["id"] for hook in hooks}


#: Names of readers -> how docs/licences.md writes them.
WRITTEN = {"animalweb": "AnimalWeb", "ap10k": "AP-10K", "catflw": "CatFLW", "celeba": "CelebA", "dogflw": "DogFLW"}
WRITTEN |= {"horse": "Horse", "w300": "300-W", "wflw": "WFLW"}
#: These read the user's own data, or none from files.
OWN = {
    "folder",
    "coco-keypoints",
    "world",
    "cvat",
    "deeplabcut",
    "label-studio",
    "labelme",
    "sleap",
    "via",
    "yolo-pose",
}


@pytest.mark.parametrize("name", sorted(set(list_datasets()) - OWN))
def test_every_public_data_set_has_its_terms_in_the_table(name):
    assert f"\n| {WRITTEN[name]}" in (CLONE / "docs/licences.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_contents_of_the_site():
    index = (CLONE / "docs/index.md").read_text(encoding="utf-8")
    listed = {
        line.strip() for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL) for line in block.split("\n")
    }
    pages = {page.stem for page in (CLONE / "docs").glob("*.md")} - {"index"}
    assert pages <= listed


def test_the_page_of_the_public_names_has_them_all():
    page = (CLONE / "docs/api/index.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"auto(?:function|class):: dife_lightning\.(\w+)", page))
    assert shown == set(dife_lightning.__all__) - {"__version__"}


def exists(room: str) -> bool:
    return any((CLONE / "dife_lightning" / name).exists() for name in (room, f"{room}.py"))


def test_the_architecture_page_shows_every_room_in_the_order_that_imports_follow():
    page = (CLONE / "docs/architecture.md").read_text(encoding="utf-8")
    table = page[page.index("| room | what it holds |") : page.index("`import dife_lightning`")]
    shown = [room for line in table.strip().splitlines() for room in re.findall(r"`(\w+)/?`", line.split("|")[1])]
    assert {room for room in shown if room != "experiments"} == {
        room for room in LEVEL if room != "_version" and exists(room)
    }
    levels = [LEVEL[room] for room in shown if room != "experiments"]
    assert levels == sorted(levels)
