"""Where log lines and reports go, and what is in none of them."""

from __future__ import annotations

import gzip
import http.server
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import MakeServer
from tests.integration.process import poll
from tests.integration.server import Server

# As Synapse's own sample has it, with its filter and formatter.
SYNAPSE_STYLE = {
    "version": 1,
    "formatters": {
        "precise": {
            "format": "%(asctime)s|%(name)s|%(levelname)s|%(request)s|%(message)s"
        }
    },
    "filters": {
        "context": {"()": "synapse.util.logcontext.LoggingContextFilter", "request": ""}
    },
    "root": {"level": "INFO", "handlers": ["file"]},
}


def described(server: Server, **changes: object) -> Path:
    """A ``log_config`` that writes to a file of its own."""
    handler = {
        "class": "logging.handlers.TimedRotatingFileHandler",
        "formatter": "precise",
        "filename": str(server.folder / "own.log"),
        "when": "midnight",
        "filters": ["context"],
    }
    path = server.folder / "log.yaml"
    content = {**SYNAPSE_STYLE, "handlers": {"file": handler}, **changes}
    path.write_text(yaml.safe_dump(content))
    server.write_config({"repo": {"logConfig": str(path)}})
    return server.folder / "own.log"


def test_a_file_in_synapses_style_takes_the_place_of_our_keys(
    make_server: MakeServer,
) -> None:
    server = make_server()
    log = described(server)
    server.start()
    mxc = server.upload(b"some data" * 50)
    query = f"/_matrix/media/v3/config?access_token={server.token}"
    assert server.request("GET", query, token="").status == 200
    assert server.request("GET", f"/_matrix/media/v3/download/{mxc[6:]}").status == 200
    server.stop()
    text = log.read_text()
    lines = [line.split("|") for line in text.splitlines() if line.count("|") >= 4]
    assert any(line[1] == "mmr.tap" and "is ready" in line[4] for line in lines)
    access = [line[4] for line in lines if line[1] == "mmr.access.http"]
    assert any('"POST /_matrix/media/v3/upload HTTP/1.1"' in line for line in access)
    assert server.token not in text
    assert "access_token=<redacted>" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("version: 1\nhandlers: {x: {class: no.such.Handler}}", "'x'"),
        ("- a list", "mapping"),
        ("a: [", "log.yaml"),
        ("version: 7", "version"),
    ],
)
def test_a_mistake_in_it_is_told_without_a_traceback(
    make_server: MakeServer, content: str, said: str
) -> None:
    server = make_server()
    described(server)
    (server.folder / "log.yaml").write_text(content)
    status, output = server.run_to_its_end()
    assert status == 1
    assert "log.yaml: repo.logConfig: " in output
    assert said in output
    assert "Traceback" not in output


def test_daily_files_and_json(make_server: MakeServer) -> None:
    server = make_server({"repo": {"logDirectory": "logs", "jsonLogs": True}})
    server.write_config({"repo": {"logDirectory": str(server.folder / "logs")}})
    server.start()
    server.upload(b"data" * 100)
    server.stop()
    text = (server.folder / "logs/media_repo.log").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert any("Processed request" in event["msg"] for event in events)
    assert all({"time", "level", "msg"} <= event.keys() for event in events)


class _Sentry(http.server.BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    envelopes: list[str]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        self.envelopes.append(data.decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def sentry() -> Iterator[type[_Sentry]]:
    handler = type("Handler", (_Sentry,), {"envelopes": []})
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.port = serving.server_address[1]
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield handler
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_errors_go_to_sentry_without_secrets(
    make_server: MakeServer, sentry: type[_Sentry]
) -> None:
    """R106: an event has the message and the trace, no variables and no tokens."""
    dsn = f"http://key@127.0.0.1:{sentry.port}/2"
    server = make_server(
        {"sentry": {"enabled": True, "dsn": dsn, "environment": "tests"}}
    )
    server.start()
    mxc = server.upload(b"some data" * 50)
    for path in server.objects():
        path.unlink()
    # What was uploaded is warm: a restart forgets it.
    server.stop()
    server.start()
    query = f"?access_token={server.token}"
    path = f"/_matrix/client/v1/media/download/{mxc[6:]}{query}"
    assert server.request("GET", path, token="").status == 404
    poll(lambda: bool(sentry.envelopes), "an event", 20)
    server.stop()
    text = "\n".join(sentry.envelopes)
    assert "is missing although a record names it" in text
    assert '"environment":"tests"' in text
    assert '"release":"mmr@' in text
    assert server.token not in text
    assert '"vars"' not in text


def test_a_dsn_that_is_none_is_told(make_server: MakeServer) -> None:
    server = make_server({"sentry": {"enabled": True, "dsn": "nonsense"}})
    status, output = server.run_to_its_end()
    assert status == 1
    assert "sentry.dsn" in output
    assert "Traceback" not in output


def test_a_disk_that_is_too_full_for_logs_stops_nothing(
    make_server: MakeServer,
) -> None:
    """R97: neither the lines of our own nor those of the access log."""
    server = make_server()
    logs = server.folder / "logs"
    logs.mkdir()
    for file in (server.folder / "mmr.log", logs / "media_repo.log"):
        file.symlink_to("/dev/full")
    server.write_config({"repo": {"logDirectory": str(logs)}})
    server.start()
    for number in range(3):
        mxc = server.upload(b"data %d" % number * 50)
        assert server.download(mxc).status == 200
    # The time of the access log to be written.
    poll(lambda: server.request("GET", "/healthz").status == 200, "health", 5)
    server.child.signal(signal.SIGTERM)
    server.child.wait(20)


class TestProfiling:
    prefix = "/_matrix/media/unstable/io.t2bot/debug/pprof"

    def test_nothing_is_there_without_the_secret(self, server: Server) -> None:
        """R69."""
        assert server.request("GET", f"{self.prefix}/heap").status == 404

    def test_who_knows_the_secret_sees_profiles(self, make_server: MakeServer) -> None:
        server = make_server(
            environment={"MEDIA_PPROF_SECRET_KEY": "a-s3cret-for-pprof"}
        )
        server.start()
        assert "MEDIA_PPROF_SECRET_KEY is set" in server.child.log_text()
        for token in ("", "wrong", server.token):
            refused = server.request("GET", f"{self.prefix}/heap", token=token)
            assert (refused.status, refused.json) == (401, {"success": False})
        for page, said in (
            ("", b"goroutine"),
            ("/heap", b" dict"),
            ("/goroutine", b"MainThread"),
            ("/profile?seconds=1", b"function calls"),
        ):
            path = f"{self.prefix}{page}"
            answer = server.request(
                "GET", path, token="a-s3cret-for-pprof", host="any.test"
            )
            assert answer.status == 200, page
            assert said in answer.body
        given = server.request(
            "GET",
            f"{self.prefix}/heap?access_token=Bearer%20a-s3cret-for-pprof",
            token="",
        )
        assert given.status == 200
        for bad in ("/nothing", "/profile?seconds=0", "/profile?seconds=x"):
            answer = server.request(
                "GET", self.prefix + bad, token="a-s3cret-for-pprof"
            )
            assert answer.status in (400, 404), bad
        server.stop()
        assert "a-s3cret-for-pprof" not in server.child.log_text(100_000)
