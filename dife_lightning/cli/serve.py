"""``dife serve``: a page on which a point of one photo is found on all photos of a folder."""

from __future__ import annotations

import importlib.util
import socket

from dife_lightning.cli.options import VerbParser
from dife_lightning.errors import ConfigError, UsageError

_ABOUT = """
Opens a page for the photos of FOLDER: click a place on one photo, and it is found on all others, across species. Name
several landmarks, drag points that are wrong, and download them as CSV or COCO. With five photos that you marked as
right, a model of your own can be trained from the page (`dife landmarks`).
Photos can be added in the browser; they are held in memory. It needs `pip install 'dife-lightning[page]'`.

The page answers this machine alone (127.0.0.1), reads no file outside of FOLDER, and makes no call to the internet.
With --host 0.0.0.0 it answers other machines, too, which call this one by its address, its name or a name of --allow:
all who reach it see the photos, and can start trainings.

examples:
  dife serve photos
  dife serve photos --port 8080 --model runs/first
  dife serve photos --host 0.0.0.0 --allow faces.lab.example
"""


def run(verb: str, args: list[str]) -> int:
    """Serve a page until it is interrupted."""
    parser = VerbParser(prog=f"dife {verb}", usage="dife serve FOLDER [options]", epilog=_ABOUT)
    parser.add_argument("folder", help="photos, one face each")
    parser.add_argument("--model", default="photos/dife", help="an embedder: shipped, or a run of yours (photos/dife)")
    parser.add_argument("--size", type=int, help="side in pixels of what the model sees (that of its training)")
    parser.add_argument("--runs_root", default="runs", help="folder of the runs of trainings (runs)")
    parser.add_argument("--host", default="127.0.0.1", help="address to answer at (127.0.0.1)")
    parser.add_argument("--allow", action="append", default=[], metavar="NAME", help="a further name of this machine")
    parser.add_argument("--port", type=int, default=8000, help="port (8000)")
    if (code := parser.help_code(args)) is not None:
        return code
    own = parser.parse_args(args)
    if not 1 <= own.port <= 65535:
        raise UsageError(f"--port {own.port}: expected 1 to 65535.")
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; type: pip install 'dife-lightning[page]'")
    import uvicorn

    from dife_lightning.page.matching import PageMatcher
    from dife_lightning.page.photos import PagePhotos
    from dife_lightning.page.server import LOOPBACK, Page, own_names
    from dife_lightning.page.training import PageTraining

    photos = PagePhotos(own.folder)
    training = PageTraining(photos, own.runs_root)
    page = Page(photos, PageMatcher(photos, own.model, own.size), training)
    here = own.host in LOOPBACK
    app = page.app([own.host, *own.allow, *(LOOPBACK if here else own_names())], addresses=not here)
    called = socket.gethostname() if own.host in ("0.0.0.0", "::") else f"[{own.host}]" if ":" in own.host else own.host
    print(f"{len(photos)} photos: http://{called}:{own.port} (Ctrl-C ends it)", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, own.host, own.port, log_level="warning", limit_concurrency=512))
    try:
        server.run()
    except SystemExit:  # uvicorn has said that the port is taken
        raise UsageError(f"port {own.port} of {own.host} cannot be used; give another --port.") from None
    finally:
        training.stop()
    return 0
