"""Settings of the documentation: `make docs` builds the pages of this folder and the API pages from the docstrings."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import dife_lightning

project = "dife-lightning"
author = "The dife-lightning contributors"
release = dife_lightning.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = f"dife-lightning {release}"
default_role = "code"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "ignore-module-all": True,
}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["transformers", "optuna", "wandb"]
suppress_warnings = ["config.cache"]

#: Room of the package -> title of its API page. The pages are written anew by each build.
ROOMS = {
    "methods": "Methods",
    "datasets": "Data sets",
    "losses": "Losses",
    "metrics": "Metrics",
    "mining": "Mining of positives",
}


def public_modules(package: ModuleType) -> list[str]:
    """Return the full names of the modules and packages below `package` whose names have no underscore in front."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [module.name for module in found if "._" not in module.name]


def write_api_pages(app: Any) -> None:
    """Write one page for each room, with one section for each public module."""
    for room, title in ROOMS.items():
        package = importlib.import_module(f"dife_lightning.{room}")
        sections = [
            f"{name}\n{'-' * len(name)}\n\n.. automodule:: {name}\n"
            for name in [package.__name__, *public_modules(package)]
        ]
        page = f"{title}\n{'=' * len(title)}\n\n" + "\n\n".join(sections)
        path = Path(app.srcdir) / "api" / f"{room}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != page:
            path.write_text(page, encoding="utf-8")


def name_files_outside(app: Any, page: str, source: list[str]) -> None:
    """Turn links to files that are not part of the site into the names of these files."""
    text = re.sub(r"\[([^\]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", source[0])
    source[0] = re.sub(r"\[`?\S+`?\]\(docs/(\w+\.md)\)", r"[\1](\1)", text)


def setup(app: Any) -> None:
    """Register what runs during a build."""
    app.connect("builder-inited", write_api_pages)
    app.connect("source-read", name_files_outside)
    app.connect("include-read", lambda app, path, page, source: name_files_outside(app, page, source))
