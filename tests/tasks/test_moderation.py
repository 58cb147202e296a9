"""Large purges and quarantines are tasks: shown, cancelled, gone on with (D65)."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mmr.media import purge, quarantine
from mmr.tasks import engine
from mmr.tasks.engine import TaskEngine

from tests.harness import ALICE, HOST
from tests.rest.admin.case import MEDIA, AdminCase, path_of
from tests.wire import Answer

USER = path_of(ALICE)


class Gate:
    """A database on which one kind of transaction waits, from the n-th on."""

    def __init__(self, db: Any, name: str, number: int) -> None:
        self._db = db
        self._name = name
        self._left = number
        self.reached: Deferred[None] = Deferred()
        self.opened: Deferred[None] = Deferred()

    async def interaction(self, name: str, *args: Any) -> Any:
        if name == self._name:
            self._left -= 1
            if not self._left:
                # Not from inside of what now waits.
                reactor.callLater(0, self.reached.callback, None)  # type: ignore[attr-defined]
                await self.opened
        return await self._db.interaction(name, *args)


class ModerationCase(AdminCase):
    """Steps of two media, each of which is reported."""

    async def setUp(self) -> None:
        await super().setUp()
        self.patch(purge, "_BATCH", 2)
        self.patch(quarantine, "_BATCH", 2)
        self.patch(engine, "_REPORT_SECONDS", 0.0)

    async def fill(self, count: int = 7) -> list[str]:
        return [await self.upload(b"%d" % number, "a/b") for number in range(count)]

    async def tasks(self) -> list[Any]:
        found: list[Any] = (await self.read("tasks/all")).json
        return found

    def gate(self, part: Any, name: str, number: int = 2) -> Gate:
        gate = Gate(self.server.db, name, number)
        self.patch(part, "_db", gate)
        return gate

    def start(self, path: str) -> Deferred[Answer]:
        """A call whose answer is waited for later."""
        return Deferred.fromCoroutine(self.post(path))

    async def until_idle(self) -> None:
        await self.eventually(lambda: self.server.task_engine.running == 0)

    async def forget_holder(self) -> None:
        """As if the process had been silent for long."""
        await self.execute("UPDATE mmr_task_progress SET held_until_ts = 1")

    async def another_process(self) -> TaskEngine:
        """Machine 0, beside the process that was asked."""
        ours = self.server.task_engine
        other = TaskEngine(
            store=self.server.stores.tasks,
            runners=ours._runners,
            num_workers=lambda: 5,
            clock=self.server.clock,
            is_ours=lambda: True,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(other.stop()))
        return other


class PurgeTests(ModerationCase):
    async def test_a_large_purge_is_a_task_and_answers_as_a_small_one(self) -> None:
        ids = await self.fill()
        answer = await self.post(f"purge/user/{USER}?reason=spam")
        uris = {f"mxc://{HOST}/{media_id}" for media_id in ids}
        self.assertEqual(set(answer.json["affected"]), uris)
        self.assertIs(answer.json["purged"], True)
        [task] = await self.tasks()
        self.assertEqual(task["task_id"], answer.json["task_id"])
        self.assertEqual(task["task_name"], "purge_media")
        self.assertEqual((task["is_finished"], task["error_message"]), (True, ""))
        self.assertEqual(
            task["params"],
            {"target": ALICE, "actor": "@admin:media.example", "reason": "spam"},
        )
        progress = task["progress"]
        self.assertEqual((progress["done"], progress["total"]), (7, 7))
        self.assertEqual(progress["bytes_done"], 7)
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual((entry["action"], entry["affected"]), ("purge", 7))
        self.assertIsNotNone(entry["finished_ts"])

    async def test_a_small_one_is_none(self) -> None:
        [media_id] = await self.fill(1)
        answer = await self.post(f"purge/user/{USER}")
        self.assertEqual(answer.json["affected"], [f"mxc://{HOST}/{media_id}"])
        self.assertNotIn("task_id", answer.json)
        self.assertEqual(await self.tasks(), [])

    async def test_nobody_has_to_wait(self) -> None:
        await self.fill()
        gate = self.gate(self.server.purge, "purge_media")
        answer = await self.post(f"purge/user/{USER}?wait=false")
        self.assertEqual(
            answer.json, {"purged": False, "affected": [], "task_id": 1}, answer
        )
        await gate.reached
        [task] = (await self.read("tasks/unfinished")).json
        self.assertEqual(task["progress"]["total"], 7)
        gate.opened.callback(None)
        await self.until_idle()
        self.assertEqual(await self.count("media"), 0)
        self.assertEqual((await self.post("purge/old?wait=perhaps")).status, 400)
        # What is small is done at once, also then.
        [media_id] = await self.fill(1)
        answer = await self.post(f"purge/user/{USER}?wait=false")
        self.assertEqual(answer.json["affected"], [f"mxc://{HOST}/{media_id}"])

    async def test_a_cancelled_one_stops_between_two_steps(self) -> None:
        await self.fill()
        gate = self.gate(self.server.purge, "purge_media")
        asking = self.start(f"purge/user/{USER}")
        await gate.reached
        self.assertEqual((await self.post("tasks/1/cancel")).status, 200)
        gate.opened.callback(None)
        answer = await asking
        self.assertEqual(answer.status, 409)
        self.assertIn("cancelled", answer.json["error"])
        self.assertEqual(await self.count("media"), 3)
        [task] = await self.tasks()
        self.assertEqual(
            (task["is_finished"], task["error_message"]), (True, "cancelled")
        )
        entries = (await self.read("audit?action=purge")).json["entries"]
        self.assertEqual(
            (entries[0]["affected"], entries[0]["error"]), (4, "TaskCancelled")
        )
        await self.check_consistent()
        # A cancelled one is over: nobody goes on with it.
        await self.server.task_engine.look()
        self.assertEqual(await self.count("media"), 3)

    async def test_a_failure_is_told_and_does_not_come_again(self) -> None:
        await self.fill()
        removal: Any = self.server.stores.removal
        remove, left = removal.remove_txn, [2]

        def fail(*args: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise ValueError("/secret/path")
            return remove(*args)

        self.patch(removal, "remove_txn", fail)
        answer = await self.post(f"purge/user/{USER}")
        self.assertEqual(answer.status, 500)
        self.assertNotIn("secret", answer.json["error"])
        [task] = await self.tasks()
        self.assertIn("ValueError", task["error_message"])
        await self.check_consistent()

    async def test_others_leave_it_alone_until_its_process_is_silent(self) -> None:
        await self.fill()
        gate = self.gate(self.server.purge, "purge_media")
        asking = self.start(f"purge/user/{USER}")
        await gate.reached
        other = await self.another_process()
        await other.look()
        self.assertEqual(other.running, 0)
        await self.forget_holder()
        await other.look()
        self.assertEqual(other.running, 1)
        gate.opened.callback(None)
        await self.eventually(lambda: other.running == 0)
        # Were it alive after all, both together do it once.
        self.assertEqual((await asking).status, 200)
        self.assertEqual(await self.count("media"), 0)
        self.assertEqual(await self.count("reserved_media"), 7)
        [task] = await self.tasks()
        self.assertEqual((task["is_finished"], task["error_message"]), (True, ""))

    async def test_a_stop_interrupts_it_and_a_start_goes_on(self) -> None:
        """With nothing that came after the order."""
        await self.fill()
        gate = self.gate(self.server.purge, "purge_media")
        asking = self.start(f"purge/user/{USER}?reason=spam")
        await gate.reached
        await self.server.task_engine.stop()
        answer = await asking
        self.assertEqual(answer.status, 503)
        self.assertIn("task 1 goes on", answer.json["error"])
        [task] = await self.tasks()
        self.assertFalse(task["is_finished"])
        late = await self.upload(b"late", "a/b")
        await self.execute(
            "UPDATE media SET creation_ts = creation_ts + 120000 WHERE media_id = ?",
            (late,),
        )
        await self.stop_server()
        await self.start_server()
        await self.until_idle()
        self.assertEqual(await self.count("media"), 1)
        self.assertEqual((await self.download(late)).status, 200)
        await self.check_consistent()
        [task] = await self.tasks()
        self.assertEqual((task["is_finished"], task["progress"]["done"]), (True, 7))
        [entry] = (await self.read("audit")).json["entries"]
        self.assertEqual((entry["affected"], entry["reason"]), (7, "spam"))
        self.assertIsNotNone(entry["finished_ts"])

    async def test_it_goes_on_without_the_admin(self) -> None:
        await self.fill()
        gate = self.gate(self.server.purge, "purge_media")
        wire = await self.wire()
        path = f"{MEDIA}/admin/purge/user/{USER}"
        wire.send(self.head("POST", path, "Content-Length: 0", token="admin-token"))
        await gate.reached
        wire.abort()
        gate.opened.callback(None)
        await self.until_idle()
        self.assertEqual(await self.count("media"), 0)
        [task] = await self.tasks()
        self.assertEqual(task["error_message"], "")


class PostgresPurgeTests(PurgeTests):
    engine: ClassVar[str] = "postgres"


class QuarantineTests(ModerationCase):
    async def test_it_is_complete_when_it_answers(self) -> None:
        """R84."""
        ids = await self.fill()
        answer = await self.post(f"quarantine/user/{USER}")
        self.assertEqual(answer.json["num_quarantined"], 7)
        self.assertEqual(len(answer.json["affected"]), 7)
        for media_id in ids:
            self.assertEqual((await self.download(media_id)).status, 404)
        [task] = await self.tasks()
        self.assertEqual(task["task_name"], "quarantine_media")
        self.assertEqual(task["progress"]["done"], 7)
        answer = await self.post(f"unquarantine/user/{USER}")
        self.assertEqual(answer.json["num_released"], 7)
        names = [task["task_name"] for task in await self.tasks()]
        self.assertEqual(names, ["quarantine_media", "unquarantine_media"])

    async def test_many_copies_of_one_media_are_a_task_too(self) -> None:
        media_id = await self.upload(b"same", "a/b")
        for name in ("x", "y"):
            await self.upload(b"same", "a/b", filename=name)
        answer = await self.post(f"quarantine/{HOST}/{media_id}")
        self.assertEqual(answer.json["num_quarantined"], 3)
        self.assertIn("task_id", answer.json)

    async def test_a_cancelled_one_says_so_and_can_be_ordered_again(self) -> None:
        ids = await self.fill()
        gate = self.gate(self.server.quarantine, "quarantine")
        asking = self.start(f"quarantine/user/{USER}")
        await gate.reached
        self.assertEqual((await self.post("tasks/1/cancel")).status, 200)
        gate.opened.callback(None)
        answer = await asking
        self.assertEqual(answer.status, 409)
        self.assertIn("cancelled", answer.json["error"])
        [entry] = (await self.read("audit?action=quarantine")).json["entries"]
        self.assertEqual((entry["affected"], entry["error"]), (4, "TaskCancelled"))
        answer = await self.post(f"quarantine/user/{USER}")
        self.assertEqual(answer.json["num_quarantined"], 3)
        for media_id in ids:
            self.assertEqual((await self.download(media_id)).status, 404)

    async def test_a_silent_process_is_replaced(self) -> None:
        ids = await self.fill()
        gate = self.gate(self.server.quarantine, "quarantine", 2)
        asking = self.start(f"quarantine/server/{HOST}")
        await gate.reached
        await self.forget_holder()
        other = await self.another_process()
        self.patch(self.server.quarantine, "_db", self.server.db)
        await other.look()
        await self.eventually(lambda: other.running == 0)
        for media_id in ids:
            self.assertEqual((await self.download(media_id)).status, 404)
        gate.opened.callback(None)
        self.assertEqual((await asking).status, 200)

    async def test_synapses_calls_become_tasks_with_synapses_answers(self) -> None:
        ids = await self.fill()
        path = f"/_synapse/admin/v1/user/{USER}/media/quarantine"
        answer = await self.request("POST", path, token="admin-token")
        self.assertEqual(answer.json, {"num_quarantined": 7})
        await self.post(f"unquarantine/user/{USER}")
        path = f"/_synapse/admin/v1/users/{USER}/media"
        answer = await self.request("DELETE", path, token="admin-token")
        self.assertEqual(
            (set(answer.json["deleted_media"]), answer.json["total"]), (set(ids), 7)
        )
        self.assertEqual(len(await self.tasks()), 3)


class PostgresQuarantineTests(QuarantineTests):
    engine: ClassVar[str] = "postgres"
