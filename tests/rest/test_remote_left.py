"""Remote files that nobody waits for any more, at each stage of a fetch (R66)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from mmr.cluster.leases import Lease
from mmr.http.guard import Bound
from mmr.media.transfer import HELD_BACK_BYTES, LINGER_SECONDS

from tests.rest.remote_case import (
    RemoteCase,
    body_of,
    chunks_of,
    opening,
    send_chunk,
    send_file,
)
from tests.stub_web import Seen, StubConnection
from tests.wire import Wire

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2
_NONE = Bound(0, 10)
_TABLES = ("media", "mmr_object_intents", "mmr_object_deletes", "mmr_destinations")


class LeftFetches(RemoteCase):
    """Within a second nothing of the fetch is left, and the next one has its way."""

    async def check_given_up(self, wire: Wire, begun: Callable[[], bool]) -> None:
        """Leave once it has begun; then the fetch ends, without a trace."""
        await self.eventually(begun)
        self.assertEqual(self.server.remote_media.running, 1)
        wire.abort()
        await self.eventually(lambda: not self.server.remote_media.running)
        self.assertEqual(self.files(), [])
        self.assertEqual([await self.count(table) for table in _TABLES], [0] * 4)
        back_off = self.server.federation.back_off
        self.assertIsNone(back_off._failures.get(self.name))

    def test_a_second_is_enough(self) -> None:
        self.assertLess(LINGER_SECONDS, 1)

    async def check_next(self) -> None:
        """Nobody holds against the server that we have hung up."""
        self.reply_file(CONTENT)
        answer = await self.fetch()
        self.assertEqual((answer.status, answer.body), (200, CONTENT))

    async def test_while_it_looks_the_name_up(self) -> None:
        self.dns.silent.add("remote.example")
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(self.dns.asked))
        self.dns.silent.clear()
        await self.check_next()

    async def test_while_it_connects(self) -> None:
        # The backlog is full: what comes next gets no answer.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as silent:
            held = [socket.socket() for _ in range(3)]
            for each in held:
                each.setblocking(False)
                each.connect_ex(silent.getsockname())
            name = f"remote.example:{silent.getsockname()[1]}"
            await self._leave_at(name)
            for each in held:
                each.close()

    async def test_while_it_shakes_hands(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            await self._leave_at(f"remote.example:{silent.getsockname()[1]}")

    async def _leave_at(self, name: str) -> None:
        wire = await self.wire()
        path = f"/_matrix/client/v1/media/download/{name}/abc"
        wire.send(self.head("GET", path))
        await self.check_given_up(wire, lambda: bool(self.dns.asked))
        self.assertEqual(await self._asked_again(path), 0)

    async def _asked_again(self, path: str) -> int:
        """What a second request gets at once: 0, it waits as the first one did."""
        wire = await self.wire()
        wire.send(self.head("GET", path))
        await self.eventually(lambda: self.server.remote_media.running == 1)
        status = int(wire.received[9:12] or 0)
        wire.abort()
        await self.eventually(lambda: not self.server.remote_media.running)
        return status

    async def test_while_the_other_server_thinks(self) -> None:
        self.media = lambda connection, seen: None
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(self.asked))
        await self.check_next()

    async def test_within_the_head_of_the_answer(self) -> None:
        self.reply_raw(b"HTTP/1.1 200 OK\r\nContent-Le")
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(self.asked))
        await self.check_next()

    async def test_within_the_envelope(self) -> None:
        def media(connection: StubConnection, _: Seen) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
            connection.send(b"Content-Type: multipart/mixed; boundary=a-boundary\r\n")
            connection.send(b"\r\n")
            send_chunk(connection, opening()[:40])

        self.media = media
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(self.asked))
        await self.check_next()

    async def test_within_the_file(self) -> None:
        for sent in (1000, HALF):
            held = self.hold()
            wires = [await self.fetching() for _ in range(3)]
            connection = await held
            send_chunk(connection, CONTENT[:sent])
            if sent == HALF:
                for wire in wires:
                    await self.has_body(wire, HALF - HELD_BACK_BYTES - 100)
                self.assertEqual(len(self.files()), 1)
            for wire in wires[1:]:
                wire.abort()
            await self.check_given_up(wires[0], lambda: True)
            await self.eventually(lambda c=connection: not c.is_open)
        await self.check_next()

    async def test_while_the_disk_is_slow(self) -> None:
        held, gate = self.hold(), Deferred[None]()
        create = self.store.create

        async def create_slow(expected_bytes: int | None = None) -> object:
            writer = await create(expected_bytes)
            write = writer.write

            async def write_late(data: bytes) -> None:
                await gate
                await write(data)

            self.patch(writer, "write", write_late)
            return writer

        patch = self.patch(self.store, "create", create_slow)
        wire = await self.fetching()
        send_chunk(await held, CONTENT[:HALF])
        await self.check_given_up(wire, lambda: True)
        patch.restore()
        await self.check_next()

    async def test_while_a_plugin_looks_at_the_file(self) -> None:
        asked: list[object] = []

        async def check(*args: object) -> None:
            asked.append(args)
            await Deferred()

        patch = self.patch(self.server.hooks, "check", check)
        self.patch(type(self.server.hooks), "__len__", lambda _: 1)
        self.reply_file(CONTENT)
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(asked))
        patch.restore()
        await self.check_next()

    async def test_while_another_process_fetches_it(self) -> None:
        async def take(name: str) -> Lease | None:
            return None

        self.patch(self.server.leases, "take", take)
        self.patch(type(self.server.leases), "is_alone", False)
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: bool(self.server.remote_media.running))

    async def test_while_it_waits_for_its_turn(self) -> None:
        budget = self.server.remote_media._admission()
        slot = await budget.acquire(self.name, None)
        self.patch(budget, "_bounds", {**budget._bounds, "all": _NONE})
        wire = await self.fetching()
        await self.check_given_up(wire, lambda: budget.waiting == 1)
        self.assertEqual(budget.waiting, 0)
        slot.release()
        self.assertEqual(budget.running, 0)

    async def test_a_thumbnail_of_it_was_all_that_was_wanted(self) -> None:
        held = self.hold()
        path = self.path(prefix="/_matrix/client/v1/media/thumbnail")
        wire = await self.wire()
        wire.send(self.head("GET", path + "?width=9&height=9"))
        send_chunk(await held, CONTENT[:HALF])
        await self.check_given_up(wire, lambda: bool(self.files()))
        await self.check_next()

    async def test_who_only_asks_for_the_head_does_not_fetch_the_rest(self) -> None:
        held = self.hold()
        wire = await self.wire()
        wire.send(self.head("HEAD", self.path()))
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.eventually(lambda: b"200 OK" in wire.received)
        await self.check_given_up(wire, lambda: True)

    async def test_while_another_client_waits_it_goes_on(self) -> None:
        held = self.hold()
        first, second = await self.fetching(), await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(first, 1)
        first.abort()
        await self.pause(LINGER_SECONDS + 0.1)
        send_file(connection, CONTENT[HALF:])
        self.assertEqual(await body_of(second), CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def test_who_comes_back_at_once_finds_it_under_way(self) -> None:
        """As players do, that hang up to ask for another part."""
        held = self.hold()
        first = await self.fetching()
        connection = await held
        send_chunk(connection, CONTENT[:HALF])
        await self.has_body(first, 1)
        first.abort()
        await self.eventually(lambda: not self.server.site.connections)
        second = await self.fetching()
        await self.has_body(second, 1)
        await self.pause(LINGER_SECONDS + 0.1)
        send_file(connection, CONTENT[HALF:])
        self.assertEqual(await body_of(second), CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def test_what_has_all_come_is_kept(self) -> None:
        """A commit is never left half way."""
        gate = Deferred[None]()
        commit = self.server.committer.commit

        async def commit_late(*args: Any) -> Any:
            await gate
            return await commit(*args)

        self.patch(self.server.committer, "commit", commit_late)
        held = self.hold()
        wire = await self.fetching()
        send_file(await held, CONTENT)
        await self.has_body(wire, len(CONTENT) - HELD_BACK_BYTES)
        wire.abort()
        await self.pause(LINGER_SECONDS + 0.1)
        gate.callback(None)
        await self.eventually(lambda: not self.server.remote_media.running)
        self.assertEqual((await self.fetch()).body, CONTENT)
        self.assertEqual(len(self.asked), 1)

    async def pause(self, seconds: float) -> None:
        """Longer than a fetch without clients goes on."""
        await self.server.clock.sleep(seconds)

    async def has_body(self, wire: Wire, count: int) -> None:
        def has_come() -> bool:
            return len(chunks_of(wire.received.partition(b"\r\n\r\n")[2])) >= count

        await self.eventually(has_come)
