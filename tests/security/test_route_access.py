"""Every route, asked by every role, against one expected table (R48)."""

from __future__ import annotations

import itertools

from mmr.storage.transaction import Transaction

from tests.harness import HOST
from tests.security.expected import (
    ALLOWED,
    ALLOWED_FOREIGN,
    Callers,
    Role,
    callers_of,
    refusal,
)
from tests.security.route_case import RouteCase

FOREIGN = "foreign.example"


class RouteAccess(RouteCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.numbers = itertools.count(1000)

    async def test_no_route_is_unknown_to_the_table(self) -> None:
        """R48: who adds one says here who may call it."""
        unknown = [
            f"{method} {path}"
            for method, path in self.every_route()
            if callers_of(method, path) is None
        ]
        self.assertEqual(unknown, [])

    async def test_every_role_at_every_route(self) -> None:
        """R48, D15: for the caller's own."""
        number = 0
        for method, template in self.every_route():
            for role in Role:
                number += 1
                if method not in ("GET", "HEAD") or role is Role.ANONYMOUS:
                    media_id = await self.an_object(method, template, number)
                path = self.fill(template, HOST, media_id)
                await self.check(method, template, path, role, ALLOWED)
        self.assertGreater(number, 200)

    async def test_every_role_at_what_is_another_hosts(self) -> None:
        """R48, R58: by whatever id they name."""
        for method, template in self.every_route():
            if not {":server", ":origin", ":server_name", ":user_id"} & {
                *template.split("/")
            }:
                continue
            for role in Role:
                if method not in ("GET", "HEAD") or role is Role.ANONYMOUS:
                    media_id = await self.a_foreign_object()
                path = self.fill(template, FOREIGN, media_id)
                await self.check(method, template, path, role, ALLOWED_FOREIGN)
        self.assertEqual(self.asked, [])

    async def test_a_bad_token_is_401_or_nobodys(self) -> None:
        """§2.2: never 403, and never somebody."""
        for method, template in self.every_route():
            path = self.fill(template, HOST, "abc")
            body = b"{}" if method in ("POST", "PUT") else None
            answer = await self.request(method, path, token="nobody", body=body)
            callers = callers_of(method, template)
            what = f"{method} {template}"
            if callers in (Callers.ANYBODY, Callers.OPEN):
                self.assertNotIn(answer.status, (401, 403), what)
            else:
                self.assertEqual(answer.status, 401, what)

    async def an_object(self, method: str, template: str, number: int) -> str:
        """What the user has reserved or uploaded."""
        self.reset_callers()
        if callers_of(method, template) is Callers.CREATORS:
            return await self.create()
        return await self.a_picture(number) if ":media_id" in template else "x"

    async def a_foreign_object(self) -> str:
        """A copy of what somebody else has uploaded elsewhere."""
        self.reset_callers()
        media_id = await self.a_picture(next(self.numbers))

        def move_txn(txn: Transaction) -> None:
            for table in ("media", "restricted_media"):
                txn.execute(
                    f"UPDATE {table} SET origin = ? WHERE media_id = ?",
                    (FOREIGN, media_id),
                )
            txn.execute("UPDATE media SET user_id = '' WHERE media_id = ?", (media_id,))

        await self.server.db.interaction("move", move_txn)
        return media_id

    async def check(
        self,
        method: str,
        template: str,
        path: str,
        role: Role,
        allowed: dict[Callers, set[Role]],
    ) -> None:
        self.reset_callers()
        callers = callers_of(method, template)
        assert callers is not None, template
        answer = await self.ask_as(role, method, path)
        what = f"{method} {path} as {role.value}"
        if role in allowed[callers]:
            self.assertNotEqual(answer.status, 401, (what, answer))
            self.assertNotEqual(answer.status, 403, (what, answer))
            self.assertNotEqual(answer.status, 500, (what, answer))
        else:
            status, errcode = refusal(callers, role)
            if FOREIGN in path and "quarantine/" in path and answer.status == 400:
                # What MMR answers to the admins of another host (§11.3).
                self.assertIs(role, Role.LOCAL_ADMIN, what)
                return
            self.assertEqual(answer.status, status, (what, answer))
            if method != "HEAD":
                self.assertEqual(answer.json["mr_errcode"], errcode, what)
