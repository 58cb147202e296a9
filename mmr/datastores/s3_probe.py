"""Finding out how a provider differs from the others, with one tiny object."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from mmr.datastores.s3_client import Habits, S3Client
from mmr.datastores.s3_errors import S3_ERRORS, code_of, is_missing

logger = logging.getLogger(__name__)

PREFIX = "mmr-probe-"
_DATA = b"a tiny object, written at the start and deleted at once"
# No answer, no bucket, no right: trying in another way would not help.
_LASTING = frozenset(
    {
        "NoSuchBucket",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "EndpointConnectionError",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "NoCredentialsError",
    }
)


class Unsuitable(Exception):
    """The provider lacks something that we can't do without."""


def probe(client: S3Client, datastore_id: str) -> Habits:
    """Put, get, read a part, delete. Blocks.

    Raises:
        Unsuitable: see there.
        BotoCoreError, ClientError: what boto3 raises.
    """
    trailers = _takes_trailers(client, datastore_id)
    target = {"Bucket": client.options.bucket, "Key": PREFIX + secrets.token_hex(16)}
    api = client.with_trailers(trailers)
    api.put_object(**target, Body=_DATA)
    try:
        _check_reading(api, target)
        habits = Habits(trailers, _refuses_second_put(api, target))
    finally:
        api.delete_object(**target)
    _check_missing(api, target, datastore_id)
    logger.info(
        "datastore %r: bucket %r at %s works: checksums %s, ranges yes, conditional "
        "puts %s",
        datastore_id,
        client.options.bucket,
        client.options.endpoint_url,
        "behind the body (CRC)" if trailers else "in the head (MD5)",
        "yes" if habits.conditional_puts else "no (one more request for each object)",
    )
    return habits


def check_reading(client: S3Client) -> None:
    """For a store that is only read: whether the bucket is there and may be read."""
    try:
        client.api.get_object(
            Bucket=client.options.bucket, Key=PREFIX + secrets.token_hex(16)
        )
    except S3_ERRORS as error:
        if not is_missing(error):
            raise


def write_probe(client: S3Client) -> None:
    """Put a tiny object and delete it. Blocks. Raises what boto3 raises."""
    target = {"Bucket": client.options.bucket, "Key": PREFIX + secrets.token_hex(16)}
    client.api.put_object(**target, Body=_DATA)
    client.api.delete_object(**target)


def _takes_trailers(client: S3Client, datastore_id: str) -> bool:
    """Some providers refuse checksums behind a body, some store them as content."""
    api = client.with_trailers(True)
    target = {"Bucket": client.options.bucket, "Key": PREFIX + secrets.token_hex(16)}
    try:
        api.put_object(**target, Body=_DATA)
    except S3_ERRORS as error:
        if code_of(error) in _LASTING:
            raise
        found = str(error)
    else:
        data = api.get_object(**target)["Body"].read()
        api.delete_object(**target)
        if data == _DATA:
            return True
        found = "they became a part of the object"
    logger.info(
        "datastore %r: no checksums behind bodies (%s); sending MD5 sums instead",
        datastore_id,
        found,
    )
    return False


def _check_reading(api: Any, target: dict[str, str]) -> None:
    if api.get_object(**target)["Body"].read() != _DATA:
        raise Unsuitable("an object did not come back as it was put")
    part = api.get_object(**target, Range="bytes=2-5")
    if part.get("ContentRange") != f"bytes 2-5/{len(_DATA)}":
        raise Unsuitable("it does not serve parts of objects (Range)")
    if part["Body"].read() != _DATA[2:6]:
        raise Unsuitable("it serves wrong parts of objects (Range)")


def _refuses_second_put(api: Any, target: dict[str, str]) -> bool:
    try:
        api.put_object(**target, Body=_DATA, IfNoneMatch="*")
    except S3_ERRORS as error:
        return code_of(error) == "PreconditionFailed"
    return False


def _check_missing(api: Any, target: dict[str, str], datastore_id: str) -> None:
    """Without the right to list, S3 says "forbidden" of what isn't there."""
    try:
        api.head_object(**target)
    except S3_ERRORS as error:
        if is_missing(error):
            return
        logger.warning(
            "datastore %r: a missing object is reported as %r. Allow the key to list "
            "the bucket (s3:ListBucket), or missing media will look like failures.",
            datastore_id,
            str(error),
        )
