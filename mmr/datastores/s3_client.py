"""The connection to one bucket. Everything here blocks: it runs in the pool ``s3``."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import boto3
from botocore.config import Config as ClientConfig

from mmr.datastores.s3_options import S3Options
from mmr.metrics import count_s3_operation

_OPERATIONS = {
    "PutObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "GetObject": "GetObject",
    "DeleteObject": "RemoveObject",
}

_REGION = "us-east-1"
"""What providers without regions expect in a signature."""


@attrs.frozen
class Timing:
    """How long S3 is waited for, and how often it is asked.

    Attributes:
        connect_s: For a connection.
        read_s: For the next bytes of an answer.
        attempts: Tries of one request, with growing random pauses between (R98).
    """

    connect_s: float = 5.0
    read_s: float = 20.0
    attempts: int = 4


@attrs.frozen
class Habits:
    """What a provider does beyond the common core, as `probe` found.

    Attributes:
        trailers: It checks the checksums that newer clients send behind a body.
        conditional_puts: It refuses a put where something is (``If-None-Match``).
    """

    trailers: bool = False
    conditional_puts: bool = False


class S3Client:
    """Makes boto3's client when it is first needed: that alone takes a while.

    Attributes:
        habits: What may be relied on. At first only what every provider does.
    """

    def __init__(self, options: S3Options, connections: int, timing: Timing) -> None:
        self.options = options
        self.habits = Habits()
        self._connections = connections
        self._timing = timing
        self._lock = threading.Lock()
        self._clients: dict[bool, Any] = {}

    @property
    def signs_bodies(self) -> bool:
        """Whether a body's SHA-256 is a part of the signature, which S3 checks.

        boto3 leaves it out under TLS when there is another checksum. Where it is, a
        second one would only cost time.
        """
        return not self.options.ssl

    @property
    def api(self) -> Any:
        """boto3's client, with the habits that were found."""
        return self.with_trailers(self.habits.trailers and not self.signs_bodies)

    def with_trailers(self, trailers: bool) -> Any:
        """boto3's client, with or without checksums behind the bodies."""
        with self._lock:
            if trailers not in self._clients:
                self._clients[trailers] = self._make(trailers)
            return self._clients[trailers]

    def _make(self, trailers: bool) -> Any:
        options, timing = self.options, self._timing
        config = ClientConfig(
            signature_version="s3v4",
            connect_timeout=timing.connect_s,
            read_timeout=timing.read_s,
            max_pool_connections=self._connections,
            retries={"mode": "standard", "total_max_attempts": timing.attempts},
            s3={"addressing_style": options.addressing_style},
            request_checksum_calculation=(
                "when_supported" if trailers else "when_required"
            ),
            response_checksum_validation="when_required",
        )
        key, secret = options.access_key or (None, None)
        # A session of our own: the default one is shared and not for threads.
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region or _REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=config,
        )
        client.meta.events.register("before-call.s3", _count)
        return client


def _count(model: Any, **_: object) -> None:
    """Count what MMR counts; a large object is one, however many parts it has."""
    operation = _OPERATIONS.get(model.name)
    if operation is not None:
        count_s3_operation(operation)
