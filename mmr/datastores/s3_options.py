"""The options of a datastore of type ``s3``, and what they make of names."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from urllib.parse import quote

import attrs

from mmr.datastores.base import BadLocation
from mmr.datastores.folders import fault_of

logger = logging.getLogger(__name__)

# S3's own limit, in bytes of UTF-8.
_MAX_KEY_BYTES = 1024
_MAX_PREFIX = 16
_VIRTUAL_HOSTS = (".amazonaws.com", ".aliyuncs.com")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


@attrs.frozen(kw_only=True)
class S3Options:
    """``opts`` as types (mmr-config §4.5).

    Attributes:
        endpoint: Host, with a port if need be.
        access_key: Key id and secret; None to take them from the environment, the
            files of the AWS tools or the machine's role.
        temp_path: Folder in which uploads are gathered.
        public_base_url: Clients may be sent to this text followed by the key.
        presigned: Clients may be sent to short-lived signed URLs.
        addressing: ``auto``, ``path`` or ``virtual``.
    """

    endpoint: str
    bucket: str
    region: str = ""
    ssl: bool = True
    access_key: tuple[str, str] | None = attrs.field(default=None, repr=False)
    temp_path: str = attrs.field(factory=tempfile.gettempdir)
    storage_class: str = "STANDARD"
    public_base_url: str = ""
    presigned: bool = False
    redirect_when_cached: bool = False
    prefix_length: int = 0
    multipart: bool = True
    addressing: str = "auto"

    @property
    def endpoint_url(self) -> str:
        """The endpoint with its scheme."""
        return f"{'https' if self.ssl else 'http'}://{self.endpoint}"

    @property
    def addressing_style(self) -> str:
        """``path`` or ``virtual``. Few providers demand the bucket in the host."""
        if self.addressing != "auto":
            return self.addressing
        # A dot in the bucket's name doesn't fit the endpoint's wildcard certificate.
        demands = self.endpoint.partition(":")[0].endswith(_VIRTUAL_HOSTS)
        return "virtual" if demands and "." not in self.bucket else "path"

    @property
    def uri(self) -> str:
        """What the admin API shows: ``s3://host/bucket`` (mmr-storage §4.3)."""
        return f"s3://{self.endpoint}/{self.bucket}"

    def location_of(self, object_name: str) -> str:
        """The key for a name: the prefix becomes a folder (mmr-http-api §4.3.2)."""
        count = self.prefix_length
        if not count:
            return object_name
        return f"{object_name[:count]}/{object_name[count:]}"

    def public_url(self, location: str) -> str:
        """Where clients find the object. It stays below the base (R7)."""
        base = self.public_base_url
        scheme, colon, rest = base.rpartition("://")
        # Without a path the key would be read as a part of the host's name.
        if "/" not in rest:
            rest += "/"
        return scheme + colon + rest + quote(location, safe="/")


def s3_options(datastore_id: str, opts: Mapping[str, str]) -> S3Options:
    """Read the options. Their form was checked with the configuration."""

    def flag(name: str, default: str) -> bool:
        return (opts.get(name) or default) in _TRUE

    key, secret = opts.get("accessKeyId", ""), opts.get("accessSecret", "")
    prefix = max(0, int(opts.get("prefixLength") or 0))
    if prefix > _MAX_PREFIX:
        logger.warning(
            "datastore %r: prefixLength is %d; more than %d only makes keys longer",
            datastore_id,
            prefix,
            _MAX_PREFIX,
        )
    options = S3Options(
        endpoint=opts["endpoint"],
        bucket=opts["bucketName"],
        region=opts.get("region", ""),
        ssl=flag("ssl", "true"),
        access_key=(key, secret) if key else None,
        temp_path=os.path.abspath(opts.get("tempPath") or tempfile.gettempdir()),
        storage_class=opts.get("storageClass") or "STANDARD",
        public_base_url=opts.get("publicBaseUrl", ""),
        presigned=flag("presignedRedirects", "false"),
        redirect_when_cached=flag("redirectWhenCached", "false"),
        prefix_length=prefix,
        multipart=flag("multipartUploads", "true"),
        addressing=opts.get("addressing") or "auto",
    )
    if options.public_base_url and not options.presigned:
        logger.warning(
            "datastore %r: publicBaseUrl sends clients to URLs that nobody checks and "
            "that never end: who has one keeps it until the object is purged or "
            "quarantined, and caches of the CDN keep it longer. "
            "`presignedRedirects: true` gives out URLs that end.",
            datastore_id,
        )
    return options


def checked_key(datastore_id: str, location: str) -> str:
    """The location as a key.

    Raises:
        BadLocation: when it isn't one that we give out (R71).
    """
    fault = fault_of(location)
    if fault is None and len(os.fsencode(location)) > _MAX_KEY_BYTES:
        fault = "it is longer than a key can be"
    if fault is not None:
        raise BadLocation(datastore_id, location, fault)
    return location
