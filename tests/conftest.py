"""Settings for every test run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import remove_shared_cluster

# No deadlines: the machines that run this are shared, and tests don't time. The same
# examples each run, so that a red run is red again for whoever looks into it.
settings.register_profile(
    "mmr",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("mmr")


@pytest.fixture(scope="session", autouse=True)
def _working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run somewhere else: trial's ``mktemp`` makes its folders where it is.

    There goes also what killed children could not remove.
    """
    folder = tmp_path_factory.mktemp("cwd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield
    # pytest clears up itself only where there are no xdist workers.
    shutil.rmtree(folder, ignore_errors=True)


def pytest_sessionfinish() -> None:
    """Leave nothing behind in /tmp."""
    remove_shared_cluster()
