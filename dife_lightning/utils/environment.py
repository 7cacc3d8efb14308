"""Versions, commit and machine, for the record of a result."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dife_lightning._version import __version__

#: Packages whose version can change a number.
PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "albumentations", "opencv-python-headless", "jsonargparse")


def collect_environment() -> dict[str, Any]:
    """Return ``versions``, ``commit`` (None outside a clone), ``dirty``, ``machine`` and ``time`` (UTC, ISO 8601)."""
    commit, dirty = git_state(Path(__file__).resolve().parents[2])
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": package_versions(),
        "commit": commit,
        "dirty": dirty,
        "machine": {"system": platform.platform(), "processor": processor_name(), **gpu_name()},
    }


def package_versions() -> dict[str, str]:
    """Return the installed versions of this package, Python and the packages a number can depend on."""
    versions = {"dife-lightning": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of a clone and whether tracked files differ from it; (None, None) where there is no clone."""
    if not (folder / ".git").exists():
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit or None, bool(changes) if commit else None


def processor_name() -> str:
    """Return the processor's model name, if the system provides it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def gpu_name() -> dict[str, str]:
    """Return ``gpu``: the name of the first GPU; nothing if there is none or torch is not in use."""
    torch = sys.modules.get("torch")
    return {"gpu": torch.cuda.get_device_name()} if torch is not None and torch.cuda.is_available() else {}


def _git(folder: Path, *arguments: str) -> str:
    """Run git and return what it prints, or nothing if it cannot run."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
