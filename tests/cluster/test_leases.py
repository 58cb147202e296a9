"""One process does it, the others wait; losing a lease only costs work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from mmr.cluster import leases as leases_module
from mmr.cluster.leases import Lease, Leases
from mmr.cluster.postgres import PostgresSession
from mmr.storage.engines import PostgresEngine
from mmr.util.clock import Clock

from tests.cluster.cases import ClusterCase, config_of
from tests.postgres import create_database


class Workshop:
    """Something that several processes want, and how often it was made."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made = 0
        self.thing: str | None = None

    async def find(self) -> str | None:
        return self.thing

    async def make(self) -> str:
        self.made += 1
        await self.clock.sleep(0.2)
        self.thing = "thing"
        return self.thing

    async def fail(self) -> str:
        self.made += 1
        raise ValueError("can't")


class LeaseCases:
    """The same for each kind of lease; each `Leases` stands for a process."""

    clock: Clock
    addCleanup: Callable[..., None]
    assertEqual: Callable[..., None]
    assertIsNone: Callable[..., None]
    assertIsNotNone: Callable[..., None]
    assertRaises: Callable[..., Any]
    eventually: Callable[..., Awaitable[None]]
    processes: Callable[[], Awaitable[list[Leases]]]

    async def take(self, leases: Leases, name: str) -> Lease | None:
        """Take a lease until the test ends."""
        lease = await leases.take(name)
        if lease is not None:
            self.addCleanup(lambda: Deferred.fromCoroutine(lease.release()))
        return lease

    async def test_three_processes_make_a_thing_once(self) -> None:
        workshop = Workshop(self.clock)
        results = await gatherResults(
            [
                Deferred.fromCoroutine(
                    leases.once("thing", workshop.find, workshop.make)
                )
                for leases in await self.processes()
            ]
        )
        self.assertEqual(results, ["thing"] * 3)
        self.assertEqual(workshop.made, 1)

    async def test_other_names_are_free(self) -> None:
        first, second, _ = await self.processes()
        held = await self.take(first, "one")
        self.assertIsNone(await self.take(second, "one"))
        self.assertIsNotNone(await self.take(second, "two"))
        assert held is not None
        await held.release()
        self.assertIsNotNone(await self.take(second, "one"))

    async def test_after_a_failure_the_next_one_tries(self) -> None:
        first, second, _ = await self.processes()
        workshop = Workshop(self.clock)
        with self.assertRaises(ValueError):
            await first.once("thing", workshop.find, workshop.fail)
        await second.once("thing", workshop.find, workshop.make)
        self.assertEqual(workshop.made, 2)

    async def test_who_leaves_holds_nothing_up(self) -> None:
        """R66: neither while it takes the lease, nor while it works, nor after."""
        first, second, _ = await self.processes()
        workshop = Workshop(self.clock)
        for seconds in (0, 0.1):
            work = first.once("thing", workshop.find, workshop.make)
            asking = Deferred.fromCoroutine(work)
            await self.clock.sleep(seconds)
            asking.cancel()
            with self.assertRaises(CancelledError):
                await asking
        self.assertIsNone(workshop.thing)

        async def is_free() -> bool:
            lease = await second.take("thing")
            if lease is not None:
                await lease.release()
            return lease is not None

        await self.eventually(is_free)


class RedisLeaseTests(LeaseCases, ClusterCase):
    def setUp(self) -> None:
        super().setUp()
        self.redis_server = self.server()

    async def processes(self) -> list[Leases]:
        config = config_of(self.redis_server)
        return [Leases(await self.redis(config), None, self.clock) for _ in range(3)]

    async def test_a_lease_is_renewed_while_it_is_held(self) -> None:
        self.patch(leases_module, "_LEASE_MS", 2000)
        self.patch(leases_module, "_RENEW_SECONDS", 0.1)
        first, second, _ = await self.processes()
        held = await self.take(first, "thing")
        assert held is not None
        await self.clock.sleep(3)
        self.assertIsNone(await self.take(second, "thing"))
        await held.release()

    async def test_a_lease_that_was_lost_is_not_taken_from_its_next_holder(
        self,
    ) -> None:
        first, second, third = await self.processes()
        held = await self.take(first, "thing")
        assert held is not None
        self.redis_server.command("FLUSHALL")
        self.assertIsNotNone(await self.take(second, "thing"))
        await held.release()
        self.assertIsNone(await self.take(third, "thing"))

    async def test_without_redis_everybody_may(self) -> None:
        """R99."""
        first, second, _ = await self.processes()
        self.redis_server.kill()
        workshop = Workshop(self.clock)
        for leases in (first, second):
            await leases.once("thing", workshop.find, workshop.make)
        self.assertEqual(workshop.made, 1)

    async def test_a_holder_that_dies_is_waited_for_only_so_long(self) -> None:
        self.patch(leases_module, "_PATIENCE_SECONDS", 0.3)
        first, second, _ = await self.processes()
        await self.take(first, "thing")
        workshop = Workshop(self.clock)
        await second.once("thing", workshop.find, workshop.make)
        self.assertEqual(workshop.made, 1)


class PostgresLeaseTests(LeaseCases, ClusterCase):
    async def processes(self) -> list[Leases]:
        url = create_database()
        sessions = [
            PostgresSession(PostgresEngine(url), self.clock, reactor) for _ in range(3)
        ]
        for session in sessions:
            session.start(lambda channel, payload: None, lambda: None)
            self.addCleanup(lambda each=session: Deferred.fromCoroutine(each.stop()))
        await self.eventually(lambda: all(each.is_live for each in sessions))
        self.sessions = sessions
        return [Leases(None, session, self.clock) for session in sessions]

    async def test_the_locks_of_a_process_that_ended_are_free(self) -> None:
        first, second, _ = await self.processes()
        self.assertIsNotNone(await self.take(first, "thing"))
        await self.sessions[0].stop()

        # The server notices the end a moment later.
        async def is_free() -> bool:
            return await self.take(second, "thing") is not None

        await self.eventually(is_free)


class AloneTests(ClusterCase):
    async def test_a_single_process_asks_nobody(self) -> None:
        workshop = Workshop(self.clock)
        await Leases(None, None, self.clock).once("thing", workshop.find, workshop.make)
        self.assertEqual(workshop.made, 1)
