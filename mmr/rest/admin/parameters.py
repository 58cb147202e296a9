"""Parameters that several admin endpoints take."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mmr.errors import bad_request, invalid_param
from mmr.http.parameters import Query
from mmr.http.request import MediaRequest
from mmr.media.selection import Skipped
from mmr.types import Mxc

# 1970-12-14 and the year 5138 in ms; in seconds and µs they are millennia away.
_LEAST_TIME_MS = 30_000_000_000
_GREATEST_TIME_MS = 100_000_000_000_000
_MAX_REASON = 500


def before_ts(request: MediaRequest, default: int) -> int:
    """The time before which something must have happened, in ms.

    Raises:
        MatrixError: 400, also for seconds or µs: they would mean nothing, or all.
    """
    value = request.query.integer("before_ts", default, "Error parsing before_ts")
    if value < 0:
        raise invalid_param("before_ts can't be below zero")
    if 0 < value < _LEAST_TIME_MS:
        raise invalid_param(
            "before_ts is in milliseconds since 1970, and this looks like seconds:"
            f" did you mean {value * 1000}?"
        )
    if value >= _GREATEST_TIME_MS:
        raise invalid_param(
            "before_ts is in milliseconds since 1970, and this is further ahead than"
            " any time: is it in microseconds?"
        )
    return value


def optional_before_ts(request: MediaRequest) -> int | None:
    """The same; None when it isn't given."""
    return before_ts(request, 0) if request.query.text("before_ts") else None


def dry_run(query: Query) -> bool:
    """Whether the caller only wants to know what would happen.

    Raises:
        MatrixError: 400.
    """
    return query.boolean("dry_run", False, "Error parsing dry_run")


def wait(query: Query) -> bool:
    """Whether the answer to something large comes when it is done; else at once.

    Raises:
        MatrixError: 400.
    """
    return query.boolean("wait", True, "Error parsing wait")


def reason(query: Query) -> str:
    """Why the caller does it, for the audit log.

    Raises:
        MatrixError: 400 when it is too long.
    """
    text = query.text("reason")
    if len(text) > _MAX_REASON:
        raise bad_request(f"The reason has more than {_MAX_REASON} characters")
    return text


def known_uris(uris: Iterable[str]) -> list[Mxc]:
    """The addresses among what a homeserver lists; whatever else it found is left."""
    found = []
    for uri in uris:
        try:
            found.append(Mxc.parse(uri))
        except ValueError:
            continue
    return found


def shown_skipped(skipped: Iterable[Skipped]) -> list[dict[str, str]]:
    """For answers: nothing is passed over in silence (R89)."""
    return [{**attrs.asdict(each), "mxc": str(each.mxc)} for each in skipped]
