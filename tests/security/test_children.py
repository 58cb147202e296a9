"""What the processes that we start can read of us (R105)."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.integration.conftest import make_server  # noqa: F401
from tests.integration.images import SAMPLE
from tests.integration.server import Server
from tests.redis import RedisServer

MARK = "marked-secret"


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    below = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            below += [int(child), *descendants(int(child))]
    return below


def test_no_secret_is_in_arguments_or_environments_of_children(
    make_server,  # noqa: F811
    tmp_path: Path,
) -> None:
    redis = RedisServer([f"requirepass {MARK}-redis"])
    redis.start()
    server: Server = make_server(
        {
            "sharedSecretAuth": {"enabled": True, "token": f"{MARK}-shared"},
            "redis": {
                "enabled": True,
                "password": f"{MARK}-redis",
                "shards": [{"name": "one", "addr": redis.address}],
            },
        },
        # A careless operator's: it stays with us.
        environment={"MEDIA_PPROF_SECRET_KEY": f"{MARK}-pprof"},
    )
    try:
        server.start()
        mxc = server.upload(SAMPLE.read_bytes(), "image/jpeg")
        path = mxc.removeprefix("mxc://")
        query = "width=320&height=240&method=scale"
        thumbnail = f"/_matrix/client/v1/media/thumbnail/{path}?{query}"
        assert server.request("GET", thumbnail).status == 200
        children = descendants(server.child.pid)
        assert children, "a worker has drawn the thumbnail"
        secrets = [MARK, base64.b64encode(MARK.encode()).decode()[:12], server.token]
        assert MARK not in Path(f"/proc/{server.child.pid}/cmdline").read_text()
        for child in children:
            for name in ("cmdline", "environ"):
                text = Path(f"/proc/{child}/{name}").read_text()
                assert not [each for each in secrets if each in text], (name, text)
            opened = [
                str(entry.readlink())
                for entry in Path(f"/proc/{child}/fd").iterdir()
                if entry.is_symlink()
            ]
            assert str(server.config_path) not in opened
            assert not [each for each in opened if each.endswith((".db", ".db-wal"))]
    finally:
        redis.remove()
