"""``metrics``, ``plugins``, ``sentry``, ``tasks`` and ``pgo``: running the server."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, model_validator

from mmr.config._base import Mark, Section, setting
from mmr.config._values import (
    FilePath,
    Flag,
    Int,
    Named,
    PathText,
    Port,
    Positive,
    Text,
    expected,
    problem,
    workers,
)


class MetricsConfig(Section):
    """A listener for Prometheus, serving `/metrics`."""

    enabled: Flag = setting(False, "Serve metrics.", True, Mark.RESTART)
    bind_address: Text = setting(
        "localhost", "Address to listen on.", "127.0.0.1", Mark.RESTART
    )
    port: Port = setting(
        9000, "Port to listen on. Not that of `repo`.", 9100, Mark.RESTART
    )


def _policy(value: str) -> str:
    if value not in ("refuse", "pass"):
        raise expected("`refuse` or `pass`")
    return value


Policy = Annotated[Text, AfterValidator(_policy), Named("refuse or pass")]


class PluginConfig(Section):
    """What is asked about every file before it is kept: a program or a module."""

    exec: PathText | None = setting(
        None, "A program that is asked (docs/plugins.md).", "/opt/plugins/antispam"
    )
    module: Text = setting(
        "",
        "A Python class by its dotted path, or `clamav` or `ocr`.",
        "my_spam_checks.Checker",
    )
    config: dict[str, Any] = setting(
        {}, "Handed to it once.", {"keywords": ["spam"]}, Mark.OPAQUE
    )
    on_failure: Policy = setting(
        "refuse",
        "What becomes of files that it can't check now: `refuse` or `pass`.",
        "pass",
    )
    timeout_seconds: Positive = setting(30, "How long it may take for one file.", 120)

    @model_validator(mode="after")
    def _one_kind(self) -> PluginConfig:
        if self.exec is None and not self.module:
            raise problem("is missing; name a program here, or a `module`", "exec")
        if self.exec is not None and self.module:
            raise problem("names a program beside a `module`; keep one", "exec")
        return self


class SentryConfig(Section):
    """Reports of errors."""

    enabled: Flag = setting(False, "Send reports.", True, Mark.RESTART)
    dsn: Text = setting(
        "not supplied",
        "Where to.",
        "https://key@sentry.example.org/2",
        Mark.SECRET,
        Mark.RESTART,
    )
    dsn_path: FilePath | None = setting(
        None,
        "File that holds the value of `dsn`.",
        "/run/secrets/sentry-dsn",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    environment: Text = setting(
        "", "Name of this installation.", "production", Mark.RESTART
    )
    debug: Flag = setting(False, "Log what Sentry's client does.", True, Mark.RESTART)


class TasksConfig(Section):
    """Background tasks. They run in the process with machine id 0."""

    num_workers: Annotated[Int, workers(100)] = setting(
        5, "Tasks that run at the same time; 0 or less takes 100.", 2
    )


class PgoConfig(Section):
    """Collection of CPU profiles of matrix-media-repo."""

    enabled: Flag = setting(False, "Collect and send profiles.", True, Mark.RESTART)
    submit_url: Text = setting(
        "https://mmr-pgo.t2host.io/v1/submit",
        "Where to.",
        "https://profiles.example.org/v1/submit",
        Mark.RESTART,
    )
    submit_key: Text = setting("", "Key.", "s3cr3t", Mark.SECRET, Mark.RESTART)
    submit_key_path: FilePath | None = setting(
        None,
        "File that holds the value of `submitKey`.",
        "/run/secrets/pgo-key",
        Mark.RELATIVE,
        Mark.RESTART,
    )
