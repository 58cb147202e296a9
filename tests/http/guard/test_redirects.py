"""The guarded client against servers on loopback: redirects."""

from __future__ import annotations

from typing import Any

from mmr.http.guard import GuardedResponse, Purpose, Step

from tests.http.guard.support import CA, QUICK, GuardTestCase
from tests.stub_web import (
    LOOPBACK,
    Script,
    Seen,
    StubConnection,
    StubServer,
    raw_reply,
    redirect_to,
    silence,
)


def chain(hops: int) -> Script:
    """``/n`` leads to ``/n-1`` and at last to ``/0``, which answers."""

    def script(connection: StubConnection, seen: Seen) -> None:
        left = int(seen.target[1:])
        if left:
            connection.reply(302, b"moved", {"Location": f"/{left - 1}"})
        else:
            connection.reply(200, b"there")

    return script


class RedirectTests(GuardTestCase):
    async def fetch(
        self, server: StubServer, path: str = "/", **options: Any
    ) -> GuardedResponse:
        url = server.url(path, host="site.example")
        return await self.client.fetch(url, options.pop("purpose", QUICK), **options)

    async def fetch_body(self, *args: Any, **options: Any) -> bytes:
        return await (await self.fetch(*args, **options)).read(100)

    async def test_chain_of_five_is_followed_and_of_six_is_not(self) -> None:
        """R14."""
        server = await self.serve(chain(5))
        response = await self.fetch(server, "/5")
        self.assertEqual(await response.read(10), b"there")
        self.assertEqual(str(response.url), server.url("/0", "site.example"))
        await self.failure(self.fetch(server, "/6"), Step.REDIRECT)

    async def test_ring_ends(self) -> None:
        """R14."""
        server = await self.serve(redirect_to("/"))
        await self.failure(self.fetch(server), Step.REDIRECT)
        self.assertEqual(len(server.requests), 6)

    async def test_every_hop_is_judged(self) -> None:
        """R14: CVE-2024-52602."""
        canary = await self.serve(interface="127.0.0.2")
        self.dns.hosts["evil.example"] = ["127.0.0.2"]
        for location, step in (
            (canary.url("/", "127.0.0.2"), Step.DENIED),
            (canary.url("/", "evil.example"), Step.DENIED),
            (f"//127.0.0.2:{canary.port}/", Step.DENIED),
            ("http://[::1]/", Step.DENIED),
            ("http://169.254.169.254/latest/meta-data", Step.DENIED),
            ("http://2130706434/", Step.URL),
            ("file:///etc/passwd", Step.URL),
            ("http://site.example:6379/", Step.URL),
            ("http://a@site.example/", Step.URL),
        ):
            server = await self.serve(redirect_to(location))
            await self.failure(self.fetch(server), step)
            self.assertEqual(canary.accepted, 0)

    async def test_https_stays_https_where_it_must(self) -> None:
        """R14: discovery and federation."""
        plain = await self.serve()
        server = await self.serve(
            redirect_to(plain.url("/", "site.example")),
            certificate=CA.issue("site.example"),
        )
        await self.failure(self.fetch(server, schemes=("https",)), Step.URL)
        self.assertEqual(plain.accepted, 0)
        self.assertEqual(await self.fetch_body(server), b"hello")

    async def test_credentials_stay_with_their_origin(self) -> None:
        """R14: CVE-2022-21712."""
        self.dns.hosts["other.example"] = [LOOPBACK]
        other = await self.serve()
        for host in ("site.example", "other.example"):
            server = await self.serve(redirect_to(other.url("/", host)))
            headers = {"Authorization": "X-Matrix secret", "Accept": "text/html"}
            await self.fetch_body(server, headers=headers)
            self.assertEqual(
                server.requests[0].headers["authorization"], "X-Matrix secret"
            )
            self.assertNotIn("authorization", other.requests[-1].headers)
            self.assertNotIn("referer", other.requests[-1].headers)
            self.assertEqual(other.requests[-1].headers["accept"], "text/html")

    async def test_credentials_follow_within_the_origin(self) -> None:
        server = await self.serve(chain(1))
        await self.fetch_body(server, "/1", headers={"authorization": "x"})
        self.assertEqual(server.requests[1].headers["authorization"], "x")

    async def test_deadline_covers_the_chain(self) -> None:
        """R15."""
        hanging = await self.serve(silence)
        server = await self.serve(redirect_to(hanging.url("/", "site.example")))
        page = Purpose("page", total_seconds=0.1)
        got = self.fetch(server, purpose=page)
        self.assertTrue((await self.failure(got, Step.HEADERS)).timed_out)

    async def test_redirect_to_nowhere_is_a_failure(self) -> None:
        head = b"HTTP/1.1 302 x\r\nContent-Length: 0\r\n"
        for lines in (
            b"",
            b"Location: /a\r\nLocation: /b\r\n",
            b"Location: /\xff\r\n",
            b"Location: http://\r\n",
        ):
            server = await self.serve(raw_reply(head + lines + b"\r\n"))
            with self.assertRaises(Exception) as caught:
                await self.fetch(server)
            self.assertIn(caught.exception.step, {Step.REDIRECT, Step.URL})

    async def test_other_statuses_are_answers(self) -> None:
        for status in (300, 304, 404, 500):
            server = await self.serve()
            server.status = status
            response = await self.fetch(server)
            self.assertEqual(response.status, status)
            response.abort()

    async def test_no_redirects_when_none_are_wanted(self) -> None:
        server = await self.serve(chain(1))
        await self.failure(self.fetch(server, "/1", max_redirects=0), Step.REDIRECT)

    async def test_urls_are_parsed_before_anything_happens(self) -> None:
        """R12."""
        await self.failure(self.client.fetch("http://127.1/", QUICK), Step.URL)
        await self.failure(self.client.fetch("http://u@a.example", QUICK), Step.URL)
        self.assertEqual(self.dns.asked, [])
