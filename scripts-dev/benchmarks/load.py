"""Load generators: wrk for small warm answers, threads with sockets for the rest."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

import attrs

from benchmarks.errors import BenchError
from benchmarks.stats import percentile
from benchmarks.wire import Answer, Connection, request_head

_WRK_REPORT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %.6f, "errors": %d, "p50": %.3f, "p95": %.3f, "p99": %.3f}\\n',
    summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
"""  # noqa: E501


@attrs.frozen
class Load:
    """What the generator got out of one round."""

    requests: int
    seconds: float
    body_bytes: int
    errors: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    answer_ms: float | None = None


@attrs.frozen
class Plan:
    """How hard and how long: whichever of the two limits comes first ends it."""

    connections: int
    seconds: float
    requests: int


Step = Callable[[Connection, int], tuple[Answer, int]]
"""Does one request, the number of which it gets; gives the answer and body bytes."""


def drive(port: int, plan: Plan, expected_status: int, step: Step) -> Load:
    """Repeat the step over some connections, one thread each."""
    numbers = itertools.count()
    latencies_ms: list[float] = []
    waits_ms: list[float] = []
    bodies: list[int] = []
    failures: list[BaseException] = []
    errors: list[int] = []
    started = time.perf_counter()
    deadline = started + plan.seconds

    def work() -> None:
        try:
            connection = Connection(port)
            while time.perf_counter() < deadline:
                if (number := next(numbers)) >= plan.requests:
                    break
                begun = time.perf_counter()
                answer, size = step(connection, number)
                latencies_ms.append((time.perf_counter() - begun) * 1000)
                waits_ms.append(answer.waited_s * 1000)
                bodies.append(size)
                if answer.status != expected_status:
                    errors.append(answer.status)
            connection.close()
        except (OSError, BenchError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(plan.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchError(f"the load on port {port} broke off: {failures[0]!r}")
    return Load(
        requests=len(latencies_ms),
        seconds=time.perf_counter() - started,
        body_bytes=sum(bodies),
        errors=len(errors),
        p50_ms=percentile(latencies_ms, 50),
        p95_ms=percentile(latencies_ms, 95),
        p99_ms=percentile(latencies_ms, 99),
        answer_ms=percentile(waits_ms, 50),
    )


def repeat_get(
    port: int, path: str, headers: Mapping[str, str], plan: Plan, body_bytes: int
) -> Load:
    """Fetch one path again and again, with wrk when it is installed.

    Args:
        body_bytes: Length of each body, known from a request before.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        head = request_head("GET", path, headers)

        def fetch(connection: Connection, _number: int) -> tuple[Answer, int]:
            answer = connection.exchange(head)
            return answer, answer.length

        expected_status = 200 if body_bytes else 304
        return drive(port, plan, expected_status, fetch)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_WRK_REPORT)
        script.flush()
        command = [wrk, "-t1", f"-c{plan.connections}", f"-d{_whole(plan.seconds)}s"]
        command += ["--timeout", "20s", "-s", script.name]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://127.0.0.1:{port}{path}")
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=plan.seconds + 60
        )
    if done.returncode:
        raise BenchError(f"wrk failed: {done.stderr or done.stdout}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if not found["requests"]:
        raise BenchError(f"wrk got no answer from port {port}: {done.stdout}")
    return Load(
        requests=found["requests"],
        seconds=found["seconds"],
        body_bytes=found["requests"] * body_bytes,
        errors=found["errors"],
        p50_ms=found["p50"],
        p95_ms=found["p95"],
        p99_ms=found["p99"],
    )


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
