"""A database with a million media rows, made by the database itself."""

from __future__ import annotations

from typing import Protocol

import attrs

OWN = "localhost"
HEAVY_USER = f"@user0:{OWN}"
SMALL = "small1.example"
TO_PURGE = "purge.example"
TO_QUARANTINE = "quarantine.example"

_USERS = 5_000
_SMALL_SERVERS = 2_000


class Database(Protocol):
    """Where the rows go; a server has made the tables."""

    def psql(self, sql: str) -> str:
        """Run statements."""
        ...


@attrs.frozen
class Sizes:
    """How many rows there are of each kind; ours come first, then the large servers'.

    Attributes:
        heavy: Of our one busy user.
        each: Of each of the two large servers.
        thumbnails: Of the two large servers' media, as far as that goes.
    """

    rows: int = 1_000_000
    own: int = 500_000
    heavy: int = 20_000
    each: int = 100_000
    thumbnails: int = 150_000

    def divided(self, by: int) -> Sizes:
        """A smaller database of the same shape."""
        return Sizes(*(count // by for count in attrs.astuple(self)))


# Of every ten media two have one content.
_CONTENT = "CASE WHEN n % 10 = 1 THEN n - 1 ELSE n END"
_LOCATION = f"""
    substr(md5(({_CONTENT})::text), 1, 2) || '/'
    || substr(md5(({_CONTENT})::text), 3, 2) || '/' || md5(({_CONTENT})::text)
"""
_TOTALS = """
    INSERT INTO user_stats (user_id, uploaded_bytes)
        SELECT user_id, SUM(size_bytes) FROM media GROUP BY user_id;
    INSERT INTO mmr_datastore_totals (datastore_id, slot, bytes, objects)
    SELECT datastore_id, 0, SUM(size_bytes), COUNT(*) FROM (
        SELECT datastore_id, location, MAX(size_bytes) AS size_bytes FROM (
            SELECT datastore_id, location, size_bytes FROM media
            UNION ALL SELECT datastore_id, location, size_bytes FROM thumbnails
        ) AS referring GROUP BY datastore_id, location
    ) AS objects GROUP BY datastore_id;
"""


def fill(database: Database, sizes: Sizes) -> None:
    """Fill the tables of media, totals included; there are no files."""
    # Row by row, the trigger would make a million versions of one user's total.
    database.psql("ALTER TABLE media DISABLE TRIGGER media_change_for_user")
    database.psql(_media(sizes))
    database.psql("ALTER TABLE media ENABLE TRIGGER media_change_for_user")
    database.psql(_thumbnails(sizes))
    database.psql(
        "INSERT INTO last_access (sha256_hash, last_access_ts)"
        " SELECT sha256_hash, MAX(creation_ts) + 86400000 FROM media"
        " GROUP BY sha256_hash"
    )
    database.psql(
        "INSERT INTO restricted_media"
        " (origin, media_id, condition_type, condition_value)"
        " SELECT origin, media_id, 'io.t2bot.requires_authentication', 'true'"
        " FROM media"
    )
    database.psql(_TOTALS)
    # As autovacuum would have done, had the rows come one by one.
    database.psql("VACUUM ANALYZE")


def _media(sizes: Sizes) -> str:
    purge_end, quarantine_end = sizes.own + sizes.each, sizes.own + 2 * sizes.each
    return f"""
        INSERT INTO media (origin, media_id, upload_name, content_type, user_id,
            sha256_hash, size_bytes, location, creation_ts, quarantined, datastore_id)
        SELECT
            CASE WHEN n <= {sizes.own} THEN '{OWN}'
                WHEN n <= {purge_end} THEN '{TO_PURGE}'
                WHEN n <= {quarantine_end} THEN '{TO_QUARANTINE}'
                ELSE 'small' || n % {_SMALL_SERVERS} || '.example' END,
            'media' || lpad(n::text, 27, '0'), 'IMG_' || n || '.jpg', 'image/jpeg',
            CASE WHEN n > {sizes.own} THEN ''
                WHEN n <= {sizes.heavy} THEN '{HEAVY_USER}'
                ELSE '@user' || 1 + n % {_USERS} || ':{OWN}' END,
            encode(sha256(({_CONTENT})::text::bytea), 'hex'),
            50000 + ({_CONTENT}) % 100000, {_LOCATION},
            1600000000000 + n % 97 * 1000000000::bigint + n, FALSE, 'bench'
        FROM generate_series(1, {sizes.rows}) AS n
    """


def _thumbnails(sizes: Sizes) -> str:
    return f"""
        INSERT INTO thumbnails (origin, media_id, content_type, width, height, method,
            animated, size_bytes, location, creation_ts, datastore_id, sha256_hash)
        SELECT origin, media_id, 'image/jpeg', 320, 240, 'scale', FALSE, 9000,
            'th/' || substr(md5(media_id), 1, 2) || '/' || md5(media_id), creation_ts,
            'bench', encode(sha256(media_id::bytea), 'hex')
        FROM media WHERE origin IN ('{TO_PURGE}', '{TO_QUARANTINE}')
        ORDER BY media_id LIMIT {sizes.thumbnails}
    """


def remaining(database: Database, condition: str) -> int:
    """How many media fulfil a condition."""
    return int(database.psql(f"SELECT COUNT(*) FROM media WHERE {condition}"))
