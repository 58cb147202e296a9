"""Where our server's reactor thread spends its time under a workload."""

from __future__ import annotations

import io
import pstats

from benchmarks.errors import BenchError
from benchmarks.runner import temporary_folder
from benchmarks.servers.mmr import Mmr
from benchmarks.workloads import workload

_LINES = 45


def profile(name: str, seconds: float) -> str:
    """Run the workload once under cProfile and give the hottest functions.

    Thread pools and worker processes are not in the profile, only what the reactor
    thread does; preparing the workload is.
    """
    with temporary_folder() as folder:
        output = folder / "profile"
        server = Mmr(folder, output)
        try:
            server.start()
            task = workload(name)
            task.prepare(server)
            task.before(server)
            load = task.drive(server, seconds)
        finally:
            server.stop()
        if not output.exists():
            raise BenchError("twistd left no profile; did the server stop by itself?")
        text = io.StringIO()
        stats = pstats.Stats(str(output), stream=text)
    stats.sort_stats("tottime").print_stats(_LINES)
    stats.sort_stats("cumulative").print_stats("/mmr/", _LINES)
    return f"{name}: {load.requests} requests while profiled\n{text.getvalue()}"
