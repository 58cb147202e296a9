"""Answers under way, so that quarantine can break them off (R85)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from mmr.media.transfer import Transfer
from mmr.storage.media import MediaRecord
from mmr.types import Mxc


class Stoppable(Protocol):
    """A request that is being answered."""

    def abort(self) -> None:
        """Break the connection off."""
        ...


class Serving:
    """Which requests are being answered with which media. Bounded by connections."""

    def __init__(self) -> None:
        self._answers: dict[Stoppable, tuple[Mxc, MediaRecord | Transfer]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def open_answers(self) -> dict[Stoppable, Mxc]:
        """Those with what wasn't quarantined when they began."""
        return {
            request: mxc
            for request, (mxc, found) in self._answers.items()
            if not (isinstance(found, MediaRecord) and found.quarantined)
        }

    def begin(
        self, request: Stoppable, mxc: Mxc, found: MediaRecord | Transfer
    ) -> None:
        """A request will be answered with this, or with something made of it.

        To be called without a wait after the media was looked up: what is quarantined
        later finds the request here, what was quarantined before shows in the record.
        """
        self._answers[request] = (mxc, found)

    def over(self, request: Stoppable) -> None:
        """The request has its answer."""
        self._answers.pop(request, None)

    def answers_with(self, sha256_hash: str) -> dict[Stoppable, Mxc]:
        """Those of `open_answers` with this content."""
        return {
            request: mxc
            for request, mxc in self.open_answers.items()
            if _hash_of(self._answers[request][1]) == sha256_hash
        }

    def cut(self, media: Collection[Mxc]) -> int:
        """Break off the answers with these media.

        Returns:
            How many there were.
        """
        return self.stop(
            [request for request, (mxc, _) in self._answers.items() if mxc in media]
        )

    def stop(self, requests: Collection[Stoppable]) -> int:
        """Break off those of some answers that are not over.

        Returns:
            How many there were.
        """
        meant = [request for request in requests if request in self._answers]
        for request in meant:
            self.over(request)
            request.abort()
        return len(meant)


def _hash_of(found: MediaRecord | Transfer) -> str | None:
    record = found.record if isinstance(found, Transfer) else found
    return record.sha256_hash if record is not None else None
