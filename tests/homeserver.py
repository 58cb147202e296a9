"""A homeserver on loopback for tests: it knows tokens, and it can be told to fail."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import attrs

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site


@attrs.frozen
class Seen:
    """A request that the homeserver got.

    Attributes:
        method: Such as ``GET``.
        path: Raw, as it was on the wire, without the query.
        args: The query, decoded by Twisted.
        headers: By lower-case name; the last value of each.
    """

    method: str
    path: str
    args: dict[bytes, list[bytes]]
    headers: dict[str, str]


@attrs.frozen
class Reply:
    """A fixed answer, in the place of the right one."""

    status: int
    body: bytes = b"{}"


def error_reply(status: int, errcode: str, **more: Any) -> Reply:
    """A Matrix error."""
    return Reply(
        status, json.dumps({"errcode": errcode, "error": "no", **more}).encode()
    )


class StubHomeserver:
    """Answers whoami, logout, versions and whois as a homeserver would.

    Attributes:
        users: Whose each token is. Logout removes from it.
        guests: The users who are guests.
        admins: The users who may call whois.
        room_media: What each room has: the answer of Synapse's admin API.
        admin_pages: Answers of its admin API, or statuses, by path and query.
        appservice_tokens: Tokens that may act for any user (``user_id``).
        versions: The answer to ``/versions``.
        requests: All requests so far.
        override: When set, the answer to everything.
        hanging: When true, requests get no answer.
        delay_s: Seconds before each answer.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._port: Any = None
        self.factory: _Connections
        self._delayed: set[IDelayedCall] = set()
        self._left: set[Request] = set()
        self.url = ""
        self.users: dict[str, str] = {}
        self.guests: set[str] = set()
        self.admins: set[str] = set()
        self.room_media: dict[str, dict[str, list[str]]] = {}
        self.admin_pages: dict[str, dict[str, Any] | int] = {}
        self.appservice_tokens: set[str] = set()
        self.versions: dict[str, Any] = {"versions": ["v1.1"], "unstable_features": {}}
        self.requests: list[Seen] = []
        self.override: Reply | None = None
        self.hanging = False
        self.delay_s = 0.0

    async def start(self) -> str:
        """Listen on a free port of loopback (or the same again) and give the URL."""
        number = int(self.url.rsplit(":", 1)[1]) if self.url else 0
        self.factory = _Connections(_QuietSite(_Root(self)))
        self._port = self._reactor.listenTCP(
            number, self.factory, interface="127.0.0.1"
        )
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"
        return self.url

    async def stop(self) -> None:
        """Stop listening and hang up; `start` brings it back under the same URL."""
        port, self._port = self._port, None
        for call in self._delayed:
            if call.active():
                call.cancel()
        self._delayed.clear()
        if port is not None:
            await maybeDeferred(port.stopListening)
            await self.factory.hang_up()

    def count(self, path_end: str) -> int:
        """How many requests there were for a path that ends so."""
        return sum(seen.path.endswith(path_end) for seen in self.requests)

    def handle(self, request: Request) -> int:
        """Answer a request, now, later or never."""
        self.requests.append(_seen(request))
        if self.hanging:
            return NOT_DONE_YET
        gone = request.notifyFinish()
        gone.addErrback(lambda _: self._left.add(request))
        if self.delay_s:
            call = self._reactor.callLater(self.delay_s, self._answer, request)
            self._delayed = {each for each in self._delayed if each.active()} | {call}
        else:
            self._answer(request)
        return NOT_DONE_YET

    def _answer(self, request: Request) -> None:
        if request in self._left:
            self._left.remove(request)
            return
        reply = self.override or self._reply(request)
        request.setResponseCode(reply.status)
        request.setHeader("Content-Type", "application/json")
        request.write(reply.body)
        request.finish()

    def _reply(self, request: Request) -> Reply:
        path = request.path.decode("ascii")
        if path == "/_matrix/client/versions":
            return Reply(200, json.dumps(self.versions).encode())
        token = (request.getHeader("authorization") or "").removeprefix("Bearer ")
        user = self._user(token, request)
        if user is None:
            return error_reply(401, "M_UNKNOWN_TOKEN")
        if path == "/_matrix/client/v3/account/whoami":
            body = {"user_id": user, "is_guest": user in self.guests}
            return Reply(200, json.dumps(body).encode())
        if path.startswith("/_matrix/client/v3/logout"):
            self._logout(token, user, everywhere=path.endswith("/all"))
            return Reply(200)
        if "/whois/" in path:
            allowed = user in self.admins
            return Reply(200) if allowed else error_reply(403, "M_FORBIDDEN")
        if path.startswith("/_synapse/admin/v1/room/"):
            return self._room_reply(path, user)
        if path.startswith("/_synapse/admin/"):
            return self._admin_reply(request.uri.decode("ascii"), user)
        return error_reply(404, "M_UNRECOGNIZED")

    def _admin_reply(self, target: str, user: str) -> Reply:
        if user not in self.admins:
            return error_reply(403, "M_FORBIDDEN")
        page = self.admin_pages.get(target, 404)
        if target.startswith("/_synapse/admin/v2/users/"):
            known = unquote(target.rpartition("/")[2]) in self.users.values()
            page = {} if known else 404
        if isinstance(page, int):
            return error_reply(page, "M_UNKNOWN")
        return Reply(200, json.dumps(page).encode())

    def _room_reply(self, path: str, user: str) -> Reply:
        if user not in self.admins:
            return error_reply(403, "M_FORBIDDEN")
        room_id = unquote(path.split("/")[5])
        media = self.room_media.get(room_id)
        if media is None:
            return error_reply(404, "M_NOT_FOUND")
        return Reply(200, json.dumps(media).encode())

    def _user(self, token: str, request: Request) -> str | None:
        asserted = request.args.get(b"user_id")
        if token in self.appservice_tokens and asserted:
            return asserted[0].decode()
        return self.users.get(token)

    def _logout(self, token: str, user: str, *, everywhere: bool) -> None:
        ended = [
            t for t, u in self.users.items() if t == token or (everywhere and u == user)
        ]
        for each in ended:
            del self.users[each]


def _seen(request: Request) -> Seen:
    headers = {
        name.decode().lower(): values[-1].decode()
        for name, values in request.requestHeaders.getAllRawHeaders()
    }
    return Seen(
        request.method.decode(), request.path.decode("ascii"), request.args, headers
    )


class _Root(Resource):
    isLeaf = True

    def __init__(self, homeserver: StubHomeserver) -> None:
        super().__init__()
        self._homeserver = homeserver

    def render(self, request: Request) -> int:
        return self._homeserver.handle(request)


class _QuietSite(Site):
    noisy = False

    def log(self, request: Any) -> None:
        pass


class _Connections(WrappingFactory):
    """Can hang up on everybody, so that no test leaves sockets behind."""

    noisy = False
    _gone: Deferred[None] | None = None

    def unregisterProtocol(self, p: Any) -> None:
        super().unregisterProtocol(p)
        if self._gone is not None and not self.protocols:
            self._gone.callback(None)

    async def hang_up(self) -> None:
        if self.protocols:
            self._gone = Deferred()
            for protocol in list(self.protocols):
                protocol.transport.abortConnection()
            await self._gone
