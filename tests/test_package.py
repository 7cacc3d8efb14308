from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from dife_lightning.utils.environment import collect_environment, git_state

CLONE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CLONE, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return wheel, folder / "site"


def run_outside(site: Path, code: str) -> str:
    """Run code that sees the unpacked wheel before the clone."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'dife'\n{code}"]
    result = subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_wheel_is_at_most_40_megabytes(unpacked_wheel):
    wheel, _ = unpacked_wheel
    assert wheel.stat().st_size <= 40e6


def test_the_wheel_holds_configurations_assets_and_licence_but_no_tests(unpacked_wheel):
    _, site = unpacked_wheel
    shipped = {path.relative_to(CLONE / "configs") for path in (CLONE / "configs").rglob("*.yaml")}
    inside = site / "dife_lightning/configs"
    assert {path.relative_to(inside) for path in inside.rglob("*.yaml")} == shipped
    own = {path.name for path in (CLONE / "dife_lightning/assets").iterdir() if not path.name.startswith(".")}
    assert own == {path.name for path in (site / "dife_lightning/assets").glob("*")}
    assert (site / "dife_lightning/world/species.yaml").is_file()
    assert (site / "dife_lightning/py.typed").is_file()
    assert not (site / "tests").exists()
    assert list(site.glob("*.dist-info/licenses/LICENSE"))


def test_the_command_works_from_the_wheel_outside_the_clone(unpacked_wheel):
    _, site = unpacked_wheel
    code = (
        "import dife_lightning; from dife_lightning.cli.main import main\n"
        "main(['--help']); print(dife_lightning.__file__)"
    )
    printed = run_outside(site, code)
    assert "usage: dife" in printed
    assert printed.endswith(str(site / "dife_lightning/__init__.py"))


def test_configurations_and_assets_resolve_inside_the_wheel(unpacked_wheel):
    _, site = unpacked_wheel
    code = (
        "from dife_lightning.running.configs import find_config\n"
        "from dife_lightning.weights.assets import list_assets, find_asset\n"
        "print(find_config('trainer/cpu')); print(*[find_asset(name) for name in list_assets()])"
    )
    paths = run_outside(site, code).split()
    assert paths[0] == str(site / "dife_lightning/configs/trainer/cpu.yaml")
    assert all(path.startswith(str(site)) for path in paths)


def test_python_m_does_the_same_as_the_script():
    result = subprocess.run([sys.executable, "-m", "dife_lightning", "--version"], capture_output=True, text=True)
    assert result.stdout.startswith("dife-lightning ")
    assert result.returncode == 0


def dependencies():
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return project["dependencies"], [line for name in extras if name != "dev" for line in extras[name]], extras["dev"]


def test_every_dependency_has_a_bound_a_reason_and_a_tested_version():
    text = (CLONE / "pyproject.toml").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (CLONE / "constraints.txt").read_text(), re.MULTILINE))
    core, extras, dev = dependencies()
    for line in core + extras:
        name = re.match(r"[\w-]+", line)[0]
        assert ">=" in line, line
        assert re.search(re.escape(f'"{line}",') + r"\s+# \w", text), line
        assert name.lower() in pinned
    for line in dev:
        assert re.match(r"[\w-]+", line)[0].lower() in pinned
    assert pinned["torch"] == "2.13.0"


def test_torchvision_is_neither_required_nor_imported():
    assert not [line for group in dependencies() for line in group if "torchvision" in line]
    for path in (CLONE / "dife_lightning").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) torchvision", path.read_text(), re.MULTILINE), path


def test_wandb_and_albumentations_are_imported_only_where_they_are_used():
    for path in (CLONE / "dife_lightning").rglob("*.py"):
        heavy = re.findall(r"^(?:import|from) (wandb|albumentations)", path.read_text(), re.MULTILINE)
        assert not heavy, path


def test_the_makefile_lists_every_target():
    targets = re.findall(r"^([a-z0-9-]+):", (CLONE / "Makefile").read_text(), re.MULTILINE)
    result = subprocess.run(["make", "-s"], cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == 0
    assert set(targets) == set(re.findall(r"^  make (\S+)", result.stdout, re.MULTILINE))
    assert {"setup", "demo", "test", "help", "world"} <= set(targets)


def test_ci_runs_lint_types_docs_and_all_tests():
    lines = [line for line in (CLONE / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail"
    assert lines[2:] == ["make lint types docs", "make test"]
    assert os.access(CLONE / ".ci/run", os.X_OK)


def test_the_environment_names_versions_and_the_commit(tmp_path):
    record = collect_environment()
    assert {"torch", "lightning", "python", "dife-lightning"} <= set(record["versions"])
    assert git_state(tmp_path) == (None, None)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit, dirty = git_state(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", commit or "")
    assert dirty is False
