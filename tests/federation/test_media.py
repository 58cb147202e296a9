"""Fetching media of servers of every kind."""

from __future__ import annotations

from collections.abc import Callable

from mmr.crypto.keys import encode_base64
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import parse_x_matrix, request_object
from mmr.errors import MatrixError
from mmr.federation.errors import Cause, RemoteFailed
from mmr.federation.media import Endpoint, RemoteFile
from mmr.types import Mxc

from tests.federation.support import KEY, FederationTestCase
from tests.stub_web import Seen, StubConnection, StubServer

_BOUNDARY = "b0undary"
_TYPE = {"Content-Type": f"multipart/mixed; boundary={_BOUNDARY}"}
_UNKNOWN = (404, b'{"errcode": "M_UNRECOGNIZED", "error": "?"}', {})
_GONE = (404, b'{"errcode": "M_NOT_FOUND", "error": "?"}', {})
_PNG = {
    "Content-Type": "image/png",
    "Content-Disposition": "inline; filename*=utf-8''%E7%8C%AB.png",
}

Answer = tuple[int, bytes, dict[str, str]]


def envelope(
    content: bytes = b"media", headers: dict[str, str] | None = None, end: str = "--"
) -> bytes:
    """What the federation endpoint answers."""
    lines = "".join(f"{n}: {v}\r\n" for n, v in (headers or _PNG).items())
    first = f"--{_BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n"
    head = f"{first}--{_BOUNDARY}\r\n{lines}\r\n"
    return head.encode() + content + f"\r\n--{_BOUNDARY}{end}".encode()


class MediaTestCase(FederationTestCase):
    """Has a remote server that knows some endpoints."""

    def script(self, answers: Callable[[str], Answer]) -> None:
        def reply(connection: StubConnection, seen: Seen) -> None:
            connection.reply(*answers(seen.target.partition("?")[0]))

        self.remote.script = reply

    def knows(self, answers: dict[Endpoint, Answer], other: Answer = _UNKNOWN) -> None:
        paths = {self.path(endpoint): answer for endpoint, answer in answers.items()}
        self.script(lambda path: paths.get(path, other))

    def path(self, endpoint: Endpoint) -> str:
        return endpoint.target(self.mxc(), 0).partition("?")[0]

    async def fetch(self, **settings: object) -> tuple[RemoteFile, bytes]:
        file = await self.media.open(self.domain(**settings), self.mxc(), 5000)
        try:
            return file, b"".join([piece async for piece in file.body])
        finally:
            await file.close()

    async def failure(self, **settings: object) -> RemoteFailed:
        try:
            await self.fetch(**settings)
        except RemoteFailed as failure:
            return failure
        self.fail("it worked")

    def asked(self) -> list[Endpoint]:
        """The endpoints that were asked, in order."""
        by_path = {self.path(endpoint): endpoint for endpoint in Endpoint}
        return [by_path[one.target.partition("?")[0]] for one in self.remote.requests]


class EndpointTests(MediaTestCase):
    async def test_a_current_server_gets_one_signed_request(self) -> None:
        self.knows({Endpoint.FEDERATION: (200, envelope(), _TYPE)})
        file, body = await self.fetch()
        self.assertEqual((file.content_type, file.name), ("image/png", "猫.png"))
        self.assertEqual((file.size, body), (None, b"media"))
        [seen] = self.remote.requests
        target = "/_matrix/federation/v1/media/download/abc?timeout_ms=5000"
        self.assertEqual(seen.target, target)
        self.assertEqual(seen.headers["host"], self.name)
        self.assertEqual(seen.headers["accept-encoding"], "identity")
        self.assertEqual(seen.server_name, "remote.example")
        [entry] = parse_x_matrix([seen.headers["authorization"].encode()])
        self.assertEqual(entry.origin, "us.example")
        self.assertEqual(entry.destination, self.name)
        message = request_object("GET", target, "us.example", self.name)
        self.assertEqual(
            encode_base64(entry.signature),
            encode_base64(KEY.sign(canonical_json(message))),
        )

    async def test_older_servers_are_asked_by_all_routes_in_order(self) -> None:
        self.knows({Endpoint.LEGACY_R0: (200, b"old", _PNG)})
        file, body = await self.fetch()
        self.assertEqual((file.content_type, file.name), ("image/png", "猫.png"))
        self.assertEqual((file.size, body), (3, b"old"))
        self.assertEqual(self.asked(), list(Endpoint))
        for seen, endpoint in zip(self.remote.requests, Endpoint, strict=True):
            self.assertEqual("authorization" in seen.headers, endpoint.is_signed)
            if endpoint is not Endpoint.FEDERATION:
                self.assertIn("allow_remote=false&allow_redirect=true", seen.target)

    async def test_what_a_server_knows_is_remembered(self) -> None:
        self.knows({Endpoint.MSC1902: (200, b"raw", {})})
        for _ in range(2):
            file, _ = await self.fetch()
        self.assertEqual(file.content_type, "application/octet-stream")
        self.assertEqual(file.name, "")
        self.assertEqual(self.asked(), [*list(Endpoint)[:2], Endpoint.MSC1902])

    async def test_a_server_that_was_upgraded_is_asked_anew(self) -> None:
        """Its old route has frozen, and says so by not-found."""
        self.knows({Endpoint.LEGACY: (200, b"old", {})})
        await self.fetch()
        new = (200, envelope(), _TYPE)
        self.knows({Endpoint.FEDERATION: new, Endpoint.LEGACY: _GONE})
        _, body = await self.fetch()
        self.assertEqual(body, b"media")

    async def test_every_way_of_not_knowing_an_endpoint(self) -> None:
        """D40."""
        json = b'{"errcode": "M_UNRECOGNIZED"}'
        for unknown in (
            *((status, json, {}) for status in (400, 404, 405)),
            *((status, b"<html>", {}) for status in (400, 401, 403, 404, 405)),
        ):
            self.media = self.make_media()
            self.knows({Endpoint.LEGACY: (200, b"old", {})}, unknown)
            _, body = await self.fetch()
            self.assertEqual(body, b"old")

    async def test_without_a_key_only_open_routes_are_asked(self) -> None:
        self.knows({Endpoint.LEGACY: (200, b"old", {})})
        await self.fetch(signing_key_path="")
        self.assertEqual(self.asked(), [Endpoint.LEGACY])

    async def test_a_key_that_is_not_there_is_our_fault(self) -> None:
        """R60: nothing goes out unsigned in its place."""
        with self.assertLogs("mmr.federation.media", "ERROR"):
            try:
                await self.fetch(signing_key_path="/nowhere/signing.key")
            except MatrixError as error:
                self.assertEqual(error.status, 503)
        self.assertEqual(self.remote.requests, [])

    async def test_our_own_names_are_never_asked(self) -> None:
        """R21."""
        with self.assertRaises(RemoteFailed) as caught:
            await self.media.open(self.domain(), Mxc("us.example", "abc"), 0)
        self.assertEqual(caught.exception.status, 404)
        self.assertEqual(self.dns.asked, [])


class LocationTests(MediaTestCase):
    async def point_to(self, server: StubServer, path: str = "/file") -> None:
        url = server.url(path, "cdn.example")
        body = envelope(b"ignored", {"Location": url, "Content-Type": "text/html"})
        self.knows({Endpoint.FEDERATION: (200, body, _TYPE)})

    async def test_a_location_is_fetched_without_the_signature(self) -> None:
        """R14."""
        cdn = await self.serve("cdn.example")
        cdn.body, cdn.headers = b"from the cdn", dict(_PNG)
        await self.point_to(cdn)
        file, body = await self.fetch()
        self.assertEqual((file.content_type, file.name), ("image/png", "猫.png"))
        self.assertEqual(body, b"from the cdn")
        self.assertNotIn("authorization", cdn.requests[0].headers)

    async def test_five_redirects_and_no_more(self) -> None:
        """R14."""
        cdn = await self.serve("cdn.example")

        def script(connection: StubConnection, seen: Seen) -> None:
            left = int(seen.target[1:])
            if left:
                connection.reply(302, b"", {"Location": f"/{left - 1}"})
            else:
                connection.reply(200, b"at last")

        cdn.script = script
        await self.point_to(cdn, "/5")
        self.assertEqual((await self.fetch())[1], b"at last")
        await self.point_to(cdn, "/6")
        failure = await self.failure()
        self.assertEqual((failure.step, failure.status), ("location", 502))

    async def test_an_error_page_is_never_the_file(self) -> None:
        """R14, D30."""
        cdn = await self.serve("cdn.example")
        await self.point_to(cdn)
        for status in (404, 403, 500, 206):
            cdn.status = status
            failure = await self.failure()
            self.assertEqual((failure.step, failure.status), ("location", 502))

    async def test_a_location_in_our_network_is_refused(self) -> None:
        """R8, R14."""
        for url in ("https://10.0.0.1/x", "http://cdn.example/x", "file:///etc/passwd"):
            body = envelope(b"", {"Location": url})
            self.knows({Endpoint.FEDERATION: (200, body, _TYPE)})
            self.assertEqual((await self.failure()).step, "location")

    async def test_older_servers_may_redirect_too(self) -> None:
        cdn = await self.serve("cdn.example")
        location = {"Location": cdn.url("/file", "cdn.example")}
        self.knows({Endpoint.LEGACY: (307, b"", location)})
        self.assertEqual((await self.fetch())[1], b"hello")

    async def test_the_federation_endpoint_may_not(self) -> None:
        cdn = await self.serve("cdn.example")
        location = {"Location": cdn.url("/file", "cdn.example")}
        self.knows({Endpoint.FEDERATION: (307, b"", location)})
        self.assertEqual((await self.failure()).cause, Cause.BROKEN)
        self.assertEqual(cdn.requests, [])


class FailureTests(MediaTestCase):
    async def test_each_answer_is_an_error_that_clients_understand(self) -> None:
        """matrix-media-spec §8.3; D40 for 401 and 403."""
        for status, errcode, cause, seen in (
            (404, "M_NOT_FOUND", Cause.NOT_FOUND, (404, "M_NOT_FOUND")),
            (504, "M_NOT_YET_UPLOADED", Cause.NOT_YET_UPLOADED, (504, None)),
            (502, "M_TOO_LARGE", Cause.TOO_LARGE, (502, "M_TOO_LARGE")),
            (401, "M_UNAUTHORIZED", Cause.REFUSED, (502, "M_UNKNOWN")),
            (403, "M_FORBIDDEN", Cause.REFUSED, (502, "M_UNKNOWN")),
            (429, "M_LIMIT_EXCEEDED", Cause.RATE_LIMITED, (502, "M_UNKNOWN")),
            (400, "M_UNKNOWN", Cause.BROKEN, (502, "M_UNKNOWN")),
            (500, "M_UNKNOWN", Cause.BROKEN, (502, "M_UNKNOWN")),
        ):
            self.client = self.make_client()
            body = b'{"errcode": "%s", "error": "x"}' % errcode.encode()
            self.knows({Endpoint.FEDERATION: (status, body, {})})
            failure = await self.failure()
            self.assertEqual(failure.cause, cause)
            self.assertEqual(
                (failure.status, failure.errcode), (seen[0], seen[1] or errcode)
            )
            self.assertEqual(len(self.remote.requests), 1)
            self.remote.requests.clear()

    async def test_what_is_no_envelope_is_an_error(self) -> None:
        """R59."""
        for body, headers in (
            (b"<html>", {"Content-Type": "text/html"}),
            (envelope(), {"Content-Type": "multipart/mixed"}),
            (b"", _TYPE),
            (envelope(end=""), _TYPE),
            (envelope(end="\r\n\r\nthird\r\n--" + _BOUNDARY + "--"), _TYPE),
        ):
            self.knows({Endpoint.FEDERATION: (200, body, headers)})
            failure = await self.failure()
            self.assertEqual((failure.step, failure.status), ("multipart", 502))

    async def test_too_much_is_refused_before_and_while_it_is_read(self) -> None:
        """R16: with a length, without one, and behind a location."""
        large = b"x" * 300_000
        limit = {"max_bytes": 100_000}
        self.knows({Endpoint.FEDERATION: (200, envelope(large), _TYPE)})
        failure = await self.failure(downloads=limit)
        self.assertEqual((failure.status, failure.errcode), (502, "M_TOO_LARGE"))
        self.knows({Endpoint.LEGACY: (200, large, {})})
        self.assertEqual((await self.failure(downloads=limit)).cause, Cause.TOO_LARGE)
        self.remote.script = self._without_length(envelope(large))
        self.media = self.make_media()
        self.assertEqual((await self.failure(downloads=limit)).cause, Cause.TOO_LARGE)

    async def test_a_file_of_just_the_largest_size_is_fine(self) -> None:
        content = b"x" * 100_000
        self.knows({Endpoint.FEDERATION: (200, envelope(content), _TYPE)})
        _, body = await self.fetch(downloads={"max_bytes": len(content)})
        self.assertEqual(body, content)

    async def test_a_body_that_breaks_off_is_an_error(self) -> None:
        def script(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n")
            connection.send(b"Content-Type: image/png\r\n\r\nonly this")
            connection.close()

        self.remote.script = script
        failure = await self.failure(signing_key_path="")
        self.assertEqual((failure.step, failure.status), ("body", 502))

    async def test_an_unknown_name_is_an_unknown_server(self) -> None:
        with self.assertLogs("mmr.federation.media", "WARNING") as logged:
            with self.assertRaises(RemoteFailed) as caught:
                await self.media.open(
                    self.domain(), Mxc("nowhere.example:8448", "a"), 0
                )
        self.assertTrue(caught.exception.is_unknown_server)
        self.assertIn("at step 'dns'", logged.output[0])

    async def test_a_private_address_is_not_reached(self) -> None:
        """R8."""
        self.dns.hosts["inside.example"] = ["10.0.0.1"]
        with self.assertRaises(RemoteFailed) as caught:
            await self.media.open(self.domain(), Mxc("inside.example:8448", "a"), 0)
        self.assertEqual(caught.exception.step, "denied")
        self.assertEqual(caught.exception.message, "The remote server can't be reached")

    def _without_length(self, body: bytes) -> Callable[[StubConnection, Seen], None]:
        def script(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
            connection.send(f"Content-Type: {_TYPE['Content-Type']}\r\n\r\n".encode())
            connection.send(body)
            connection.close()

        return script
