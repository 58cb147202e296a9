"""``repo``: the listener, the log, and whom to believe."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from mmr.config._base import Mark, Section, setting
from mmr.config._values import (
    Cidr,
    FilePath,
    Flag,
    Named,
    Natural,
    Port,
    Positive,
    Text,
    expected,
)

LOG_LEVELS = ("panic", "fatal", "error", "warn", "info", "debug", "trace")
PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)


def _log_level(value: str) -> str:
    level = value.lower() or "info"
    if level not in LOG_LEVELS:
        raise expected(f"one of {', '.join(LOG_LEVELS)}")
    return level


LogLevel = Annotated[Text, AfterValidator(_log_level), Named("log level")]


class RepoConfig(Section):
    """The listener, the log, and which proxies to believe."""

    bind_address: Text = setting(
        "127.0.0.1",
        "Address to listen on. Keep it on loopback or a private network, behind a"
        " reverse proxy that does TLS.",
        "0.0.0.0",  # noqa: S104
        Mark.RESTART,
    )
    port: Port = setting(
        8000, "Port to listen on; 0 takes a free one.", 8090, Mark.RESTART
    )
    log_directory: Text = setting(
        "logs",
        "Folder of the rotated log files, relative to the working directory. `-` or"
        " empty: standard output only.",
        "-",
        Mark.RESTART,
    )
    log_colors: Flag = setting(
        False, "Colours in the log on a terminal. Not with JSON.", True, Mark.RESTART
    )
    json_logs: Flag = setting(
        False, "Write each log line as a JSON object.", True, Mark.RESTART
    )
    log_level: LogLevel = setting(
        "info",
        "The least grave level that is logged: panic, fatal, error, warn, info, debug"
        " or trace.",
        "debug",
        Mark.RESTART,
    )
    log_config: FilePath | None = setting(
        None,
        "Logging as Synapse's `log_config` describes it: a YAML file for Python's"
        " `logging.config.dictConfig`. It takes the place of the other log keys.",
        "/etc/mmr/log.yaml",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    trust_any_forwarded_address: Flag = setting(
        False,
        "Take the client's address from `X-Forwarded-For` whoever sent it. Leave it"
        " off and list your proxies in `trustedProxies`.",
        True,
    )
    use_forwarded_host: Flag = setting(
        True,
        "Take the server name from `X-Forwarded-Host`, when a trusted proxy sends it,"
        " in place of `Host`.",
        False,
    )
    freeze_unauthenticated_media: Flag = setting(
        True,
        "Media stored from now on is served over the authenticated endpoints only."
        " Turning it off later doesn't unlock what was stored before.",
        False,
    )
    trusted_proxies: tuple[Cidr, ...] = setting(
        PRIVATE_NETWORKS,
        "Networks of your reverse proxies. Forwarding headers from anywhere else are"
        " ignored.",
        ["192.0.2.10/32"],
    )
    max_connections: Positive = setting(
        2000, "Open client connections at most.", 5000, Mark.RESTART
    )
    max_connections_per_address: Positive = setting(
        100,
        "Open connections of one client address (IPv6: of one /64) at most. Trusted"
        " proxies are not counted.",
        20,
        Mark.RESTART,
    )
    shutdown_grace_seconds: Natural = setting(
        30, "How long running requests may take to finish when the server stops.", 5
    )
