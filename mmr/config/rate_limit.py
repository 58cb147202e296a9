"""``rateLimit``: how much one client may ask for."""

from __future__ import annotations

from mmr.config._base import Section, section, setting
from mmr.config._values import Flag, Natural, Positive, Rate


class DownloadBucketConfig(Section):
    """Bytes that one client may download."""

    capacity_bytes: Positive = setting(
        524288000, "How much a client may download at once.", 314572800
    )
    drain_bytes_per_minute: Positive = setting(
        5242880, "How much is forgiven each minute.", 10485760
    )
    overflow_limit_bytes: Natural = setting(
        104857600,
        "How far one download may pass the capacity. Good: the largest remote file, or"
        " 30 % of the capacity when that is less.",
        52428800,
    )


class BucketsConfig(Section):
    """Budgets in bytes."""

    downloads: DownloadBucketConfig = section(DownloadBucketConfig)


class RateLimitConfig(Section):
    """How much one client may ask for: a user, else a server, else an address."""

    enabled: Flag = setting(True, "Limit requests and downloads.", False)
    requests_per_second: Rate = setting(
        5.0, "Requests a second that a client may make all the time.", 1.5
    )
    burst: Natural = setting(10, "Requests that it may make at once.", 50)
    paths_per_client: Positive = setting(
        20,
        "matrix-media-repo counts each path of a client apart, mmr all of them together"
        " and against so many times the two numbers above. 1 takes them literally.",
        1,
    )
    buckets: BucketsConfig = section(BucketsConfig)
