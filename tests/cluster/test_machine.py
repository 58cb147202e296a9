"""Two processes with one ``MACHINE_ID``: said in the log, and nothing is done twice."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.cluster.machine import MachineNumber
from mmr.cluster.postgres import PostgresSession
from mmr.storage.engines import PostgresEngine
from mmr.util.clock import Clock

from tests.cluster.cases import ClusterCase
from tests.postgres import PostgresCluster, create_database


class MachineTests(ClusterCase):
    async def process(self, url: str, number: int = 0) -> MachineNumber:
        session = PostgresSession(PostgresEngine(url), Clock(reactor), reactor)
        session.start(lambda *_: None, lambda: None)
        self.addCleanup(lambda: Deferred.fromCoroutine(session.stop()))
        machine = MachineNumber(number, session, self.clock)
        await machine.start()
        self.session = session
        return machine

    async def done_by(self, *machines: MachineNumber) -> list[int]:
        """Which of them do the work."""
        done = []

        async def work(number: int) -> None:
            done.append(number)

        for number, machine in enumerate(machines):
            await machine.if_mine(lambda number=number: work(number))()
        return done

    async def test_different_numbers_do_not_meet(self) -> None:
        url = create_database()
        with self.assertNoLogs("mmr.cluster.machine"):
            machines = [await self.process(url, number) for number in range(3)]
        self.assertEqual(await self.done_by(*machines), [0, 1, 2])

    async def test_the_second_with_a_number_says_so_and_does_nothing(self) -> None:
        url = create_database()
        first = await self.process(url)
        with self.assertLogs("mmr.cluster.machine", "WARNING") as logged:
            second = await self.process(url)
        self.assertIn("MACHINE_ID 0", logged.output[0])
        self.assertEqual(await self.done_by(first, second), [0])

    async def test_it_takes_over_when_the_first_has_ended(self) -> None:
        url = create_database()
        await self.process(url)
        ending = self.session
        with self.assertLogs("mmr.cluster.machine", "WARNING"):
            second = await self.process(url)
        await ending.stop()

        async def has_it() -> bool:
            await second.check()
            return second.is_mine

        await self.eventually(has_it)

    async def test_it_has_its_number_again_after_a_restart_of_the_database(
        self,
    ) -> None:
        cluster = PostgresCluster()
        self.addCleanup(cluster.remove)
        cluster.start()
        machine = await self.process(cluster.create_database())
        self.assertTrue(machine.is_mine)
        cluster.restart()

        async def has_it() -> bool:
            await machine.check()
            return machine.is_mine and self.session.is_live

        await self.eventually(lambda: not self.session.is_live or not machine.is_mine)
        await self.eventually(has_it)

    async def test_without_postgres_there_is_one_process(self) -> None:
        machine = MachineNumber(0, None, self.clock)
        await machine.start()
        await machine.check()
        self.assertTrue(machine.is_mine)
