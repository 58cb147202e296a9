"""Media that moves in while something fails, or happens in between; both engines."""

from __future__ import annotations

from typing import Any, ClassVar

from mmr.datastores.base import DatastoreFull
from mmr.datastores.file import FileDatastore
from mmr.datastores.file_taken import TakenFiles
from mmr.media.adopt import AdoptedMedia, Adoption
from mmr.storage.errors import CommitOutcomeUnknown

from tests.media.adopting import SMALL, STEPS, AdoptCases, Crash, media


class AdoptFailureTests(AdoptCases):
    __test__: ClassVar[bool] = False

    async def test_a_full_disk_is_everybodys_error(self) -> None:
        """R97."""

        async def full(*_: object) -> None:
            raise DatastoreFull("no space")

        patch = self.patch(TakenFiles, "put", full)
        errors = await self.adopt_all([(media(f"m{n}"), b"%d" % n) for n in range(20)])
        patch.restore()
        self.assertTrue(all(isinstance(each, DatastoreFull) for each in errors))
        await self.clean_up()
        self.assertTrue(await self.is_empty())

    async def test_a_failure_at_any_step_leaves_nothing(self) -> None:
        items = [(media(f"m{n}"), b"%d" % n) for n in range(20)]
        for step in STEPS:
            patch = self.break_at(step, ValueError)
            errors = await self.adopt_all(items)
            patch.restore()
            self.assertTrue(any(isinstance(each, ValueError) for each in errors))
            await self.server.db.interaction(
                "forget", lambda txn: txn.execute("DELETE FROM media")
            )
            await self.clean_up()
            self.assertEqual(await self.count("mmr_object_intents"), 0)

    def before_commit_of(self, item: AdoptedMedia, act: Any) -> Any:
        """Have something happen right before a batch is committed; gives the patch."""
        original = self.server.db.interaction
        acted: list[bool] = []

        async def interaction(name: str, func: Any, *args: Any, **kwargs: Any) -> Any:
            if name == "commit_files" and not acted:
                batch = [file.rows.mxc for file in args[0]]
                if item.mxc in batch:
                    self.assertGreater(len(batch), 1)
                    acted.append(True)
                    await act()
            return await original(name, func, *args, **kwargs)

        return self.patch(self.server.db, "interaction", interaction)

    def break_at(self, step: str, error: type[Exception]) -> Any:
        """Fail at a step; gives the patch."""
        put = TakenFiles.put

        async def placed(taken: TakenFiles, locations: Any) -> None:
            if step == "placed":
                await put(taken, locations)
            raise error("injected")

        async def take(*_: object) -> None:
            raise error("injected")

        if step == "take":
            return self.patch(FileDatastore, "take", take)
        if step in ("put", "placed"):
            return self.patch(TakenFiles, "put", placed)

        async def fail(run: Any) -> None:
            raise error("injected")

        return self.on_interaction(step, fail)

    async def test_a_crash_at_any_step_leaves_nothing_for_ever(self) -> None:
        """R94: and the sweep finds all that is left."""

        def nothing(*_: object) -> None:
            raise Crash

        await self.adopt(media("kept"), b"acknowledged")
        for step in STEPS:
            patches = [
                self.break_at(step, Crash),
                self.patch(self.server.stores.intents, "sweep_txn", nothing),
            ]
            await self.adopt_all([(media(f"m{step}"), step.encode())])
            for patch in patches:
                patch.restore()
            await self.stop_server()
            await self.start_server()
            await self.clean_up()
            self.assertEqual(len(self.files()), 1, step)
            self.assertEqual(await self.count("media"), 1)
            self.assertEqual((await self.download("kept")).body, b"acknowledged")

    async def test_an_unknown_outcome_is_looked_up(self) -> None:
        """R96."""

        async def lose_the_answer(run: Any) -> None:
            await run()
            raise CommitOutcomeUnknown("the connection broke")

        async def lose_the_commit(run: Any) -> None:
            raise CommitOutcomeUnknown("the connection broke")

        patch = self.on_interaction("commit_files", lose_the_answer)
        outcome = await self.adopt(media("one"), SMALL)
        patch.restore()
        self.assertTrue(outcome.is_here)
        patch = self.on_interaction("commit_files", lose_the_commit)
        [error] = await self.adopt_all([(media("two"), b"other")])
        patch.restore()
        self.assertEqual(error.status, 503)
        await self.clean_up()
        self.assertEqual((await self.download("one")).body, SMALL)
        self.assertEqual(len(self.files()), 1)

    async def test_what_happens_between_the_steps(self) -> None:
        """R95, R101: the same bytes, the same id, a sweep, a quarantine, by others."""

        async def same_bytes() -> None:
            await self.adopt(media("rival"), b"same bytes")

        async def same_id() -> None:
            await self.adopt(media("same_id"), b"of the rival")

        async def same_id_and_bytes() -> None:
            await self.adopt(media("same_id_and_bytes"), b"same_id_and_bytes")

        async def sweep() -> None:
            await self.clean_up()

        async def quarantine() -> None:
            await self.adopt(media("worse", is_quarantined=True), b"quarantine")

        for act, data, wanted in (
            (same_bytes, b"same bytes", Adoption.STORED),
            (same_id, b"same_id", Adoption.CONFLICT),
            (same_id_and_bytes, b"same_id_and_bytes", Adoption.KNOWN),
            (quarantine, b"quarantine", Adoption.REFUSED),
            (sweep, b"sweep", 503),
        ):
            # Five at most begin at once, the others go together.
            items = [
                (media(f"{number}{act.__name__}", expected_bytes=len(each)), each)
                for number, each in enumerate(data + b"%d" % n for n in range(6))
            ]
            item = media(act.__name__, expected_bytes=len(data))
            patch = self.before_commit_of(item, act)
            *_, beside, outcome = await self.adopt_all([*items, (item, data)])
            patch.restore()
            if wanted == 503:
                self.assertEqual((outcome.status, beside.status), (503, 503))
                continue
            self.assertEqual(outcome.adoption, wanted, act.__name__)
            self.assertEqual(beside.adoption, Adoption.STORED)
        await self.clean_up()
        self.assertEqual((await self.download("same_bytes")).body, b"same bytes")
        self.assertEqual((await self.download("same_id")).body, b"of the rival")
        self.assertEqual(await self.count("mmr_object_intents"), 0)
        locations = await self.server.db.fetch_all(
            "all", "SELECT DISTINCT location FROM media"
        )
        self.assertEqual(
            {str(path.relative_to(self.media_folder)) for path in self.files()},
            {row[0] for row in locations},
        )


class AdoptFailuresOnSqlite(AdoptFailureTests):
    __test__ = True


class AdoptFailuresOnPostgres(AdoptFailureTests):
    __test__ = True
    engine = "postgres"
