"""The command line of ``mmr-admin``."""

from __future__ import annotations

import argparse
import datetime
import re
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmr.cli.administration import commands
from mmr.cli.administration.client import AdminClient
from mmr.cli.administration.tables import Printer
from mmr.types import Mxc

_EXAMPLES = """\
examples:
  mmr-admin -c /etc/mmr/media-repo.yaml usage
  mmr-admin usage --users --sort size example.org
  mmr-admin purge remote --before 90d
  mmr-admin purge user @spam:example.org --reason "spam" --yes
  mmr-admin purge media mxc://example.org/abc --dry-run
  mmr-admin quarantine media mxc://example.org/abc --reason "report 17"
  mmr-admin unquarantine user @alice:example.org
  mmr-admin datastores transfer disk s3 --before 30d --follow
  mmr-admin tasks
  mmr-admin tasks follow 12

The server has to run; it is found by the configuration, and so is the shared secret.
With MMR_ADMIN_TOKEN in the environment, that access token is used instead; what is
about a room needs one of the homeserver's own admins. On a terminal, sizes and times
are for people; in a pipe there are tabs, bytes and milliseconds since 1970.

exit status: 0 when it was done, media that had to be left as they are apart (they are
listed); 1 when it was not; 2 for a mistake on the command line or in the configuration
"""
_PURGES = {
    "remote": "fetched from other servers before --before",
    "old": "not asked for since --before (--include-local: ours too)",
    "quarantined": "the files of all that is quarantined",
    "user": "uploaded by a user",
    "room": "named in a room's unencrypted events",
    "server": "from a server",
    "media": "one media",
}
_QUARANTINES = ("media", "user", "room", "server", "hash")
_WITHOUT_TARGET = frozenset({"remote", "old", "quarantined"})
_NEEDS_BEFORE = frozenset({"remote", "old"})
_TAKES_BEFORE = _NEEDS_BEFORE | {"user", "room", "server"}
_DAYS = re.compile(r"([0-9]{1,5})d\Z")
_MILLISECONDS = re.compile(r"[0-9]{11,14}\Z")


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Read the command line; ends the program when there is nothing to do.

    Returns:
        The options; ``run`` is the command.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: Namespace) -> None:
    """What argparse can't say; ends the program like its own refusals."""
    if options.command not in ("purge", "quarantine", "unquarantine"):
        return
    if (options.target is None) != (options.what in _WITHOUT_TARGET):
        parser.error(
            f"{options.command} {options.what}: "
            + ("needs a target" if options.target is None else "takes no target")
        )
    if options.what == "media":
        try:
            Mxc.parse(options.target)
        except ValueError as error:
            parser.error(str(error))
    if options.command == "purge":
        if options.what in _NEEDS_BEFORE and options.before is None:
            parser.error(f"purge {options.what}: needs --before")
        if options.before is not None and options.what not in _TAKES_BEFORE:
            parser.error(f"purge {options.what}: takes no --before")
        if options.include_local and options.what != "old":
            parser.error("--include-local is for `purge old`")


def _when(text: str) -> int:
    """``90d`` ago, a date (UTC), or ms since 1970; in ms."""
    if match := _DAYS.match(text):
        return int((time.time() - int(match[1]) * 86400) * 1000)
    if _MILLISECONDS.match(text):
        return int(text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(
            f"expected 90d, 2026-01-31 or milliseconds since 1970, found {text!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1000)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ArgumentTypeError(f"expected a number from 1, found {text!r}")
    return int(text)


Run = Callable[[AdminClient, Printer, Namespace], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mmr-admin",
        description="Administer a running mmr.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        type=Path,
        metavar="PATH",
        help="the server's configuration, may be repeated (default: $REPO_CONFIG,"
        " else media-repo.yaml)",
    )
    parser.add_argument("--url", help="where the server is (default: where it listens)")
    parser.add_argument("--host", help="the homeserver (default: the first configured)")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_usage(_command(parsers, "usage", "who stores how much", commands.usage))
    _add_purge(_command(parsers, "purge", "delete media", commands.purge))
    for verb, help in (
        ("quarantine", "take media out of circulation"),
        ("unquarantine", "put it back"),
    ):
        command = _command(parsers, verb, help, commands.quarantine)
        command.add_argument("what", choices=_QUARANTINES)
        _add_target(command)
    _add_tasks(parsers)
    _add_datastores(parsers)
    return parser


def _command(parsers: Any, name: str, help: str, run: Run) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = parsers.add_parser(
        name, help=help, description=help.capitalize() + ".", allow_abbrev=False
    )
    command.set_defaults(run=run)
    return command


def _add_usage(command: argparse.ArgumentParser) -> None:
    command.add_argument("server", nargs="?", help="default: the homeserver")
    command.add_argument("--users", action="store_true", help="by user")
    command.add_argument("--sort", choices=commands.SORTS, default="size")
    command.add_argument("--search", metavar="TEXT", help="part of the user's name")
    command.add_argument(
        "--limit", type=_positive, default=100, metavar="N", help="users at most"
    )


def _add_purge(command: argparse.ArgumentParser) -> None:
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "what:\n" + "\n".join(
        f"  {name:12} {meaning}" for name, meaning in _PURGES.items()
    )
    command.add_argument("what", choices=_PURGES)
    _add_target(command)
    _add_before(command)
    command.add_argument("--include-local", action="store_true")
    command.add_argument("--dry-run", action="store_true", help="only look")
    command.add_argument("--yes", action="store_true", help="don't ask")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", nargs="?", help="MXC URI, user, room, server, hash")
    command.add_argument("--reason", metavar="TEXT", help="for the audit log")


def _add_before(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--before", type=_when, metavar="TIME", help="90d, 2026-01-31, or ms since 1970"
    )


def _add_tasks(parsers: Any) -> None:
    tasks = _command(parsers, "tasks", "background tasks", commands.list_tasks)
    tasks.add_argument("--all", action="store_true", help="finished ones too")
    actions = tasks.add_subparsers(dest="action", metavar="ACTION")
    for name, help, run in (
        ("follow", "watch one until it ends", commands.follow_task),
        ("cancel", "have one stop", commands.cancel_task),
    ):
        _command(actions, name, help, run).add_argument("id", type=_positive)


def _add_datastores(parsers: Any) -> None:
    datastores = _command(
        parsers, "datastores", "where the files are", commands.list_datastores
    )
    actions = datastores.add_subparsers(dest="action", metavar="ACTION")
    estimate = _command(
        actions, "estimate", "what a transfer would move", commands.estimate
    )
    estimate.add_argument("id")
    transfer = _command(actions, "transfer", "move files to another", commands.transfer)
    transfer.add_argument("source")
    transfer.add_argument("target")
    transfer.add_argument("--follow", action="store_true", help="wait for the end")
    for command in (estimate, transfer):
        _add_before(command)
