"""``datastores``: where the bytes are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ValidationError, model_validator

from mmr.config._base import Mark, Section, Setting, setting
from mmr.config._problems import sentence
from mmr.config._values import (
    Flag,
    Named,
    Natural,
    OptionPath,
    OptionText,
    Text,
    as_text,
    expected,
    problem,
)
from mmr.types import Kind

REQUIRED_KINDS = (Kind.LOCAL_MEDIA, Kind.REMOTE_MEDIA, Kind.THUMBNAILS)
_ALL = "all"
_MAX_SHOWN = 50
_BOOLEANS = {
    "1",
    "t",
    "T",
    "TRUE",
    "true",
    "True",
    "0",
    "f",
    "F",
    "FALSE",
    "false",
    "False",
}


def _type(value: str) -> str:
    if value not in OPTIONS and value != "ipfs":
        raise expected("one of file, s3, synapse")
    return value


def _kinds(value: Any) -> frozenset[Kind]:
    if isinstance(value, frozenset):
        return value
    names = sorted([_ALL, *(kind.value for kind in Kind)])
    if not isinstance(value, list | tuple):
        raise expected(f"a list of {', '.join(names)}")
    for name in value:
        if name not in names:
            shown = str(name)[:_MAX_SHOWN]
            raise problem(f"found {shown!r}, expected only {', '.join(names)}")
    return frozenset(Kind) if _ALL in value else frozenset(map(Kind, value))


def _boolean(value: str) -> str:
    if value not in _BOOLEANS:
        raise expected("true or false")
    return value


def _prefix_length(value: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,3}", value):
        raise expected("a whole number, 0 to 16")
    return value


def _endpoint(value: str) -> str:
    if not value or "/" in value:
        raise expected("a host, with a port if need be, without http://")
    return value


def _addressing(value: str) -> str:
    if value not in ("auto", "path", "virtual"):
        raise expected("one of auto, path, virtual")
    return value


Endpoint = Annotated[OptionText, AfterValidator(_endpoint), Named("host[:port]")]
DatastoreType = Annotated[
    Text, AfterValidator(_type), Named("`file`, `s3` or `synapse`")
]
Kinds = Annotated[frozenset[Kind], BeforeValidator(_kinds), Named("list of kinds")]
OptionFlag = Annotated[OptionText, AfterValidator(_boolean), Named("true or false")]
Addressing = Annotated[
    OptionText, AfterValidator(_addressing), Named("`auto`, `path` or `virtual`")
]
OptionInt = Annotated[OptionText, AfterValidator(_prefix_length), Named("whole number")]


class FileOptions(Section):
    """Options of a datastore of type `file`."""

    path: OptionPath = setting(
        ...,
        "Folder, relative to the working directory. It is made when missing.",
        "/var/lib/mmr/media",
    )


class _BucketOptions(Section):
    """Where a bucket is, and how it is reached."""

    endpoint: Endpoint = setting(
        ..., "Host, and port if need be, without a scheme.", "s3.example.org:9000"
    )
    bucket_name: OptionPath = setting(..., "The bucket.", "matrix-media")
    access_key_id: OptionText = setting("", "Access key.", "AKIDEXAMPLE", Mark.SECRET)
    access_key_id_path: OptionText = setting(
        "",
        "File that holds the value of `accessKeyId`.",
        "/run/secrets/s3-key",
        Mark.RELATIVE,
    )
    access_secret: OptionText = setting("", "Secret key.", "s3cr3t", Mark.SECRET)
    access_secret_path: OptionText = setting(
        "",
        "File that holds the value of `accessSecret`.",
        "/run/secrets/s3-secret",
        Mark.RELATIVE,
    )
    region: OptionText = setting("", "Only for providers that need it.", "eu-central-1")
    ssl: OptionFlag = setting("true", "Off: plain HTTP.", "false")
    addressing: Addressing = setting(
        "auto",
        "Where the bucket's name goes: `path` (of the URL), `virtual` (the host), or"
        " `auto`.",
        "path",
    )


class S3Options(_BucketOptions):
    """Options of a datastore of type `s3`."""

    temp_path: OptionText = setting(
        "",
        "Folder in which uploads are gathered. Empty: the system's.",
        "/var/tmp/mmr",  # noqa: S108
    )
    storage_class: OptionText = setting(
        "STANDARD", "Storage class of new objects.", "STANDARD_IA"
    )
    public_base_url: OptionText = setting(
        "",
        "Clients are redirected to this text followed by the object's key, such as a"
        " CDN. Empty: they get the bytes from here.",
        "https://cdn.example.org/",
    )
    presigned_redirects: OptionFlag = setting(
        "false",
        "Clients are redirected to signed URLs at the endpoint that end after five"
        " minutes. The endpoint must be reachable for them.",
        "true",
    )
    redirect_when_cached: OptionFlag = setting(
        "false", "Redirect even when the bytes are in the cache.", "true"
    )
    prefix_length: OptionInt = setting(
        "0", "So many leading characters of the key become a folder of its own.", "2"
    )
    multipart_uploads: OptionFlag = setting(
        "true", "Off for providers that can't take an object in parts.", "false"
    )


class _SynapseFolders(Section):
    path: OptionPath | None = setting(
        None,
        "Synapse's `media_store_path`. At least this or a bucket must be there.",
        "/var/lib/matrix-synapse/media",
    )
    backup_path: OptionPath | None = setting(
        None,
        "Folder of Synapse's `file_system` storage provider; asked for what isn't in"
        " `path`.",
        "/mnt/media-backup",
    )


class SynapseOptions(_BucketOptions, _SynapseFolders):
    """Options of a datastore of type `synapse`.

    The bucket is that of synapse-s3-storage-provider, asked for what isn't in a folder.
    """

    endpoint: Endpoint = setting(
        "", "Host, and port if need be, without a scheme.", "s3.example.org:9000"
    )
    bucket_name: OptionText = setting("", "The bucket.", "synapse-media")
    prefix: OptionText = setting(
        "", "`prefix` of the provider: what all keys begin with.", "synapse/"
    )

    @model_validator(mode="after")
    def _somewhere(self) -> SynapseOptions:
        if bool(self.endpoint) != bool(self.bucket_name):
            raise problem("needs `bucketName` beside it, and the other way", "endpoint")
        if not (self.path or self.backup_path or self.bucket_name):
            raise problem("is missing: where are Synapse's files?", "path")
        return self


SectionType: TypeAlias = type[Section]  # "type" is a key of the class that uses it
OPTIONS: dict[str, SectionType] = {
    "file": FileOptions,
    "s3": S3Options,
    "synapse": SynapseOptions,
}


def _options(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise expected("a mapping of options")
    return {key: as_text(item) for key, item in value.items() if item is not None}


OptionMap = Annotated[
    dict[str, str], BeforeValidator(_options), Named("mapping of options")
]


class DatastoreConfig(Section):
    """A place for objects. Of several for one kind, the least filled is taken."""

    RETIRED = {"forUploads": "`forKinds` says what a datastore is for"}

    type: DatastoreType = setting(
        ...,
        "`file`, `s3`, or `synapse` for the media store of a Synapse, which is only"
        " read.",
        "file",
    )
    id: Text | None = setting(
        None,
        "Name in the database. It must never change. A datastore of an older"
        " matrix-media-repo that has no name is found by its folder or bucket.",
        "main",
    )
    enabled: Flag = setting(
        True,
        "Off: nothing new is put here (same as empty `forKinds`).",
        False,
        Mark.LEGACY,
    )
    for_kinds: Kinds = setting(
        frozenset(),
        "What is put here: `local_media`, `remote_media`, `thumbnails`, `archives`, or"
        " `all`. Empty: only read.",
        ["all"],
    )
    remote_media_cap_bytes: Natural = setting(
        0,
        "Above so many bytes of all kinds in it, files of other servers are passed on"
        " to clients without being kept. 0: no cap.",
        500_000_000_000,
    )
    opts: OptionMap = setting(
        {},
        "Options of the type; see below.",
        {"path": "/var/lib/mmr/media"},
        Mark.OPAQUE,
    )

    @model_validator(mode="before")
    @classmethod
    def _disabled_has_no_kinds(cls, data: Any) -> Any:
        """MMR 1.2 switched a datastore off by ``enabled`` (reference §4.5)."""
        if isinstance(data, dict) and data.get("enabled") is False:
            return {**data, "forKinds": []}
        return data

    @model_validator(mode="after")
    def _supported(self) -> DatastoreConfig:
        if self.type == "ipfs" and self.enabled:
            raise problem(
                "IPFS is not supported; copy its media to a file or s3 datastore with"
                " matrix-media-repo, then remove this entry",
                "type",
            )
        if self.id == "":
            raise problem("is empty; name it, such as main", "id")
        self._check_options()
        if self.type == "synapse":
            self._check_synapse()
        return self

    def _check_synapse(self) -> None:
        if self.for_kinds:
            raise problem("must be []: Synapse's store is only read", "forKinds")
        if self.id is None:
            raise problem("is missing; name it, such as synapse", "id")

    def _check_options(self) -> None:
        try:
            OPTIONS.get(self.type, Section).model_validate(self.opts)
        except ValidationError as error:
            first = error.errors()[0]
            key = (*first["loc"], *first.get("ctx", {}).get("key", ()))
            raise problem(sentence(first), "opts", *key) from None

    @classmethod
    def section_behind(cls, key: Setting, values: dict[str, Any]) -> SectionType | None:
        """The options' section depends on the type."""
        return OPTIONS.get(str(values.get("type"))) if key.key == "opts" else None


def is_disabled_ipfs(values: Mapping[str, Any]) -> bool:
    """Whether an entry is the one for IPFS that MMR 1.2's sample comes with."""
    return values.get("type") == "ipfs" and values.get("enabled") is False


def _usable(datastores: tuple[DatastoreConfig, ...]) -> tuple[DatastoreConfig, ...]:
    ids = [datastore.id for datastore in datastores if datastore.id is not None]
    for twice in (name for name in ids if ids.count(name) > 1):
        raise problem(f"two datastores have the id {twice!r}; give each its own")
    return tuple(datastore for datastore in datastores if datastore.type != "ipfs")


def missing_kinds(
    datastores: Iterable[DatastoreConfig], kinds: Iterable[Kind]
) -> list[str]:
    """The names of the kinds that no datastore takes."""
    taken = frozenset[Kind]().union(*(store.for_kinds for store in datastores))
    return [kind.value for kind in kinds if kind not in taken]


Datastores = Annotated[tuple[DatastoreConfig, ...], AfterValidator(_usable)]
