"""Profiles of the running process, behind a secret (mmr-tools.md §13).

The paths are MMR's, so that those who know them find them; what they give is Python's.
"""

from __future__ import annotations

import cProfile
import gc
import io
import os
import pstats
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Mapping

from mmr.auth.secrets import same_secret
from mmr.config.access import WEAK_ADVICE, is_weak
from mmr.errors import ConfigError, MatrixError, bad_request, not_found
from mmr.http.request import MediaRequest
from mmr.http.responses import BytesResponse, JsonResponse, Response
from mmr.http.routing import Route
from mmr.types import Access
from mmr.util.clock import Clock

SECRET = "MEDIA_PPROF_SECRET_KEY"  # noqa: S105 - the variable's name
_PREFIX = "/_matrix/media/unstable/io.t2bot/debug/pprof"
_MAX_SECONDS = 120
_SHOWN = 60
_INDEX = b"""\
profile?seconds=30   where the reactor's thread spends its time
goroutine            what each thread is doing
heap                 objects by type
"""


def profiling_secret(environ: Mapping[str, str]) -> str:
    """Who knows it may see profiles; empty: nobody may.

    Raises:
        ConfigError: it can be guessed (R43).
    """
    secret = environ.get(SECRET, "")
    if secret and is_weak(secret):
        raise ConfigError(WEAK_ADVICE, key=SECRET)
    return secret


def profiling_servlets(environ: Mapping[str, str], clock: Clock) -> list[Profiling]:
    """The servlet, when its secret is set."""
    secret = profiling_secret(environ)
    return [Profiling(secret, clock)] if secret else []


class Profiling:
    """Shows what the process does.

    Args:
        secret: Whoever knows it may look.
        clock: For the time that a profile takes.
    """

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._is_profiling = False

    def routes(self) -> list[Route]:
        """The routes. They answer on any host."""
        return [
            Route(
                methods=("GET",),
                path=path,
                action="pprof",
                access=Access.ANYONE,
                handler=self.on_get,
            )
            for path in (_PREFIX, f"{_PREFIX}/:name")
        ]

    async def on_get(self, request: MediaRequest, name: str = "") -> Response:
        """One of the pages."""
        if not self._may(request):
            return JsonResponse({"success": False}, status=401)
        if name == "profile":
            return _text((await self._profile(request)).encode())
        pages = {"": lambda: _INDEX, "goroutine": _threads, "heap": _objects}
        if name not in pages:
            raise not_found()
        return _text(pages[name]())

    def _may(self, request: MediaRequest) -> bool:
        header = request.header(b"authorization")
        given = (
            header.decode("latin-1") if header else request.query.text("access_token")
        )
        return same_secret(given or "", f"Bearer {self._secret}")

    async def _profile(self, request: MediaRequest) -> str:
        seconds = request.query.integer("seconds", 30, "seconds must be a number")
        if not 1 <= seconds <= _MAX_SECONDS:
            raise bad_request(f"seconds must be from 1 to {_MAX_SECONDS}")
        if self._is_profiling:
            raise MatrixError(409, "M_UNKNOWN", "A profile is being taken already")
        self._is_profiling = True
        profile = cProfile.Profile()
        profile.enable()
        try:
            await self._clock.sleep(seconds)
        finally:
            profile.disable()
            self._is_profiling = False
        written = io.StringIO()
        pstats.Stats(profile, stream=written).sort_stats("tottime").print_stats(_SHOWN)
        return written.getvalue()


def _threads() -> bytes:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for number, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        parts.append(f"{names.get(number, number)}:\n{stack}")
    return "\n".join(parts).encode()


def _objects() -> bytes:
    counts = Counter(type(each).__qualname__ for each in gc.get_objects())
    lines = [f"{count:10d} {name}" for name, count in counts.most_common(_SHOWN)]
    return "\n".join(["objects by type", *lines, f"pid {os.getpid()}"]).encode()


def _text(data: bytes) -> BytesResponse:
    return BytesResponse(data, "text/plain; charset=utf-8")
