"""What tests of media that moves in share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults

from mmr.errors import MatrixError
from mmr.media.adopt import AdoptedMedia, AdoptOutcome

from tests.harness import ALICE, HOST, ServerCase

SMALL = b"some bytes" * 10
LARGE = b"many bytes" * 60_000
WHEN = 1_500_000_000_000
STEPS = ("take", "claim_files", "put", "placed", "commit_files")


class Crash(Exception):
    """Stands for the end of the process."""


def media(media_id: str = "abc", **values: Any) -> AdoptedMedia:
    """One of Alice's."""
    described: dict[str, Any] = {
        "origin": HOST,
        "media_id": media_id,
        "content_type": "text/plain",
        "upload_name": "a name",
        "user_id": ALICE,
        "creation_ts": WHEN,
    }
    return AdoptedMedia(**{**described, **values})


async def pieces(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def never() -> AsyncIterator[bytes]:
    raise AssertionError("the bytes were asked for")
    yield b""


async def broken() -> AsyncIterator[bytes]:
    yield b"some"
    raise OSError("the source is gone")


class AdoptCases(ServerCase):
    __test__: ClassVar[bool] = False
    config: ClassVar[dict[str, Any]] = {
        "uploads": {
            "minBytes": 0,
            "minFreeBytes": 0,
            "maxBytes": 10,
            "quotas": {"enabled": True, "users": [{"glob": "@*", "maxFiles": 1}]},
        }
    }

    async def adopt(
        self, item: AdoptedMedia, data: bytes | AsyncIterator[bytes]
    ) -> AdoptOutcome:
        chunks = pieces(data) if isinstance(data, bytes) else data
        return await self.server.adoptions.adopt(item, chunks)

    async def adopt_all(
        self, items: list[tuple[AdoptedMedia, bytes]]
    ) -> list[AdoptOutcome | BaseException]:
        """All at once: they go together."""

        async def adopt(item: AdoptedMedia, data: bytes) -> Any:
            try:
                return await self.adopt(item, data)
            except (Crash, MatrixError, ValueError) as error:
                return error

        return await gatherResults(
            [Deferred.fromCoroutine(adopt(item, data)) for item, data in items]
        )

    async def clean_up(self) -> None:
        """All that the recurring jobs would do in an hour."""
        await self.server.sweep.sweep(-1)
        await self.server.sweep.delete_queued()

    def on_interaction(self, desc: str, act: Callable[..., Any]) -> Any:
        """Have something else happen in place of a transaction."""
        original = self.server.db.interaction

        async def interaction(name: str, func: Any, *args: Any, **kwargs: Any) -> Any:
            async def run() -> Any:
                return await original(name, func, *args, **kwargs)

            return await (act(run) if name == desc else run())

        return self.patch(self.server.db, "interaction", interaction)
