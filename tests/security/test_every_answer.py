"""What all answers have in common, whichever route and outcome (R1, R2, R5, R6)."""

from __future__ import annotations

import json
from typing import Any

from tests.harness import HOST, Answer, png
from tests.homeserver import Reply
from tests.security.expected import Callers, Role, callers_of
from tests.security.route_case import RouteCase

PLANTED = "<script>planted"
SECRET = "SELECT secret FROM /etc/shadow at 10.1.2.3"
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


class EveryAnswer(RouteCase):
    """A table of all routes and what may come of them."""

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        """Send these bytes; the answer has everything that all have."""
        wire = await self.wire()
        wire.send(data)
        answer = await wire.answer(method)
        first = data.split(b"\r\n")[0].decode("latin-1")
        self.check_fixed_headers(answer, first)
        if answer.status >= 400:
            self.check_error(answer, first)
        whole = repr(sorted(answer.headers.items())) + answer.body.decode("latin-1")
        self.assertNotIn("planted", whole, first)
        wire.abort()
        return answer

    async def test_every_method_at_every_route(self) -> None:
        """R1, R2: 200, 204, 400, 401, 404, 405 and the rest."""
        statuses = set()
        for template in sorted({path for _, path in self.every_route()}):
            path = self.fill(template, HOST, await self.upload(png()))
            for method in _METHODS:
                self.reset_callers()
                for token in (None, "alice-token"):
                    lines = ("Content-Length: 0", "X-Own: <script>planted")
                    head = self.head(method, path, *lines, token=token)
                    answer = await self.ask(head, method)
                    statuses.add(answer.status)
                    if method == "PATCH":
                        self.assertEqual(answer.status, 405, path)
                        self.assertIn("OPTIONS", answer.headers["allow"])
        self.assertLessEqual({200, 204, 400, 401, 404, 405}, statuses)

    async def test_every_route_with_what_is_not_to_be_reflected(self) -> None:
        """R5, R75: unknown hosts, broken parameters and escapes, long targets."""
        planted = PLANTED.encode()
        for method, template in self.every_route():
            path = self.fill(template, HOST, "abc").encode()
            bare = path.partition(b"?")[0]
            verb = method.encode()
            host = b"Host: media.example\r\n"
            for target, lines in (
                (path, b"Host: " + planted + b"\r\n"),
                (path, b"Host: planted.example\r\n"),
                (path, b""),
                (path, host + b"Authorization: Bearer " + planted + b"\r\n"),
                (path, host + b"Authorization: X-Matrix origin=planted\r\n"),
                (path, host + planted + b": 1\r\n"),
                (bare + b"?%zz&" + planted, host),
                (bare + b"?width=planted&allow_remote=planted&url=planted", host),
                (bare + b"/planted/%3Cscript%3Eplanted", host),
                (bare + b"?" + b"planted" * 2000, host),
            ):
                line = verb + b" " + target + b" HTTP/1.1\r\n"
                await self.ask(line + lines + b"\r\n", method)

    async def test_every_route_when_the_database_fails(self) -> None:
        """R5: nothing of the cause is told."""
        media_id = await self.upload(png())
        self.server.media_records.clear()
        database = self.server.db
        for name in ("fetch_one", "fetch_all", "interaction"):
            self.patch(database, name, _raise(RuntimeError(SECRET)))
        await self.check_all(media_id, {500, 503})

    async def test_every_route_when_the_homeserver_talks_nonsense(self) -> None:
        """R5: upstream text stays upstream."""
        page = b"<html>" + SECRET.encode()
        error = json.dumps({"errcode": SECRET, "error": SECRET}).encode()
        nobody = json.dumps({"user_id": SECRET}).encode()
        for status, body in (
            (200, page),
            (200, nobody),
            (302, page),
            (401, error),
            (403, error),
            (429, error),
            (500, error),
        ):
            self.homeserver.override = Reply(status, body)
            await self.stop_server()
            await self.start_server()
            await self.check_all("abc", set(), roles=(Role.USER,))

    async def test_every_route_when_its_handler_crashes(self) -> None:
        """R5: whatever the layer."""
        media_id = await self.upload(png())
        for route in self.server.router.routes:
            object.__setattr__(route, "handler", _raise(OSError(13, SECRET, SECRET)))
        await self.check_all(media_id, {500})

    async def check_all(
        self,
        media_id: str,
        expected: set[int],
        roles: tuple[Role, ...] = (Role.USER, Role.ADMIN, Role.SERVER),
    ) -> None:
        """Ask every route; of those that fail, none may tell why."""
        seen = set()
        for method, template in self.every_route():
            for role in roles:
                path = self.fill(template, HOST, media_id)
                answer = await self.ask_as(role, method, path)
                what = f"{method} {path} as {role.value}: {answer}"
                self.check_fixed_headers(answer, what)
                if answer.status >= 400:
                    self.check_error(answer, what)
                seen.add(answer.status)
                for word in ("SELECT", "/etc", "10.1.2.3", "Traceback", "html"):
                    self.assertNotIn(word, answer.body.decode("latin-1"), what)
                    self.assertNotIn(word, repr(answer.headers), what)
        if expected:
            self.assertTrue(seen & expected)
            self.assertLessEqual({status for status in seen if status > 499}, expected)

    async def test_each_class_of_answer_has_its_cache_header(self) -> None:
        """R6."""
        media_id = await self.upload(png())
        for method, template in self.every_route():
            role = Role.ADMIN
            if callers_of(method, template) is Callers.SERVERS:
                role = Role.SERVER
            self.reset_callers()
            answer = await self.ask_as(
                role, method, self.fill(template, HOST, media_id)
            )
            is_media = answer.status == 200 and (
                answer.headers["content-type"].startswith(("image/", "multipart/"))
            )
            cache = answer.headers["cache-control"]
            wanted = "private, max-age=259200" if is_media else "no-store"
            self.assertEqual(cache, wanted, f"{method} {template}")


class Conditions(RouteCase):
    """R6: 304, 206 and HEAD come after the checks."""

    async def paths(self) -> list[str]:
        media_id = await self.upload(png(300, 300))
        return [
            self.fill(template, HOST, media_id)
            for method, template in self.every_route()
            if method == "GET" and ":media_id" in template and ":server" in template
            if "/download/" in template or "/thumbnail/" in template
        ]

    async def outcomes(self, path: str, etag: str, **who: Any) -> set[int]:
        return {
            (await self.request(method, path, headers=headers, **who)).status
            for method, headers in (
                ("GET", {}),
                ("GET", {"If-None-Match": etag}),
                ("GET", {"If-None-Match": "*"}),
                ("GET", {"Range": "bytes=0-9"}),
                ("GET", {"Range": "bytes=0-9", "If-Range": etag}),
            )
        }

    async def test_a_warm_client_without_a_token_or_of_quarantined_media(self) -> None:
        paths = await self.paths()
        self.assertGreater(len(paths), 12)
        etags = {}
        for path in paths:
            for _ in range(2):
                answer = await self.get(path)
                self.assertEqual(answer.status, 200, path)
            etags[path] = answer.headers["etag"]
            self.assertIn(304, await self.outcomes(path, etags[path]))
        for path in paths:
            status = 401 if path.startswith("/_matrix/client/v1/media/") else 404
            found = await self.outcomes(path, etags[path], token=None)
            self.assertEqual(found, {status}, path)
        await self.quarantine(paths[0].partition("?")[0].split("/")[6])
        for path in paths:
            found = await self.outcomes(path, etags[path])
            # A placeholder takes the place of a thumbnail.
            wanted = {200, 206} if "/thumbnail/" in path else {404}
            self.assertEqual(found, wanted, path)
            answer = await self.get(path, headers={"If-None-Match": etags[path]})
            self.assertEqual(answer.headers["cache-control"], "no-store", path)


def _raise(error: Exception) -> Any:
    async def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail
