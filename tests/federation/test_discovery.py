"""Finding servers, by the table of the specification."""

from __future__ import annotations

import random
from typing import Any

import pytest

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock as FakeTime
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mmr.federation.discovery import Discovery, Route
from mmr.federation.errors import RemoteFailed
from mmr.federation.switches import Switches
from mmr.federation.well_known import WellKnowns
from mmr.http.guard import FetchFailed, SrvTarget, Step
from mmr.util.clock import Clock

from tests.federation.fakes import FakeWeb
from tests.stub_web import StubDns


class World:
    """A discovery with its own DNS and web."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.dns = StubDns()
        self.web = FakeWeb()
        clock, rng = Clock(self.time), random.Random(1)
        web: Any = self.web
        known = WellKnowns(web, clock, Switches(), rng)
        self.discovery = Discovery(known, self.dns, clock, rng)

    def resolve(self, server_name: str) -> list[Route]:
        """The routes; nothing here takes time."""
        work = ensureDeferred(self.discovery.resolve(server_name))
        outcome: list[Any] = []
        work.addBoth(outcome.append)
        [result] = outcome
        if isinstance(result, Failure):
            result.raiseException()
        routes: list[Route] = result
        return routes


_FED = "_matrix-fed._tcp."
_OLD = "_matrix._tcp."


# Server name; its delegation, if any; SRV records and their targets, all at port 1;
# then what is connected to, the Host header, and whose certificate it has to be.
_TABLE = """
1.2.3.4       | -            | -                     | 1.2.3.4 8448   1.2.3.4       1.2.3.4
1.2.3.4:80    | -            | -                     | 1.2.3.4 80     1.2.3.4:80    1.2.3.4
[2600::1]     | -            | -                     | 2600::1 8448   [2600::1]     2600::1
[2600::1]:80  | -            | -                     | 2600::1 80     [2600::1]:80  2600::1
a.example:443 | b.example    | fed.a.example=c       | a.example 443  a.example:443 a.example
a.example     | 1.2.3.4      | -                     | 1.2.3.4 8448   1.2.3.4       1.2.3.4
a.example     | 1.2.3.4:80   | -                     | 1.2.3.4 80     1.2.3.4:80    1.2.3.4
a.example     | [2600::1]:80 | -                     | 2600::1 80     [2600::1]:80  2600::1
a.example     | b.example:80 | fed.b.example=c       | b.example 80   b.example:80  b.example
a.example     | b.example    | fed.b.example=c old.b.example=d | c 1  b.example     b.example
a.example     | b.example    | old.b.example=d       | d 1            b.example     b.example
a.example     | b.example    | fed.a.example=c       | b.example 8448 b.example     b.example
a.example     | -            | fed.a.example=c old.a.example=d | c 1  a.example     a.example
a.example     | -            | old.a.example=d       | d 1            a.example     a.example
a.example     | -            | -                     | a.example 8448 a.example     a.example
"""  # noqa: E501


@pytest.mark.parametrize("row", _TABLE.strip().splitlines())
def test_the_table_of_the_specification(row: str) -> None:
    """D63: the port stays in ``Host``."""
    name, delegate, services, expected = (cell.strip() for cell in row.split("|"))
    world = World()
    if delegate != "-":
        world.web.delegate("a.example", b'{"m.server": "%s"}' % delegate.encode())
    for record in services.strip("-").split():
        service, _, target = record.partition("=")
        service = service.replace("fed.", _FED).replace("old.", _OLD)
        world.dns.services[service] = [SrvTarget(1, 1, 1, target)]
    host, port, host_header, tls_name = expected.split()
    assert world.resolve(name) == [Route(host, int(port), host_header, tls_name)]


@pytest.mark.parametrize("name", ["1.2.3.4", "[2600::1]:1", "a.example:8448"])
def test_literals_and_ports_ask_nobody(name: str) -> None:
    world = World()
    world.resolve(name)
    assert world.web.asked == []
    assert world.dns.asked == []


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "user@a.example", "[::1", "a:b", "999.1.1.1", "a:99999"]
)
def test_no_server_name_leads_nowhere(name: str) -> None:
    """A client error, without a look-up."""
    world = World()
    with pytest.raises(RemoteFailed) as caught:
        world.resolve(name)
    assert caught.value.status == 404
    assert world.web.asked == world.dns.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b'{"m.server": "b.example"}'),
        (500, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"[" * 20_000),
        (200, b'{"m.server": 1}'),
        (200, b'{"m.server": ""}'),
        (200, b'{"m.server": "https://b.example"}'),
        (200, b'{"m.server": "b.example:99999"}'),
        (200, b'{"m.server": "b.example\\n"}'),
        (200, b" " * 51_201 + b'{"m.server": "b.example"}'),
    ],
)
def test_an_invalid_delegation_is_none(status: int, body: bytes) -> None:
    world = World()
    url = "https://a.example/.well-known/matrix/server"
    world.web.pages[url] = (status, body, {})
    assert world.resolve("a.example")[0].connect_host == "a.example"


def test_all_targets_by_priority_for_failover() -> None:
    """D63: not just the first."""
    world = World()
    world.dns.services[_FED + "a.example"] = [
        SrvTarget(20, 0, 2, "spare"),
        SrvTarget(10, 5, 1, "main"),
    ]
    assert world.resolve("a.example") == [
        Route("main", 1, "a.example", "a.example"),
        Route("spare", 2, "a.example", "a.example"),
    ]


def test_a_name_server_that_fails_is_passed_over() -> None:
    world = World()

    async def srv(name: str) -> list[SrvTarget]:
        raise FetchFailed(Step.DNS, "SERVFAIL")

    world.dns.srv = srv  # type: ignore[method-assign]
    assert world.resolve("a.example")[0].port == 8448


def test_services_are_asked_for_again_after_a_while() -> None:
    world = World()
    for wait, count in ((0, 2), (299, 2), (2, 4)):
        world.time.advance(wait)
        world.resolve("a.example")
        assert len(world.dns.asked) == count


class SharedWorkTests(TestCase):
    async def test_one_look_up_for_all_who_ask(self) -> None:
        world = World()
        gate: Deferred[None] = Deferred()
        world.web.gate = gate
        asking = [ensureDeferred(world.discovery.resolve("a.example")) for _ in "abc"]
        other = await world.discovery.resolve("1.2.3.4")
        self.assertEqual(len(other), 1)
        gate.callback(None)
        self.assertEqual(len({tuple(await one) for one in asking}), 1)
        self.assertEqual(len(world.web.asked), 1)

    async def test_the_steps_are_told(self) -> None:
        world = World()
        world.web.delegate("a.example", b'{"m.server": "b.example"}')
        world.dns.services[_OLD + "b.example"] = [SrvTarget(1, 1, 1, "c.example")]
        found = await world.discovery.explain("a.example")
        self.assertEqual(
            [(step.step, step.result) for step in found.steps],
            [
                ("well-known", "b.example (answered)"),
                ("SRV _matrix-fed._tcp.b.example", "none"),
                ("SRV _matrix._tcp.b.example", "c.example:1"),
            ],
        )
