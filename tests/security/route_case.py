"""A server whose every route is asked, by every kind of caller."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.harness import ALICE, GUEST, HOST, TOKENS, Answer, png
from tests.rest.remote_case import RemoteCase
from tests.security.expected import Role

LOCAL_ADMIN = "@local:media.example"
_TOKENS = {
    Role.GUEST: "guest-token",
    Role.USER: "alice-token",
    Role.LOCAL_ADMIN: "local-token",
    Role.ADMIN: "admin-token",
}
FIXED_HEADERS = {
    "x-content-type-options": "nosniff",
    "access-control-allow-origin": "*",
    "x-content-security-policy": "sandbox;",
    "cross-origin-resource-policy": "cross-origin",
    "x-robots-tag": "noindex, nofollow, noarchive, noimageindex",
}


class RouteCase(RemoteCase):
    """Asks the routes that the server really has."""

    config = {"uploads": {"minBytes": 0, "minFreeBytes": 0, "maxPending": 1000}}

    async def setUp(self) -> None:
        await super().setUp()
        self.homeserver.admins.add(LOCAL_ADMIN)
        self.reset_callers()

    def reset_callers(self) -> None:
        """Sign in again whoever a logout route has signed out."""
        self.homeserver.users.update(TOKENS)
        self.homeserver.users["local-token"] = LOCAL_ADMIN
        self.homeserver.guests.add(GUEST)

    def every_route(self) -> Iterator[tuple[str, str]]:
        """Method and template of each."""
        for route in self.server.router.routes:
            for method in route.methods:
                yield method, route.path

    def fill(self, template: str, origin: str, media_id: str) -> str:
        """A path for a template; what isn't known is just an x."""
        values = {
            "server": origin,
            "origin": origin,
            "server_name": origin,
            "media_id": media_id,
            "user_id": ALICE if origin == HOST else f"@somebody:{origin}",
            "room_id": "!room:" + origin,
            "filename": "a.png",
            "digest": "0" * 64,
            "datastore_id": "folder",
            "source_id": "folder",
            "target_id": "folder",
        }
        path = re.sub(
            r"[:*]([a-z0-9_]+)", lambda name: values.get(name[1], "x"), template
        )
        sides = "&width=32&height=32&method=crop" if "thumbnail" in path else ""
        return f"{path}?allow_remote=false&timeout_ms=0{sides}"

    async def a_picture(self, number: int) -> str:
        """Media of the user's, never the same bytes twice."""
        return await self.upload(png(40, 40 + number))

    async def ask_as(
        self,
        role: Role,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request of that caller."""
        headers = dict(headers or {})
        if role is Role.SERVER:
            headers |= self.signature(path)
        body = b"{}" if method in ("POST", "PUT") else None
        token = _TOKENS.get(role)
        return await self.request(method, path, token=token, headers=headers, body=body)

    def check_fixed_headers(self, answer: Answer, what: str) -> None:
        """R1, R2."""
        for name, value in FIXED_HEADERS.items():
            self.assertEqual(answer.headers.get(name), value, (what, name))
        policy = answer.headers["content-security-policy"]
        self.assertTrue(policy.startswith("sandbox; default-src 'none';"), what)
        self.assertIn("access-control-allow-headers", answer.headers, what)
        for name in ("access-control-allow-credentials", "set-cookie"):
            self.assertNotIn(name, answer.headers, what)

    def check_error(self, answer: Answer, what: str) -> None:
        """R5, R6: one shape for all errors, and nobody keeps them."""
        self.assertEqual(answer.headers["content-type"], "application/json", what)
        self.assertEqual(answer.headers["cache-control"], "no-store", what)
        if answer.body:
            self.assertEqual(
                list(answer.json)[:3], ["errcode", "error", "mr_errcode"], what
            )
