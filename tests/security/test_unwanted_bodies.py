"""Bodies that nobody asked for, and JSON that is too long, on every route (R62)."""

from __future__ import annotations

from tests.harness import HOST
from tests.security.route_case import RouteCase

_GIGABYTE = 1 << 30
_ADMIN = "admin-token"


class UnwantedBodies(RouteCase):
    async def test_a_gigabyte_where_none_is_read(self) -> None:
        """The answer comes at once, and the connection ends with it."""
        asked = 0
        for route in self.server.router.routes:
            if route.reads_body:
                continue
            for method in route.methods:
                for line in (
                    f"Content-Length: {_GIGABYTE}",
                    "Transfer-Encoding: chunked",
                ):
                    self.reset_callers()
                    path = self.fill(route.path, HOST, "abc")
                    wire = await self.wire()
                    wire.send(self.head(method, path, line, token=_ADMIN))
                    answer = await wire.answer(method)
                    what = f"{method} {path} {line}: {answer}"
                    self.assertNotIn(answer.status, (100, 500), what)
                    self.assertEqual(answer.headers["connection"], "close", what)
                    wire.abort()
                    asked += 1
        self.assertGreater(asked, 300)

    async def test_json_is_read_up_to_its_limit(self) -> None:
        """64 KiB of what we take apart, before `100 Continue` is said."""
        asked = 0
        for method, template in self.every_route():
            if not template.endswith(("/attributes/set", "/attributes")):
                continue
            if method != "POST":
                continue
            path = self.fill(template, HOST, "abc")
            for line in ("Content-Length: 65537", "Transfer-Encoding: chunked"):
                wire = await self.wire()
                wire.send(self.head(method, path, line, token=_ADMIN))
                if "chunked" in line:
                    wire.send_chunk(b" " * 65537)
                answer = await wire.answer()
                self.assertEqual((answer.status, answer.json["errcode"]), _TOO_LARGE)
                asked += 1
            for body in (b"", b"[]", b"{", b'"x"', b"\xff{}", b"[" * 60_000):
                answer = await self.request(method, path, token=_ADMIN, body=body)
                self.assertEqual(answer.status, 400, (path, body[:9], answer))
        self.assertGreater(asked, 3)


_TOO_LARGE = (413, "M_TOO_LARGE")
