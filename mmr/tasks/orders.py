"""Orders of admins as they are kept in the database, for who goes on with them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import attrs

from mmr.media.selection import Order, Reach, Selection
from mmr.storage.media_filter import MediaFilter
from mmr.storage.tasks import Task
from mmr.tasks.engine import TaskFailed
from mmr.types import Mxc

# Clocks of processes differ: what was created so long after the order still counts.
_SKEW_MS = 60_000


def params_of(order: Order) -> dict[str, str]:
    """The task's ``params``, for people."""
    return {
        "target": order.selection.target,
        "actor": order.actor,
        "reason": order.reason,
    }


def to_memo(order: Order) -> str:
    """What `from_memo` needs beyond the task's ``params``."""
    values = attrs.asdict(
        order.selection.filter, recurse=False, filter=lambda _, value: value is not None
    )
    if "media" in values:
        values["media"] = [(mxc.origin, mxc.media_id) for mxc in values["media"]]
    if "foreign_to" in values:
        values["foreign_to"] = sorted(values["foreign_to"])
    return json.dumps(
        {"filter": values, "origin": order.reach.origin, "entry_id": order.entry_id}
    )


def from_memo(task: Task, memo: str) -> Order:
    """The order that became this task.

    Raises:
        TaskFailed: when something is missing.
    """
    try:
        found: dict[str, Any] = json.loads(memo)
        values = found["filter"]
        if "media" in values:
            values["media"] = tuple(Mxc(*pair) for pair in values["media"])
        if "foreign_to" in values:
            values["foreign_to"] = frozenset(values["foreign_to"])
        return Order(
            Selection(MediaFilter(**values), str(task.params["target"])),
            Reach(origin=found["origin"]),
            str(task.params["actor"]),
            str(task.params["reason"]),
            found["entry_id"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TaskFailed(f"the task's parameters are bad: {error}") from error


def resumed(order: Order, task: Task, our_servers: Collection[str]) -> Order:
    """The order without what it wasn't about when it was given.

    Nothing that came later is in it, and nothing of a homeserver that is ours by now.
    """
    wanted = order.selection.filter
    if wanted.media is None:
        limit = task.start_ts + _SKEW_MS
        if wanted.created_before is None or wanted.created_before > limit:
            wanted = attrs.evolve(wanted, created_before=limit)
    if wanted.foreign_to is not None:
        ours = wanted.foreign_to.union(our_servers)
        wanted = attrs.evolve(wanted, foreign_to=ours)
    return attrs.evolve(order, selection=attrs.evolve(order.selection, filter=wanted))
