"""``downloads``: remote media, ranges and the content cache."""

from __future__ import annotations

from typing import Annotated

from mmr.config._base import Mark, Section, section, setting
from mmr.config._values import Flag, Int, Natural, workers

WORKERS_WHEN_UNLIMITED = 100


class CacheConfig(Section):
    """The cache of often read content in this process's memory.

    Media enters when it was read often enough lately, and leaves when it no longer is.
    """

    enabled: Flag = setting(True, "Keep hot media in memory.", False)
    max_size_bytes: Natural = setting(
        1048576000, "Bytes that the cache may hold.", 268435456
    )
    max_file_size_bytes: Natural = setting(
        104857600, "Larger files are never cached.", 10485760
    )
    tracked_minutes: Natural = setting(
        30, "The time over which downloads are counted.", 60
    )
    min_downloads: Natural = setting(
        5, "Downloads in that time that a file needs to enter and to stay.", 2
    )
    min_cache_time_seconds: Natural = setting(
        300, "A file that has entered stays for so long at least.", 60
    )
    min_evicted_time_seconds: Natural = setting(
        60, "A file that has left stays out for so long at least.", 30
    )


class DownloadsConfig(Section):
    """Fetching media from other servers, and serving it."""

    max_bytes: Natural = setting(
        104857600, "Largest remote file in bytes; 0: no limit.", 52428800
    )
    failure_cache_minutes: Natural = setting(
        15,
        "How long a failed remote download is answered from memory.",
        5,
        Mark.MAIN_ONLY,
    )
    default_range_chunk_size_bytes: Natural = setting(
        10485760, "Bytes sent for a range without an end.", 1048576
    )
    num_workers: Annotated[Int, workers(WORKERS_WHEN_UNLIMITED)] = setting(
        10,
        "Remote media fetched from one server at the same time; 0 or less takes 100.",
        50,
        Mark.MAIN_ONLY,
    )
    expire_after_days: Int = setting(
        0,
        "Remote media older than this is removed; 0 or less: never.",
        90,
        Mark.MAIN_ONLY,
    )
    cache: CacheConfig = section(CacheConfig, Mark.MAIN_ONLY)
