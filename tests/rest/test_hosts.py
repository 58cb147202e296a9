"""Hosts, unknown paths and methods (mmr-http-api.md §1.3 to §1.9; R75)."""

from __future__ import annotations

from typing import Any

from tests.harness import HOST, Answer, ServerCase

OTHER = "other.example:8448"
LITERAL = "[2001:db8::1]"
VERSION = "/_matrix/media/version"


class Hosts(ServerCase):
    def write_config(self, cs_api: str) -> None:
        names = (HOST, OTHER, LITERAL)
        self.config = {
            "homeservers": [
                {"name": name, "csApi": cs_api, "backoffAt": 10} for name in names
            ]
        }
        super().write_config(cs_api)

    async def test_a_host_is_found_with_port_and_in_any_case(self) -> None:
        """D62."""
        for host in (
            HOST,
            HOST.upper(),
            f"{HOST}:8000",
            OTHER,
            OTHER.upper(),
            LITERAL,
            f"{LITERAL}:8448",
        ):
            answer = await self.get(VERSION, host=host, token=None)
            self.assertEqual(answer.status, 200, host)

    async def test_an_unknown_host_is_502_before_anything_else(self) -> None:
        """D19: as JSON, with the usual headers, and not reflected."""
        for host in ("unknown.example", "other.example", f"x.{HOST}", "[::1", "a b"):
            wire = await self.wire()
            wire.send(f"GET {VERSION} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = await wire.answer()
            self.assertIn(answer.status, (400, 502), host)
            self.check_error(answer, answer.status, "M_UNKNOWN")
            self.assertNotIn(host, answer.body.decode())
        self.assertEqual(self.homeserver.requests, [])

    async def test_an_upload_to_an_unknown_host_is_not_read(self) -> None:
        wire = await self.wire()
        wire.send(
            b"POST /_matrix/media/v3/upload HTTP/1.1\r\nHost: x.example\r\n"
            b"Authorization: Bearer alice-token\r\nContent-Length: 99999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        self.assertEqual((await wire.answer()).status, 502)

    async def test_a_token_of_one_host_is_worth_nothing_at_another(self) -> None:
        """R45, R75."""
        self.assertEqual((await self.upload_at(HOST)).status, 200)
        self.assertEqual((await self.upload_at(OTHER)).status, 403)

    async def test_each_host_names_its_own_media(self) -> None:
        self.homeserver.users["carol-token"] = f"@carol:{OTHER}"
        answer = await self.upload_at(OTHER, token="carol-token")
        self.assertEqual(answer.status, 200)
        uri = answer.json["content_uri"]
        self.assertTrue(uri.startswith(f"mxc://{OTHER}/"))
        media_id = uri.rpartition("/")[2]
        path = f"/_matrix/client/v1/media/download/{OTHER}/{media_id}"
        answer = await self.get(path, host=OTHER, token="carol-token")
        self.assertEqual((answer.status, answer.body), (200, b"data"))
        path = f"/_matrix/client/v1/media/download/{HOST}/{media_id}"
        answer = await self.get(path, host=OTHER, token="carol-token")
        self.assertEqual(answer.status, 404)

    async def test_an_id_of_another_host_cannot_be_filled(self) -> None:
        media_id = await self.create()
        self.homeserver.users["carol-token"] = f"@carol:{OTHER}"
        path = f"/_matrix/media/v3/upload/{HOST}/{media_id}"
        answer = await self.request(
            "PUT", path, body=b"x", host=OTHER, token="carol-token"
        )
        self.assertEqual(answer.status, 403)

    async def upload_at(self, host: str, token: str = "alice-token") -> Answer:
        return await self.request(
            "POST", "/_matrix/media/v3/upload", body=b"data", host=host, token=token
        )

    async def test_unknown_paths_are_404(self) -> None:
        """D19, §1.3: exact and case-sensitive."""
        for path in (
            "/",
            "/_matrix/media/v3/nothing",
            "/_matrix/media/v3/upload/",
            "/_matrix/media/V3/config",
            "/_matrix/media/v3/download/media.example",
            "/_matrix/media/v3/download//abc",
            "/_matrix/client/v1/media/upload",
            "//_matrix/media/version",
        ):
            answer = await self.get(path)
            self.check_error(answer, 404, "M_UNRECOGNIZED")
            self.assertEqual(answer.json["mr_errcode"], "M_NOT_FOUND")

    async def test_known_paths_have_their_methods(self) -> None:
        for method, path, allow in (
            ("GET", "/_matrix/media/v3/upload", "POST, OPTIONS"),
            ("DELETE", VERSION, "GET, OPTIONS"),
            ("POST", "/_matrix/media/v3/download/a/b", "GET, HEAD, OPTIONS"),
            ("BREW", "/_matrix/media/v3/config", "GET, OPTIONS"),
        ):
            answer = await self.request(method, path, token=None)
            self.check_error(answer, 405, "M_UNRECOGNIZED")
            self.assertEqual(answer.headers["allow"], allow)
            self.assertEqual(answer.json["mr_errcode"], "M_METHOD_NOT_ALLOWED")

    async def test_options_tells_browsers_everything(self) -> None:
        """§1.3: no host, no token."""
        answer = await self.request(
            "OPTIONS", "/_matrix/media/v3/upload", token=None, host="any.example"
        )
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        methods = answer.headers["access-control-allow-methods"]
        self.assertEqual(methods, "POST, OPTIONS")
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])
        answer = await self.request("OPTIONS", "/nothing", token=None)
        self.assertEqual(answer.status, 404)

    def check_error(self, answer: Answer, status: int, errcode: str) -> None:
        self.assertEqual(answer.status, status, answer)
        body: dict[str, Any] = answer.json
        self.assertEqual(list(body), ["errcode", "error", "mr_errcode"])
        self.assertEqual(body["errcode"], errcode)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["server"], "matrix-media-repo")
