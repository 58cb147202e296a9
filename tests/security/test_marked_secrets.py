"""Marked secrets, sent and configured in all ways, are found nowhere again (R42)."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest

from tests.datastores.s3_server import (
    bucket_options,
    moto_endpoint,
    new_bucket,
    raw_client,
)
from tests.harness import png
from tests.integration.process import free_port
from tests.integration.server import SERVER_NAME, Server, http_request
from tests.postgres import create_database
from tests.redis import RedisServer

MARK = "MARKED"
USER_TOKEN = f"syt_{MARK}_user"
ADMIN_TOKEN = f"syt_{MARK}_admin"
STRANGERS_TOKEN = f"syt_{MARK}_stranger"
APPSERVICE_TOKEN = f"{MARK}_appservice_token_of_some_length"
SHARED_SECRET = f"{MARK}_shared_secret_of_some_length"
SIGNATURE = f"{MARK}c2lnbmF0dXJl"
PASSWORD = f"{MARK}_password"
_SECRETS = (USER_TOKEN, STRANGERS_TOKEN, APPSERVICE_TOKEN, SHARED_SECRET)
_USERS = {
    USER_TOKEN: f"@ann:{SERVER_NAME}",
    ADMIN_TOKEN: f"@admin:{SERVER_NAME}",
}


class _Homeserver(http.server.BaseHTTPRequestHandler):
    """Knows two tokens, and repeats any other in its error."""

    def do_GET(self) -> None:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if token in _USERS:
            self._answer(200, {"user_id": _USERS[token]})
        elif "versions" in self.path:
            self._answer(200, {"versions": ["v1.11"]})
        else:
            self._answer(500, {"errcode": f"M_{token}", "error": f"{token} {token}"})

    do_POST = do_GET

    def _answer(self, status: int, body: dict[str, object]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def homeserver() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Homeserver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def configured(folder: Path, homeserver: str, **more: Any) -> Server:
    """A server that logs all it can, to its output and into files; not started."""
    changes = {
        "repo": {"logLevel": "trace", "logDirectory": str(folder / "logs")},
        "homeservers": [{"name": SERVER_NAME, "csApi": homeserver}],
        "admins": [_USERS[ADMIN_TOKEN]],
        "sharedSecretAuth": {"enabled": True, "token": SHARED_SECRET},
        "metrics": {"enabled": True, "port": free_port()},
        "urlPreviews": {"enabled": True},
        **more,
    }
    made = Server(folder, changes)
    [appservice] = made.config["accessTokens"]["appservices"]
    made.token = appservice["asToken"] = APPSERVICE_TOKEN
    made.write_config()
    return made


@pytest.fixture
def server(tmp_path: Path, homeserver: str) -> Iterator[Server]:
    """One on SQLite and a folder."""
    made = configured(tmp_path, homeserver)
    made.start()
    yield made
    made.child.kill()


class Fleet:
    """Two servers on PostgreSQL, Redis and S3, which all have marked passwords."""

    def __init__(self, folder: Path, homeserver: str) -> None:
        self.redis = RedisServer([f"requirepass {PASSWORD}"])
        self.redis.start()
        self.database = create_database().replace("//mmr@", f"//mmr:{PASSWORD}@")
        assert PASSWORD in self.database
        self.bucket = new_bucket()
        options = bucket_options(self.bucket, accessSecret=PASSWORD)
        shards = [{"name": "one", "addr": self.redis.address}]
        store = {"type": "s3", "id": "s3", "forKinds": ["all"], "opts": options}
        self.servers = []
        for number in range(2):
            home = folder / str(number)
            home.mkdir()
            made = configured(
                home,
                homeserver,
                database={"sqlite": None, "postgres": self.database},
                redis={"enabled": True, "password": PASSWORD, "shards": shards},
                datastores=[store],
                rateLimit={"enabled": True, "requestsPerSecond": 9000, "burst": 9000},
            )
            made.child._environment = {**os.environ, "MACHINE_ID": str(number)}
            self.servers.append(made)

    def redis_holds(self) -> bytes:
        """Every key of Redis and what is there, of whatever kind."""
        client = RedisClient(self.redis.port)
        client.ask("AUTH", PASSWORD)
        found = []
        for key in client.ask("KEYS", "*"):
            found += [key, client.ask("DUMP", key)]
            kind = client.ask("TYPE", key)
            found.append(client.ask(*_READING[kind](key)))
        client.close()
        return repr(found).encode()

    def database_holds(self) -> bytes:
        """Every row of every table, and what the sessions last said."""
        connection = psycopg2.connect(self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            )
            tables = [row[0] for row in cursor.fetchall()]
            found: list[Any] = []
            for table in [*tables, "pg_stat_activity"]:
                cursor.execute(f"SELECT each::text FROM {table} AS each")
                found += [table, *cursor.fetchall()]
        connection.close()
        return repr(found).encode()


_READING: dict[bytes, Callable[[bytes], tuple[bytes | str, ...]]] = {
    b"string": lambda key: ("GET", key),
    b"hash": lambda key: ("HGETALL", key),
    b"list": lambda key: ("LRANGE", key, "0", "-1"),
    b"set": lambda key: ("SMEMBERS", key),
    b"zset": lambda key: ("ZRANGE", key, "0", "-1"),
}


class RedisClient:
    """Speaks with Redis past the code under test."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._file = self._socket.makefile("rb")
        self._watching: threading.Thread | None = None

    def close(self) -> None:
        if self._watching is not None:
            # It holds the file while it reads.
            self._socket.shutdown(socket.SHUT_RDWR)
            self._watching.join()
        self._file.close()
        self._socket.close()

    def ask(self, *words: bytes | str) -> Any:
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        sent = b"*%d\r\n" % len(parts)
        self._socket.sendall(
            sent + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        )
        return self._reply()

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        assert kind != b"-", rest
        return rest

    def watch(self) -> list[bytes]:
        """From now on, all that anybody tells Redis, line by line."""
        lines: list[bytes] = []

        def read() -> None:
            with contextlib.suppress(OSError):
                for line in self._file:
                    lines.append(line)

        self.ask("MONITOR")
        self._socket.settimeout(None)
        self._watching = threading.Thread(target=read, daemon=True)
        self._watching.start()
        return lines


@pytest.fixture
def fleet(tmp_path: Path, homeserver: str) -> Iterator[Fleet]:
    made = Fleet(tmp_path, homeserver)
    yield made
    for each in made.servers:
        each.child.kill()
    made.redis.remove()


def ask_with(server: Server, secret: str) -> list[bytes]:
    """Show the secret in every place where a client could; gives the answers."""
    media = f"/_matrix/client/v1/media/download/{SERVER_NAME}/abc?timeout_ms=0"
    upload = "/_matrix/media/v3/upload"
    answers = [
        server.request(method, path + query, body, token=token, headers=headers)
        for method, path, body in (
            ("GET", media, None),
            ("GET", "/_matrix/client/versions?", None),
            ("GET", "/_matrix/media/v3/config?", None),
            ("GET", "/_matrix/media/unstable/admin/tasks/all?", None),
            ("GET", "/_matrix/media/v3/nothing?", None),
            ("POST", f"{upload}?", f"Something from {secret[:4]}".encode()),
            ("POST", "/_matrix/media/v1/create?", b"{}"),
            ("POST", "/_matrix/client/v3/logout?", b"{}"),
        )
        for query, token, headers in (
            ("", secret, {}),
            (f"&access_token={secret}", "", {}),
            (f"&a=b&access%5Ftoken={secret}&c=%zz", "", {}),
            (f"&ACCESS_TOKEN={secret}", "", {}),
            ("", "", {"Authorization": f"bearer {secret}"}),
            ("", "", {"User-Agent": f"Bearer {secret}"}),
            (f"&user_id=@b:{SERVER_NAME}", secret, {}),
            ("&user_id=nobody", secret, {}),
        )
    ]
    return [repr(answer).encode() for answer in answers]


def ask_as_server(server: Server) -> bytes:
    """A signature is worth as much as a token while it lasts."""
    headers = {
        "Authorization": "X-Matrix origin=far.example,key=ed25519:1,"
        f'destination={SERVER_NAME},sig="{SIGNATURE}"'
    }
    path = "/_matrix/federation/v1/media/download/abc"
    return repr(server.request("GET", path, token="", headers=headers)).encode()


def administer(server: Server, first: int = 200) -> list[bytes]:
    """What an admin does, so that it is written down; gives the answers."""
    admin = "/_matrix/media/unstable/admin"
    kept = [server.upload(png(300, first + n), "image/png") for n in range(3)]
    media = [mxc.removeprefix("mxc://") for mxc in kept]
    thumbnail = f"/_matrix/client/v1/media/thumbnail/{media[0]}?width=96&height=96"
    answers = [
        server.request(method, path, token=ADMIN_TOKEN)
        for method, path in (
            ("GET", thumbnail),
            ("GET", thumbnail),
            ("POST", f"{admin}/quarantine/{media[1]}"),
            ("POST", f"{admin}/purge/{media[2]}?reason=because"),
            ("POST", f"{admin}/purge/old?before_ts=1000000000000&wait=false"),
            ("GET", f"{admin}/audit"),
            ("GET", f"{admin}/datastores"),
            ("GET", f"{admin}/tasks/all"),
            ("GET", f"{admin}/usage/{SERVER_NAME}"),
            ("GET", f"{admin}/federation/test/127.0.0.1:9"),
            ("POST", "/_matrix/client/v3/logout/all"),
        )
    ]
    assert [answer.status for answer in answers] == [200] * len(answers), answers
    return [repr(answer).encode() for answer in answers]


def left_by(server: Server) -> dict[str, bytes]:
    """What a running server shows of itself."""
    port = server.config["metrics"]["port"]
    process = Path(f"/proc/{server.child.pid}")
    return {
        f"metrics {port}": http_request(port, "GET", "/metrics", None, {}).body,
        f"arguments {port}": (process / "cmdline").read_bytes(),
        f"environment {port}": (process / "environ").read_bytes(),
    }


def files_in(folder: Path, *but: Path) -> dict[str, bytes]:
    """Everything that was written there."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path not in but
    }


def check(seen: Mapping[str, bytes]) -> None:
    for place, data in seen.items():
        at = data.find(MARK.encode())
        assert at < 0, f"{place}: {data[max(0, at - 300) : at + 60]!r}"


def test_marked_secrets_are_found_nowhere(server: Server, tmp_path: Path) -> None:
    """R42: logs, metrics, errors, database, media."""
    # First of all: later the homeserver has said so much nonsense that it is left.
    seen = {"answers to admins": b"".join(administer(server))}
    seen["answers"] = b"".join(a for s in _SECRETS for a in ask_with(server, s))
    seen["answers to servers"] = ask_as_server(server)
    seen |= left_by(server)
    server.stop()
    with sqlite3.connect(tmp_path / "mmr.db") as connection:
        seen["database"] = "\n".join(connection.iterdump()).encode()
    connection.close()
    seen |= files_in(tmp_path, server.config_path)
    assert b"Processed request" in seen[str(tmp_path / "mmr.log")]
    assert b"INSERT INTO" in seen["database"]
    assert b"because" in seen["database"]
    check(seen)


def test_nor_in_postgresql_redis_and_s3(fleet: Fleet, tmp_path: Path) -> None:
    """R42: with two processes that tell each other what they know."""
    monitor = RedisClient(fleet.redis.port)
    monitor.ask("AUTH", PASSWORD)
    said = monitor.watch()
    for server in fleet.servers:
        server.start()
    seen: dict[str, bytes] = {}
    for number, server in enumerate(fleet.servers):
        answers = [*administer(server, 200 + 9 * number), ask_as_server(server)]
        answers += [
            answer for secret in _SECRETS for answer in ask_with(server, secret)
        ]
        seen[f"answers of {number}"] = b"".join(answers)
    for server in fleet.servers:
        seen |= left_by(server)
    seen["Redis"], seen["PostgreSQL"] = fleet.redis_holds(), fleet.database_holds()
    for server in fleet.servers:
        server.stop()
    monitor.close()
    seen["what Redis was told"] = b"".join(said)
    client: Any = raw_client(moto_endpoint())
    objects = client.list_objects_v2(Bucket=fleet.bucket)["Contents"]
    for each in objects:
        got = client.get_object(Bucket=fleet.bucket, Key=each["Key"])
        seen[f"object {each['Key']}"] = repr(got).encode() + got["Body"].read()
    seen |= files_in(tmp_path, *(server.config_path for server in fleet.servers))
    for number in range(2):
        assert b"Processed request" in seen[str(tmp_path / str(number) / "mmr.log")]
    # What has to be there is there, so what is not is not.
    assert b"PNG" in seen["Redis"]
    assert b"mmr:" in seen["what Redis was told"]
    assert b"publish" in seen["what Redis was told"].lower()
    assert b"because" in seen["PostgreSQL"]
    assert f"@ann:{SERVER_NAME}".encode() in seen["PostgreSQL"]
    check(seen)


def test_signed_urls_are_in_no_log(tmp_path: Path, homeserver: str) -> None:
    """R42: for five minutes such a URL is worth as much as a token."""
    options = bucket_options(
        new_bucket(),
        accessSecret=PASSWORD,
        presignedRedirects="true",
        redirectWhenCached="true",
    )
    store = {"type": "s3", "id": "s3", "forKinds": ["all"], "opts": options}
    made = configured(tmp_path, homeserver, datastores=[store])
    made.start()
    try:
        answer = made.download(made.upload(b"some data" * 50))
        assert answer.status == 307
        [signature] = parse_qs(urlsplit(answer.headers["Location"]).query)[
            "X-Amz-Signature"
        ]
    finally:
        made.child.stop()
    seen = files_in(tmp_path, made.config_path)
    assert b"Processed request" in seen[str(tmp_path / "mmr.log")]
    check(seen)
    assert not any(signature.encode() in data for data in seen.values())
