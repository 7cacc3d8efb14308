"""The server of a page: routes, limits, and nothing that leaves the machine."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import math
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dife_lightning._version import __version__
from dife_lightning.errors import DifeError
from dife_lightning.page.files import landmark_file
from dife_lightning.page.matching import PageMatcher
from dife_lightning.page.photos import BYTES, PagePhotos, shown_jpeg
from dife_lightning.page.training import PageTraining

STATIC = Path(__file__).with_name("static")
#: The files of the page, and their types; no other file is ever read by name.
FILES = {
    "": ("page.html", "text/html"),
    "page.js": ("page.js", "text/javascript"),
    "page.css": ("page.css", "text/css"),
}
#: Bytes of a request without a photo: 60 points on 550 photos have 1 MiB.
BODY = 2**22
#: Names and addresses by which a machine calls itself.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Answer = Callable[[Request], Any]


class Refused(Exception):
    """A request that is not answered: a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Page:
    """The routes of a page.

    Args:
        photos: that are shown.
        matcher: carries points between them.
        training: trains on corrected ones.
    """

    def __init__(self, photos: PagePhotos, matcher: PageMatcher, training: PageTraining | None = None) -> None:
        self.photos, self.matcher = photos, matcher
        self.training = training or PageTraining(photos)

    def app(self, hosts: Sequence[str], addresses: bool = False) -> Starlette:
        """Return the application, which answers requests for these ``hosts``, and for ``addresses``, alone."""
        routes = [
            Route("/", _guarded(self.file)),
            Route("/static/{name}", _guarded(self.file)),
            Route("/api/photos", _guarded(self.list)),
            Route("/api/photos", _guarded(self.upload), methods=["POST"]),
            Route("/api/photos/{number}", _guarded(self.face)),
            Route("/api/photos/{number}/jpeg", _guarded(self.jpeg)),
            Route("/api/photos/{number}/box", _guarded(self.box), methods=["POST"]),
            Route("/api/carry", _guarded(self.carry), methods=["POST"]),
            Route("/api/training", _guarded(self.training_status)),
            Route("/api/training", _guarded(self.train), methods=["POST"]),
            Route("/api/training/stop", _guarded(self.stop), methods=["POST"]),
            Route("/api/training/points", _guarded(self.trained_points)),
            Route("/api/file/{form}", _guarded(self.save), methods=["POST"]),
        ]
        return Starlette(routes=routes, middleware=[Middleware(KnownHosts, hosts=hosts, addresses=addresses)])

    async def file(self, request: Request) -> Response:
        """A file of the page itself."""
        known = FILES.get(request.path_params.get("name", ""))
        if known is None:
            raise Refused(404, "no such file")
        return Response((STATIC / known[0]).read_bytes(), media_type=known[1])

    async def list(self, request: Request) -> Any:
        """Names of all photos."""
        return {"version": __version__, "model": self.matcher.name, "photos": self.photos.names()}

    async def upload(self, request: Request) -> Any:
        """Take a photo; returns its number and name."""
        content = await _body(request, BYTES)
        number = await run_in_threadpool(self.photos.add, request.query_params.get("name", ""), content)
        return {"number": number, "name": self.photos[number].name}

    async def face(self, request: Request) -> Any:
        """Size and face of a photo."""
        return await run_in_threadpool(self.matcher.face, _number(request))

    async def jpeg(self, request: Request) -> Response:
        """A photo, made smaller."""
        photo = self.photos[_number(request)]
        return Response(await run_in_threadpool(shown_jpeg, photo), media_type="image/jpeg")

    async def box(self, request: Request) -> Any:
        """Where the face of a photo is."""
        number = _number(request)
        await run_in_threadpool(self.matcher.set_box, number, (await _json(request)).get("box"))
        return await run_in_threadpool(self.matcher.face, number)

    async def carry(self, request: Request) -> Any:
        """Carry points to photos."""
        given = await _json(request)
        try:
            sources = {int(number): points for number, points in dict(given["sources"]).items()}
            targets = [int(number) for number in given["targets"]]
            names = list(given["names"])
        except (KeyError, TypeError, ValueError):
            raise Refused(400, "expected sources, names and targets") from None
        found = await run_in_threadpool(self.matcher.carry, sources, names, targets)
        outside = await run_in_threadpool(self.matcher.outside, sources, names)
        return {"found": {str(number): one for number, one in found.items()}, "outside": outside}

    async def training_status(self, request: Request) -> Any:
        """How far the training is."""
        return self.training.status()

    async def train(self, request: Request) -> Any:
        """Start a training on the photos that are marked as right."""
        given = await _json(request)
        names, faces, sizes = await self._landmarks(given)
        landmark_file("csv", names, faces, self.photos.names(), sizes)  # says what is wrong with them
        squares = {}
        for number in range(len(self.photos)):
            with contextlib.suppress(DifeError):
                if box := (await run_in_threadpool(self.matcher.face, number))["box"]:
                    squares[number] = box
        marked = {int(number): points for number, points in faces.items()}
        await run_in_threadpool(self.training.start, [str(name) for name in names], marked, squares)
        return self.training.status()

    async def stop(self, request: Request) -> Any:
        """End the training."""
        await _json(request)
        await run_in_threadpool(self.training.stop)
        return self.training.status()

    async def trained_points(self, request: Request) -> Any:
        """The landmarks that the trained model found."""
        found = await run_in_threadpool(self.training.points)
        return {"found": {str(number): points for number, points in found.items()}}

    async def _landmarks(self, given: dict[str, Any]) -> tuple[Any, Any, dict[int, Any]]:
        """Return names, faces and the sizes of their photos, from a request."""
        sizes = {}
        faces = given.get("faces")
        for number in faces if isinstance(faces, dict) else ():
            with contextlib.suppress(DifeError, ValueError):
                sizes[int(number)] = (await run_in_threadpool(self.matcher.face, int(number)))["size"]
        return given.get("names"), faces, sizes

    async def save(self, request: Request) -> Response:
        """Landmarks as a file: csv or coco."""
        given = await _json(request)
        form = request.path_params["form"]
        names, faces, sizes = await self._landmarks(given)
        more = {key: given[key] for key in ("right", "matched") if key in given}
        content, media, name = landmark_file(form, names, faces, self.photos.names(), sizes, **more)
        return Response(content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _guarded(answer: Answer) -> Answer:
    """Return ``answer`` with errors as short texts, and headers that keep the page to itself."""

    async def call(request: Request) -> Response:
        try:
            _check_origin(request)
            found = await answer(request)
        except Refused as error:
            found = JSONResponse({"error": error.reason}, error.status)
        except DifeError as error:
            found = JSONResponse({"error": str(error)}, 400)
        response = found if isinstance(found, Response) else JSONResponse(found)
        response.headers.update(_HEADERS)
        return response

    return call


def _check_origin(request: Request) -> None:
    """Refuse requests that another web page makes."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise Refused(403, "requests of other pages are not answered")


async def _body(request: Request, most: int) -> bytes:
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise Refused(413, f"more than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)


async def _json(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request, whose numbers are finite and whose texts can be written."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise Refused(415, "expected application/json")
    body = await _body(request, BODY)
    try:
        given = json.loads(body, parse_int=_finite, parse_float=_finite, parse_constant=_finite)
        json.dumps(given, ensure_ascii=False).encode()  # halves of characters cannot
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "expected a JSON object with finite numbers")
    return given


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return int(number) if number.is_integer() else number


def _number(request: Request) -> int:
    """Return the number of a photo in the path of a request."""
    text = request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused(404, "no such photo")
    return int(text)


class KnownHosts:
    """Answers requests that call this machine by a name of its own, so that no other web page can pose as it.

    Args:
        app: that answers.
        hosts: names of this machine.
        addresses: answer requests for any IP address, too; a foreign page has a name.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], addresses: bool = False) -> None:
        self._app, self._hosts, self._addresses = app, {host.lower() for host in hosts}, addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        app = self._app
        if scope["type"] == "http":
            host = _host(dict(scope["headers"]).get(b"host", b"").decode("latin-1"))
            if host not in self._hosts and not (self._addresses and _is_address(host)):
                told = f"this page is not called '{host[:80]}'; start it with --allow and this name"
                app = JSONResponse({"error": told}, 400)
        await app(scope, receive, send)


def own_names() -> list[str]:
    """Return the names of this machine."""
    name = socket.gethostname()
    short = name.partition(".")[0]
    return [name, short, f"{short}.local", *LOOPBACK]


def _host(header: str) -> str:
    """Return the name or address in a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
