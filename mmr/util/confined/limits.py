"""What a worker process may use."""

from __future__ import annotations

import attrs


@attrs.frozen
class WorkerLimits:
    """What one worker process may use (security requirements, section 0.2).

    Attributes:
        address_space: Bytes.
        cpu_seconds: Per job. A bad file shall cost less than ten seconds.
        wall_seconds: Per job; the whole process group is killed past it.
        file_bytes: The largest file that it can write.
        open_files: Descriptors.
        jobs: After so many, a fresh process takes its place.
    """

    address_space: int = 1 << 30
    cpu_seconds: int = 9
    wall_seconds: float = 30.0
    file_bytes: int = 64 << 20
    open_files: int = 32
    jobs: int = 200
