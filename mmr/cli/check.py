"""``mmr-check``: a doctor for an installation, from the outside in."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmr.cli.arguments import Arguments
from mmr.cli.offline import FOUND, MISTAKE, OK, run_reactor
from mmr.config import Config, config_paths, load_config
from mmr.doctor import Examination, Finding, Level, Options
from mmr.errors import ConfigError, MatrixError, StartupError
from mmr.server import MediaRepoServer

_MACHINE_ID = 1022
_WORDS = {Level.GOOD: "good ", Level.WARNING: "warn ", Level.FAULT: "FAULT"}
_COLOURS = {Level.GOOD: "\033[32m", Level.WARNING: "\033[33m", Level.FAULT: "\033[31m"}
_PLAIN = "\033[0m"

_EXAMPLES = """\
  mmr-check -config /etc/mmr/mmr.yaml
  mmr-check -url example.org=https://matrix.example.org -remote matrix.org
  mmr-check -inside                 leave out the proxy and other servers
  mmr-check -json | jq '.findings[] | select(.level != "good")'

Run it as the user that runs mmr, on the same machine. It writes a small object to each
datastore and deletes it again; nothing else is changed.

exit status: 0 when all is well (warnings may be there), 1 when a fault was found, 2
when the configuration can't be read
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = parser().parse_args(arguments)
    level = logging.DEBUG if options.debug else logging.CRITICAL
    logging.basicConfig(stream=sys.stderr, level=level)
    try:
        config = load_config(config_paths(options.config, os.environ))
    except ConfigError as error:
        _print_mistake(error, options)
        return MISTAKE
    return _examine(config, options)


def parser() -> Arguments:
    """The flags."""
    flags = Arguments(
        "mmr-check", "Test an installation, and say what to change.", _EXAMPLES
    )
    flags.paths("config", "configuration")
    flags.flag(
        "url",
        "where clients reach a homeserver (default: what it publishes itself)",
        type=_named_url,
        action="append",
        default=[],
        metavar="NAME=URL",
    )
    flags.flag(
        "remote",
        "another server to look up, such as matrix.org; may be repeated",
        action="append",
        default=[],
    )
    flags.switch("inside", "leave out the proxy and other servers")
    flags.switch("json", "one JSON object on standard output")
    flags.switch("debug", "log to standard error")
    return flags


def _named_url(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals or not url.startswith(("http://", "https://")):
        raise ArgumentTypeError(
            f"expected NAME=URL, such as example.org=https://m.example.org: {text!r}"
        )
    return name, url.rstrip("/")


def _examine(config: Config, options: Namespace) -> int:
    found: list[Finding] = []

    async def work(reactor: Any) -> int:
        await _run(MediaRepoServer(config, reactor, _MACHINE_ID), options, found)
        return OK

    if run_reactor(work) == MISTAKE:
        return MISTAKE
    counts = Counter(finding.level for finding in found)
    if options.json:
        print(json.dumps(_as_json(found, counts, config), indent=2))
    else:
        names = f"{counts[Level.FAULT]} faults, {counts[Level.WARNING]} warnings"
        print(f"\n{names}, {counts[Level.GOOD]} good")
    return FOUND if counts[Level.FAULT] or not found else OK


async def _run(
    server: MediaRepoServer, options: Namespace, found: list[Finding]
) -> None:
    wanted = Options(dict(options.url), options.inside, tuple(options.remote))
    try:
        for text in server.config.warnings:
            _tell(Finding(Level.WARNING, "configuration", text), options, found)
        async for finding in Examination(server, wanted).run():
            _tell(finding, options, found)
    except (StartupError, MatrixError) as error:
        _tell(Finding(Level.FAULT, "configuration", str(error)), options, found)
    finally:
        await server.stop()


def _tell(finding: Finding, options: Namespace, found: list[Finding]) -> None:
    found.append(finding)
    if options.json:
        return
    word = _WORDS[finding.level]
    if sys.stdout.isatty():
        word = f"{_COLOURS[finding.level]}{word}{_PLAIN}"
    print(f"{word} {finding.subject}: {finding.text}")
    if finding.fix:
        print(textwrap.indent(f"-> {finding.fix}", "      "), flush=True)


def _as_json(
    found: Sequence[Finding], counts: Counter[Level], config: Config
) -> dict[str, Any]:
    return {
        "homeservers": sorted(config.domains),
        "faults": counts[Level.FAULT],
        "warnings": counts[Level.WARNING],
        "findings": [
            {
                "level": finding.level.value,
                "subject": finding.subject,
                "text": finding.text,
                "fix": finding.fix,
            }
            for finding in found
        ],
    }


def _print_mistake(error: ConfigError, options: Namespace) -> None:
    if options.json:
        finding = {"level": "fault", "subject": "configuration", "text": str(error)}
        print(json.dumps({"faults": 1, "warnings": 0, "findings": [finding]}, indent=2))
    else:
        print(f"FAULT configuration: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
