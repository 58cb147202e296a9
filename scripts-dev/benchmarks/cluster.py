"""Several of our servers on one database, with Redis and without.

Servers and load share all cores: what a second process brings shows only so.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchError
from benchmarks.load import Load, Plan, repeat_get
from benchmarks.processes import (
    LOAD_CORES,
    SERVER_CORES,
    Child,
    busy_seconds,
    own_seconds,
    usage,
)
from benchmarks.runner import OURS, Result, temporary_folder
from benchmarks.servers.base import fresh_bytes
from benchmarks.servers.mmr import Mmr
from benchmarks.servers.services import Postgres, RedisServer
from benchmarks.wire import Connection, request_head

TWO = "two-processes"
REDIS_KILLED = "redis-killed"
NAMES = (TWO, REDIS_KILLED)

_SIZE = 20_000
_CONNECTIONS = 16
_WARM_UP_REQUESTS = 50
_TOKEN = "the-token-of-all-of-them"
_CLIENTS = 4
_BEFORE_S = 2.0
# "Within 5 s"; the rate is taken in the second behind that.
_BACK_S = 5.0


class Member(Mmr):
    """One process of a cluster.

    Args:
        folder: An empty folder of its own.
        number: Its machine id.
        cores: Where it may run.
        config: What all have in common.
    """

    def __init__(
        self, folder: Path, number: int, cores: set[int], config: dict[str, Any]
    ) -> None:
        super().__init__(folder, token=_TOKEN)
        self._number = number
        self._cores = cores
        self._common = config

    def launch(self) -> Child:
        """Start it, on its cores."""
        child = super().launch({"MACHINE_ID": str(self._number)})
        os.sched_setaffinity(child.pid, self._cores)
        return child

    def _config(self) -> dict[str, Any]:
        return {**super()._config(), **self._common}


def measure(name: str, rounds: int, seconds: float) -> Result:
    """Measure one of them."""
    if name == TWO:
        return _two_processes(rounds, seconds)
    return _redis_killed(rounds)


@contextlib.contextmanager
def _cluster(
    count: int, cores: set[int], *, with_redis: bool = False
) -> Iterator[tuple[list[Member], str, RedisServer | None]]:
    """Processes that have warmed up, the key of a file, and their Redis."""
    with temporary_folder() as folder, contextlib.ExitStack() as stack:
        for name in ("postgres", "redis", *map(str, range(count))):
            (folder / name).mkdir()
        postgres = Postgres(folder / "postgres")
        stack.callback(postgres.stop)
        store = {"type": "file", "id": "bench", "forKinds": ["all"]}
        config: dict[str, Any] = {
            "database": {"postgres": postgres.url},
            "datastores": [{**store, "opts": {"path": str(folder / "media")}}],
        }
        redis = None
        if with_redis:
            redis = RedisServer(folder / "redis")
            stack.callback(redis.stop)
            config["redis"] = redis.config
        members = []
        for number in range(count):
            member = Member(folder / str(number), number, cores, config)
            stack.callback(member.stop)
            member.start()
            members.append(member)
        key = members[0].upload(fresh_bytes(_SIZE), "application/octet-stream")
        for member in members:
            for _ in range(_WARM_UP_REQUESTS):
                if member.get(member.download_path(key)).status != 200:
                    raise BenchError("the file can't be had")
        yield members, key, redis


def _two_processes(rounds: int, seconds: float) -> Result:
    both: dict[str, list[float]] = defaultdict(list)
    one: dict[str, list[float]] = defaultdict(list)
    foreign: list[float] = []
    cores = SERVER_CORES | LOAD_CORES
    os.sched_setaffinity(0, cores)
    with _cluster(2, cores) as (members, key, _):
        for _ in range(rounds):
            with _foreign_cores(members, foreign):
                for found, some in ((both, members), (one, members[:1])):
                    cpu_s = sum(usage(each.pid).cpu_s for each in some)
                    loads = _at_once(some, key, seconds)
                    cpu_s = sum(usage(each.pid).cpu_s for each in some) - cpu_s
                    count = sum(load.requests for load in loads)
                    rates = [load.requests / load.seconds for load in loads]
                    found["rate"].append(sum(rates))
                    found["cpu_ms"].append(cpu_s * 1000 / count)
                    found["p99_ms"].append(max(load.p99_ms for load in loads))
                    found["errors"].append(sum(load.errors for load in loads))
    os.sched_setaffinity(0, LOAD_CORES)
    return Result(TWO, {OURS: both, "one": one}, statistics.median(foreign))


@contextlib.contextmanager
def _foreign_cores(members: Sequence[Member], found: list[float]) -> Iterator[None]:
    def seconds() -> float:
        ours = own_seconds() + sum(usage(each.pid).cpu_s for each in members)
        return busy_seconds() - ours

    before, started = seconds(), time.perf_counter()
    yield
    spent_s = seconds() - before
    found.append(max(0.0, spent_s / (time.perf_counter() - started)))


def _at_once(members: Sequence[Member], key: str, seconds: float) -> list[Load]:
    """As many clients in all, whatever the number of processes."""
    loads: list[Load] = []
    plan = Plan(_CONNECTIONS // len(members), seconds, 1_000_000)

    def drive(member: Member) -> None:
        path = member.download_path(key)
        loads.append(repeat_get(member.port, path, member.headers, plan, _SIZE))

    threads = [threading.Thread(target=drive, args=(each,)) for each in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(loads) < len(members):
        raise BenchError("the load broke off")
    return loads


def _redis_killed(rounds: int) -> Result:
    ours: dict[str, list[float]] = defaultdict(list)
    without: dict[str, list[float]] = defaultdict(list)
    foreign: list[float] = []
    for _ in range(rounds):
        with (
            _cluster(1, SERVER_CORES) as ([member], key, _),
            _foreign_cores([member], foreign),
        ):
            load = _Clients(member, key)
            time.sleep(_BEFORE_S)
            load.stop()
            without["rate"].append(load.rate(_BEFORE_S - 1, _BEFORE_S))
            without["errors"].append(load.errors)
        with (
            _cluster(1, SERVER_CORES, with_redis=True) as ([member], key, redis),
            _foreign_cores([member], foreign),
        ):
            assert redis is not None
            load = _Clients(member, key)
            time.sleep(_BEFORE_S)
            redis.kill()
            time.sleep(_BACK_S + 1)
            load.stop()
            back = _BEFORE_S + _BACK_S
            ours["rate"].append(load.rate(back, back + 1))
            ours["before_rate"].append(load.rate(_BEFORE_S - 1, _BEFORE_S))
            ours["gap_ms"].append(load.longest_gap_ms())
            ours["errors"].append(load.errors)
    rows = {OURS: ours, "no redis": without}
    return Result(REDIS_KILLED, rows, statistics.median(foreign))


class _Clients:
    """Clients that note when each answer came."""

    def __init__(self, member: Member, key: str) -> None:
        self.errors = 0
        self._times: list[float] = []
        self._is_over = threading.Event()
        self._began = time.perf_counter()
        head = request_head("GET", member.download_path(key), member.headers)
        self._threads = [
            threading.Thread(target=self._run, args=(member.port, head))
            for _ in range(_CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int, head: bytes) -> None:
        try:
            connection = Connection(port)
            while not self._is_over.is_set():
                answer = connection.exchange(head)
                if answer.status != 200 or answer.length != _SIZE:
                    self.errors += 1
                self._times.append(time.perf_counter() - self._began)
            connection.close()
        except (OSError, BenchError):
            self.errors += 1

    def stop(self) -> None:
        """End them."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self._times.sort()

    def rate(self, start_s: float, end_s: float) -> float:
        """Answers a second in between, counted from the beginning."""
        return sum(start_s <= at < end_s for at in self._times) / (end_s - start_s)

    def longest_gap_ms(self) -> float:
        """The longest time without any answer."""
        pairs = zip(self._times, self._times[1:], strict=False)
        return max((later - earlier for earlier, later in pairs), default=0.0) * 1000
