"""Who is let in, to which hosts and methods, before a handler runs."""

from __future__ import annotations

from mmr.errors import forbidden, rate_limited, unrecognized
from mmr.http.admission import NoLimits
from mmr.http.request import MediaRequest
from mmr.http.responses import (
    JsonResponse,
    Response,
)
from mmr.types import Access, Requester

from tests.http.answers import ResponseTestCase
from tests.http.support import HEAD, OpenGuard, a_route


class AccessTests(ResponseTestCase):
    async def test_who_may_not_pass_causes_no_work(self) -> None:
        """R40, R6: nothing is decided before the guard has spoken."""

        class Closed(OpenGuard):
            def cached(self, request: MediaRequest, access: Access) -> None:
                return None

            async def authenticate(
                self, request: MediaRequest, access: Access
            ) -> Requester:
                raise forbidden()

        self.serve_response(lambda: AssertionError("reached"), guard=Closed())
        reply = await self.get(b"/m", b"If-None-Match: *")
        self.assertEqual(reply.status, 403)

    async def test_unknown_hosts_are_refused_first(self) -> None:
        """R75."""
        self.serve_response(lambda: AssertionError("reached"))
        reply = await self.ask(b"GET /m HTTP/1.1\r\nHost: a.example\r\n\r\n")
        self.assertEqual((reply.status, reply.json["errcode"]), (502, "M_UNKNOWN"))
        self.assertEqual(reply.header(b"content-type"), b"application/json")
        self.assertNotIn(b"a.example", reply.body)

    async def test_any_host_is_served_where_anyone_may_ask(self) -> None:
        async def health(request: MediaRequest) -> Response:
            self.assertRaises(RuntimeError, lambda: request.domain)
            return JsonResponse({"ok": True})

        self.serve(a_route("/healthz", health, access=Access.ANYONE))
        reply = await self.ask(b"GET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")
        self.assertEqual(reply.json, {"ok": True})

    async def test_options_runs_nothing(self) -> None:
        self.serve_response(lambda: AssertionError("reached"))
        reply = await self.ask(b"OPTIONS /m HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(reply.status, 204)
        for name in (b"allow", b"access-control-allow-methods"):
            self.assertEqual(reply.header(name), b"GET, HEAD, POST, OPTIONS")

    async def test_wrong_methods_are_told_the_right_ones(self) -> None:
        self.serve_response(lambda: AssertionError("reached"))
        reply = await self.ask(b"DELETE /m HTTP/1.1\r\n" + HEAD + b"\r\n")
        self.assertEqual(reply.status, 405)
        self.assertEqual(reply.json["errcode"], "M_UNRECOGNIZED")
        self.assertEqual(reply.header(b"allow"), b"GET, HEAD, POST, OPTIONS")

    async def test_limits_are_asked_for_the_unknown_and_the_known(self) -> None:
        class OneLimit(NoLimits):
            def unproven(self, request: MediaRequest) -> None:
                raise rate_limited(1500)

            def proven(self, request: MediaRequest) -> None:
                request.add_header(b"RateLimit-Remaining", b"0")

        self.serve(caller_limits=OneLimit())
        reply = await self.get(b"/nowhere")
        self.assertEqual(reply.status, 429)
        self.assertEqual(reply.header(b"retry-after"), b"2")
        self.assertEqual(reply.header(b"access-control-allow-origin"), b"*")
        reply = await self.get(b"/hello")
        self.assertEqual(reply.header(b"ratelimit-remaining"), b"0")

    async def test_handlers_see_the_request(self) -> None:
        seen: list[MediaRequest] = []

        async def handler(request: MediaRequest, server: str) -> Response:
            seen.append(request)
            if server == "unknown":
                raise unrecognized()
            return JsonResponse({"server": server})

        self.serve(a_route("/x/:server", handler))
        target = b"/x/a%3A1%2Fb?q=1&q=2"
        reply = await self.get(target, b"X-Forwarded-For: 192.0.2.7, 10.0.0.1")
        self.assertEqual(reply.json, {"server": "a:1/b"})
        request = seen[0]
        self.assertEqual(request.method, b"GET")
        self.assertEqual(request.path_text, "/x/a%3A1%2Fb")
        self.assertEqual(request.host, "example.org")
        self.assertEqual(request.query.text("q"), "1")
        self.assertEqual(request.client_address, "192.0.2.7")
        self.assertRegex(request.request_id, r"GET-[0-9]+\Z")
        headers = request.requestHeaders
        self.assertEqual(headers.getRawHeaders("Host"), ["example.org"])
        self.assertEqual((await self.get(b"/x/unknown")).status, 404)
