"""The errors that clients see, and the errors that operators see.

A client sees a `MatrixError`: status, Matrix ``errcode``, a sentence, and MMR's own
``mr_errcode`` beside it, because MMR's admin tools read that one. An operator sees a
`ConfigError`: which file, which key, what was found, what is expected.
"""

from __future__ import annotations

from typing import Any


class MatrixError(Exception):
    """An error that ends a request.

    Args:
        status: HTTP status.
        errcode: Matrix code (spec "Standard error response").
        message: A sentence for people. Never holds paths, SQL or upstream text (R5).
        mr_errcode: MMR's finer code; equal to ``errcode`` where MMR has none.
        extra: More keys for the body, such as ``retry_after_ms``.
    """

    def __init__(
        self,
        status: int,
        errcode: str,
        message: str,
        mr_errcode: str | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.errcode = errcode
        self.message = message
        self.mr_errcode = mr_errcode or errcode
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON object that the client gets."""
        return {
            "errcode": self.errcode,
            "error": self.message,
            "mr_errcode": self.mr_errcode,
            **self.extra,
        }


def bad_request(message: str, errcode: str = "M_UNKNOWN") -> MatrixError:
    """400: the request itself is wrong."""
    return MatrixError(400, errcode, message, "M_BAD_REQUEST")


def invalid_param(message: str) -> MatrixError:
    """400: a query parameter has a value that can't be read."""
    return bad_request(message, "M_INVALID_PARAM")


def missing_param(message: str) -> MatrixError:
    """400: a required query parameter is missing."""
    return bad_request(message, "M_MISSING_PARAM")


def missing_token() -> MatrixError:
    """401: no access token came with the request."""
    return MatrixError(401, "M_MISSING_TOKEN", "no token provided (required)")


def unknown_token() -> MatrixError:
    """401: the homeserver doesn't know the access token."""
    return MatrixError(401, "M_UNKNOWN_TOKEN", "Authentication Failed")


def guests_forbidden() -> MatrixError:
    """403: the endpoint is closed to guests."""
    return MatrixError(
        403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot use this endpoint"
    )


def forbidden(message: str = "You are not allowed to do this") -> MatrixError:
    """403: known, but not allowed. Never 401: clients log out on that (D15)."""
    return MatrixError(403, "M_FORBIDDEN", message)


def quota_exceeded() -> MatrixError:
    """403: the user's share is used up (D2)."""
    return MatrixError(403, "M_FORBIDDEN", "Quota Exceeded", "M_QUOTA_EXCEEDED")


def not_permitted() -> MatrixError:
    """403: content that is quarantined or that a scanner refused (D5)."""
    return forbidden("This file is not permitted on this server")


def blocked() -> MatrixError:
    """403: the origin is on ``federation.ignoredHosts``."""
    return MatrixError(403, "M_NOT_FOUND", "Media blocked or not found", "M_FORBIDDEN")


def not_found(message: str = "Not found") -> MatrixError:
    """404: no such media, or none that this caller may know of."""
    return MatrixError(404, "M_NOT_FOUND", message)


def needs_auth() -> MatrixError:
    """404: frozen media on an unauthenticated route (MSC3916)."""
    return not_found("authentication is required to download this media")


def unrecognized() -> MatrixError:
    """404: unknown endpoint. Servers fall back to older routes on this very code."""
    return MatrixError(404, "M_UNRECOGNIZED", "Not found", "M_NOT_FOUND")


def method_not_allowed() -> MatrixError:
    """405: known endpoint, wrong method."""
    return MatrixError(
        405, "M_UNRECOGNIZED", "Method Not Allowed", "M_METHOD_NOT_ALLOWED"
    )


def cannot_overwrite() -> MatrixError:
    """409: the id already has content."""
    return MatrixError(
        409, "M_CANNOT_OVERWRITE_MEDIA", "This media has already been uploaded."
    )


def too_large() -> MatrixError:
    """413: over a size limit."""
    return MatrixError(413, "M_TOO_LARGE", "Too Large", "M_MEDIA_TOO_LARGE")


def too_small() -> MatrixError:
    """400: below ``uploads.minBytes`` (D3)."""
    return MatrixError(
        400, "M_UNKNOWN", "Body too small or not provided", "M_MEDIA_TOO_SMALL"
    )


def rate_limited(retry_after_ms: int) -> MatrixError:
    """429, with the wait that the client should keep.

    The request class also sends it as ``Retry-After`` (R78).
    """
    return MatrixError(
        429, "M_LIMIT_EXCEEDED", "Rate Limited", retry_after_ms=max(1, retry_after_ms)
    )


def unexpected(message: str = "Unexpected Error") -> MatrixError:
    """500: our fault; the log has the details under the request id."""
    return MatrixError(500, "M_UNKNOWN", message)


def unavailable(message: str, status: int = 503) -> MatrixError:
    """502, 503 or 504: a part that we need doesn't answer, or a queue is full."""
    return MatrixError(status, "M_UNKNOWN", message)


def not_yet_uploaded() -> MatrixError:
    """504: a reserved id whose content has not arrived."""
    return MatrixError(504, "M_NOT_YET_UPLOADED", "Media not yet uploaded")


class ConfigError(Exception):
    """A mistake in the configuration, told so that the operator can mend it.

    Args:
        message: What was found and what is expected, with the change to make.
        source: The file, when one is to blame.
        key: The key's path, such as ``uploads.maxBytes``.
    """

    def __init__(
        self, message: str, *, source: str | None = None, key: str | None = None
    ) -> None:
        where = ": ".join(part for part in (source, key) if part)
        super().__init__(f"{where}: {message}" if where else message)
        self.source = source
        self.key = key
        self.message = message


class StartupError(Exception):
    """The server must not start; the text says why and what to change."""
