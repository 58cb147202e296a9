"""What ``mmr-admin`` does: each function is one command and gives the exit status."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

from mmr.cli.administration.client import AdminClient, segment
from mmr.cli.administration.tables import Printer, readable_size, readable_time
from mmr.cli.progress import ProgressBar
from mmr.types import Mxc

OK, FAILED, MISTAKE = 0, 1, 2

SORTS = {"user": "user_id", "count": "media_count", "size": "media_length"}
_PAGE = 1000
_POLL_SECONDS = 1.0


def usage(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Who stores how much."""
    server = options.server or client.host
    if options.users:
        out.table(("user", "media", "size"), _user_rows(client, out, server, options))
        return OK
    found = client.get(f"/usage/{segment(server)}")
    out.table(
        ("what", "count", "size"),
        [
            (what, found["raw_counts"][what], out.size(found["raw_bytes"][what]))
            for what in ("media", "thumbnails", "total")
        ],
    )
    return OK


def _user_rows(
    client: AdminClient, out: Printer, server: str, options: Namespace
) -> list[tuple[str, int, str | int]]:
    rows: list[tuple[str, int, str | int]] = []
    place: int | None = 0
    while place is not None and len(rows) < options.limit:
        page = client.get(
            f"/usage/{segment(server)}/users-stats",
            order_by=SORTS[options.sort],
            dir="f" if options.sort == "user" else "b",
            limit=min(_PAGE, options.limit - len(rows)),
            search_term=options.search,
            **{"from": place},
        )
        rows += [
            (user["user_id"], user["media_count"], out.size(user["media_length"]))
            for user in page["users"]
        ]
        place = page.get("next_token")
    return rows


def purge(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Always look first: what is purged is gone."""
    path = f"/purge/{_place(options)}"
    query = {
        "before_ts": options.before,
        "include_local": "true" if options.include_local else None,
    }
    found = client.post(path, **query, dry_run="true")
    _show_purge(out, "would purge", found)
    if options.dry_run or not found["media"]:
        return OK
    if not options.yes and not _confirmed():
        print("mmr-admin: nothing was purged", file=sys.stderr)
        return FAILED
    done = client.post(path, **query, reason=options.reason, wait="false")
    if "task_id" not in done:
        _show_purge(out, "purged", done)
        return OK
    task = _watch(client, done["task_id"])
    progress = task["progress"]
    out.line(
        f"purged: {progress['done']} media, {readable_size(progress['bytes_done'])}"
    )
    return _show_error(out, task)


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        print("mmr-admin: --yes is needed to go on without asking", file=sys.stderr)
        return False
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _show_purge(out: Printer, verb: str, found: dict[str, Any]) -> None:
    out.line(
        f"{verb}: {found['media']} media and {found['thumbnails']} thumbnails,"
        f" {readable_size(found['bytes'])}"
    )
    _show_skipped(out, found["skipped"])


def _show_skipped(out: Printer, skipped: list[dict[str, str]]) -> None:
    for each in skipped:
        out.line(f"left as it is: {each['mxc']} ({each['reason']})")


def quarantine(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Quarantine, or release."""
    found = client.post(f"/{options.command}/{_place(options)}", reason=options.reason)
    number = found.get("num_quarantined", found.get("num_released"))
    out.line(f"{options.command}d: {number} media")
    _show_skipped(out, found["skipped"])
    return OK


def _place(options: Namespace) -> str:
    """The end of the path of purge and quarantine."""
    if options.target is None:
        return str(options.what)
    if options.what == "media":
        mxc = Mxc.parse(options.target)
        return f"{segment(mxc.origin)}/{segment(mxc.media_id)}"
    return f"{options.what}/{segment(options.target)}"


def list_tasks(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Unfinished tasks, or the newest of all."""
    tasks = client.get("/tasks/all" if options.all else "/tasks/unfinished")
    out.table(
        ("id", "task", "started", "ended", "done", "failed", "total", "error"),
        [
            (
                task["task_id"],
                task["task_name"],
                out.time(task["start_ts"]),
                out.time(task["end_ts"]),
                task["progress"]["done"],
                task["progress"]["failed"],
                task["progress"]["total"],
                task["error_message"],
            )
            for task in tasks
        ],
    )
    return OK


def follow_task(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Watch a task."""
    return _follow(client, out, options.id)


def _follow(client: AdminClient, out: Printer, task_id: int) -> int:
    """Show a bar until the task ends."""
    task = _watch(client, task_id)
    progress = task["progress"]
    out.line(
        f"task {task_id} ended {readable_time(task['end_ts'])}:"
        f" {progress['done']} done, {progress['failed']} failed"
    )
    return _show_error(out, task) or (FAILED if progress["failed"] else OK)


def _watch(client: AdminClient, task_id: int) -> dict[str, Any]:
    """The task when it has ended; meanwhile a bar."""
    bar: ProgressBar | None = None
    shown = 0
    while True:
        task: dict[str, Any] = client.get(f"/tasks/{task_id}")
        progress = task["progress"]
        done = progress["done"] + progress["failed"]
        if bar is None and (progress["total"] or task["is_finished"]):
            bar = ProgressBar(task["task_name"], progress["total"])
        if bar is not None:
            bar.add(done - shown)
            shown = done
        if task["is_finished"]:
            break
        time.sleep(_POLL_SECONDS)
    if bar is not None:
        bar.finish()
    return task


def _show_error(out: Printer, task: dict[str, Any]) -> int:
    if not task["error_message"]:
        return OK
    out.line(f"error: {task['error_message']}")
    return FAILED


def cancel_task(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Have a task stop."""
    client.post(f"/tasks/{options.id}/cancel")
    out.line(f"task {options.id} stops")
    return OK


def list_datastores(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Where the files are."""
    found = client.get("/datastores")
    out.table(
        ("id", "type", "objects", "size", "uri"),
        [
            (name, at["type"], at["objects"], out.size(at["size_bytes"]), at["uri"])
            for name, at in sorted(found.items())
        ],
    )
    return OK


def estimate(client: AdminClient, out: Printer, options: Namespace) -> int:
    """What a transfer would move."""
    found = client.get(
        f"/datastores/{segment(options.id)}/size_estimate", before_ts=options.before
    )
    out.table(
        ("what", "count", "size"),
        [
            ("media", found["media_affected"], out.size(found["media_bytes"])),
            (
                "thumbnails",
                found["thumbnails_affected"],
                out.size(found["thumbnail_bytes"]),
            ),
            ("objects", found["total_hashes_affected"], out.size(found["total_bytes"])),
        ],
    )
    return OK


def transfer(client: AdminClient, out: Printer, options: Namespace) -> int:
    """Start to move files."""
    found = client.post(
        f"/datastores/{segment(options.source)}/transfer_to/{segment(options.target)}",
        before_ts=options.before,
    )
    out.line(
        f"task {found['task_id']}: {found['total_hashes_affected']} objects,"
        f" {readable_size(found['total_bytes'])}"
    )
    return _follow(client, out, found["task_id"]) if options.follow else OK
