"""Reports of errors to Sentry, with the extra ``sentry`` (``sentry.*``)."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from mmr.errors import ConfigError
from mmr.logging.context import current_request
from mmr.logging.redact import redact

_FLUSH_SECONDS = 2
_MAX_DEPTH = 12


class SentrySettings(Protocol):
    """The section ``sentry``."""

    @property
    def enabled(self) -> bool: ...
    @property
    def dsn(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def debug(self) -> bool: ...


def setup_sentry(settings: SentrySettings, release: str) -> None:
    """Report what is logged as an error or worse, when it is turned on.

    Nothing of a request but its id is sent, no variables, and no text without the log's
    own redaction (R106).

    Raises:
        ConfigError: the extra isn't installed, or the DSN is none.
    """
    if not settings.enabled:
        return
    try:
        import sentry_sdk
        from sentry_sdk.integrations.logging import LoggingIntegration
    except ImportError as error:
        raise ConfigError(
            "sentry-sdk is not installed. Install it with pip install 'mmr[sentry]', or"
            " turn sentry off.",
            key="sentry.enabled",
        ) from error
    try:
        sentry_sdk.init(
            dsn=settings.dsn,
            release=release,
            environment=settings.environment or None,
            debug=settings.debug,
            default_integrations=False,
            integrations=[
                LoggingIntegration(level=None, event_level=logging.ERROR),
            ],
            send_default_pii=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            server_name="",
            shutdown_timeout=_FLUSH_SECONDS,
            before_send=_before_send,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise ConfigError(f"{error}", key="sentry.dsn") from None


def _before_send(event: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    asker = current_request()
    if asker is not None:
        event.setdefault("tags", {})["request"] = asker.request_id
    event.pop("server_name", None)
    cleaned = _cleaned(event)
    assert isinstance(cleaned, dict)
    return cleaned


def _cleaned(value: Any, depth: int = 0) -> Any:
    """The same with every text redacted."""
    if isinstance(value, str):
        return redact(value)
    if depth < _MAX_DEPTH and isinstance(value, dict):
        return {key: _cleaned(each, depth + 1) for key, each in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple)):
        return [_cleaned(each, depth + 1) for each in value]
    return value
