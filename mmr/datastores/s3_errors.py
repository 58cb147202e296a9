"""What S3 and its client library say, in our words."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from mmr.datastores.base import DatastoreError
from mmr.datastores.s3_options import S3Options

S3_ERRORS = (BotoCoreError, ClientError)
"""Everything that a call of the client raises when the store is at fault."""

_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_FIXES = {
    "NoSuchBucket": (
        "Create the bucket, or correct `bucketName`, `endpoint` or `region`."
    ),
    "AccessDenied": (
        "Allow the key to list the bucket, and to get, put and delete objects."
    ),
    "403": "Allow the key to list the bucket, and to get, put and delete objects.",
    "InvalidAccessKeyId": "Correct `accessKeyId`.",
    "SignatureDoesNotMatch": "Correct `accessSecret`, and check this machine's clock.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "PermanentRedirect": "Set `region` to the bucket's.",
    "AuthorizationHeaderMalformed": "Set `region` to the bucket's.",
    "InvalidObjectState": "The object is archived: restore it at the provider.",
    "NoCredentialsError": (
        "Set `accessKeyId` and `accessSecret`, or give the machine a role."
    ),
    "EndpointConnectionError": "Check `endpoint` and `ssl`, and the network.",
    "SSLError": "Check `endpoint`, `ssl` and the endpoint's certificate.",
}
_NO_ANSWER = "The media store does not answer. Try again later."


def code_of(error: Exception) -> str:
    """S3's code, such as ``NoSuchKey``; of other errors their class."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def status_of(error: Exception) -> int:
    """The HTTP status; 0 when there was no answer."""
    if isinstance(error, ClientError):
        metadata = error.response.get("ResponseMetadata", {})
        return int(metadata.get("HTTPStatusCode", 0))
    return 0


def is_missing(error: Exception) -> bool:
    """Whether the object isn't there, as opposed to the bucket."""
    return isinstance(error, ClientError) and code_of(error) in _MISSING


def is_passing(error: Exception) -> bool:
    """Whether another try may help: no answer, a broken one, or a 5xx (R98)."""
    return isinstance(error, BotoCoreError) or status_of(error) >= 500


def describe(error: Exception, options: S3Options) -> str:
    """What happened at which bucket, and the fix."""
    fix = _FIXES.get(code_of(error), "See the provider's documentation of that error.")
    return f"bucket {options.bucket!r} at {options.endpoint_url}: {error}. {fix}"


def s3_error(
    error: Exception, datastore_id: str, action: str, options: S3Options
) -> DatastoreError:
    """The error for the caller; bucket, endpoint and fix go to the log (R97)."""
    detail = f"datastore {datastore_id!r}: cannot {action}: {describe(error, options)}"
    if is_passing(error):
        return DatastoreError(detail, _NO_ANSWER, 503)
    return DatastoreError(detail)
