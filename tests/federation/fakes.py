"""Fakes at the edge: the web as the guarded client would see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from twisted.internet.defer import Deferred

from mmr.http.guard import FetchFailed, GuardedResponse, Purpose, Step
from mmr.http.guard.body import IncomingBody
from mmr.http.guard.head import ResponseHead


def response(
    status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> GuardedResponse:
    """A response that has arrived whole."""
    values = {name: [value] for name, value in (headers or {}).items()}
    head = ResponseHead(status, values, len(body), False, True)
    incoming = IncomingBody(head, _nothing, _nothing, _nothing)
    if body:
        incoming.receive(body)
    purpose = Purpose("test", max_bytes=50 * 1024)
    return GuardedResponse(head, incoming, purpose, give_up=_nothing, done=_nothing)


def _nothing() -> None:
    pass


@attrs.define
class FakeWeb:
    """Stands for the guarded client's `fetch`.

    Attributes:
        pages: What is at each URL: an answer, or why there is none.
        asked: The URLs that were fetched.
        gate: Every answer waits for it.
    """

    pages: dict[str, tuple[int, bytes, dict[str, str]] | FetchFailed] = attrs.Factory(
        dict
    )
    asked: list[str] = attrs.Factory(list)
    gate: Deferred[None] | None = None

    async def fetch(self, url: str, purpose: Purpose, **_: Any) -> GuardedResponse:
        self.asked.append(url)
        if self.gate is not None:
            await self.gate
        page = self.pages.get(url, FetchFailed(Step.CONNECT, "refused"))
        if isinstance(page, FetchFailed):
            raise page
        return response(*page)

    def delegate(self, host: str, body: bytes, **headers: str) -> None:
        """Have the host answer with that well-known document."""
        url = f"https://{host}/.well-known/matrix/server"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[url] = (200, body, named)
