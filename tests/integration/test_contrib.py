"""What lies in contrib/: each proxy and unit is run, as far as its program is here."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mmr.doctor.proxy import nginx_block

from tests.integration.images import SAMPLE, size_of
from tests.integration.nginx import manual_block
from tests.integration.process import Child, answers, free_port
from tests.integration.server import SERVER_NAME, Answer, Server, http_request

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
_PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/bin"


class _Homeserver(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"homeserver")

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def homeserver() -> Iterator[int]:
    """The port of something that says "homeserver" to whatever is asked."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Homeserver)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving.server_address[1]
    serving.shutdown()
    thread.join()
    serving.server_close()


def nginx(folder: Path, port: int) -> tuple[list[str], str, Path]:
    """The cluster's upstream with the locations of mmr.conf."""
    config = folder / "nginx.conf"
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    upstream = re.sub(
        r"127\.0\.0\.1:800[0-3]",
        "127.0.0.1:8000",
        (CONTRIB / "nginx/mmr-cluster.conf").read_text(),
    )
    locations = (CONTRIB / "nginx/mmr.conf").read_text()
    text = (
        f"daemon off; master_process off; pid {folder}/pid;"
        f"error_log {folder}/error.log; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n{upstream}\n"
        f"server {{ listen 127.0.0.1:{port};\n"
        f"{locations.replace('http://127.0.0.1:8000', 'http://mmr')}\n"
        "location / { proxy_pass http://127.0.0.1:8008; } } }"
    )
    return ["nginx", "-e", f"{folder}/error.log", "-c", str(config)], text, config


def caddy(folder: Path, port: int) -> tuple[list[str], str, Path]:
    config = folder / "Caddyfile"
    text = (CONTRIB / "caddy/Caddyfile").read_text()
    text = text.replace("\nexample.org {", f"\nhttp://:{port} {{")
    text = "{\n\tadmin off\n\tauto_https off\n}\n" + text
    command = ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
    return command, text, config


def haproxy(folder: Path, port: int) -> tuple[list[str], str, Path]:
    config = folder / "haproxy.cfg"
    text = (CONTRIB / "haproxy/haproxy.cfg").read_text()
    text = re.sub(r"bind :443 .*", f"bind 127.0.0.1:{port}", text)
    text = re.sub(r"bind :8448 .*", "", text)
    return ["haproxy", "-db", "-f", str(config)], text, config


@pytest.mark.parametrize("proxy", [nginx, caddy, haproxy], ids=lambda it: it.__name__)
def test_media_go_through_the_proxy_and_all_else_to_the_homeserver(
    proxy, server: Server, homeserver: int, tmp_path: Path
) -> None:
    port = free_port()
    folder = tmp_path / "proxy"
    folder.mkdir()
    (program, *arguments), text, config = proxy(folder, port)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    config.write_text(text.replace("127.0.0.1:8008", f"127.0.0.1:{homeserver}"))
    found = shutil.which(program, path=_PROGRAMS)
    assert found, f"{program} is not installed (apt-get install {program})"
    home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    child = Child([found, *arguments], folder / "log", home)
    child.start()
    try:
        child.wait_until(lambda: answers(port, "/_matrix/client/v3/sync"))
        if proxy is haproxy:  # Its health check has to have found mmr.
            child.wait_until(lambda: ask(port, "/_matrix/media/v3/config") != 503)
        use(port, server)
    finally:
        child.kill()


def ask(port: int, path: str) -> int:
    return http_request(port, "GET", path, None, {"Host": SERVER_NAME}).status


def use(port: int, server: Server) -> None:
    """What clients, servers and admins do, through the proxy."""

    def send(
        method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Answer:
        sent = {
            "Host": SERVER_NAME,
            "Authorization": f"Bearer {server.token}",
            # A lie, which the proxy must not pass on as if it were its own word.
            "X-Forwarded-For": "203.0.113.9",
            **headers,
        }
        return http_request(port, method, path, body, sent)

    upload = "/_matrix/media/v3/upload"
    picture = SAMPLE.read_bytes()
    sent = send("POST", upload, picture, **{"Content-Type": "image/jpeg"})
    assert sent.status == 200, sent
    large = os.urandom(20_000_000)
    big = send("POST", upload, large).json["content_uri"].removeprefix("mxc://")
    assert send("GET", f"/_matrix/client/v1/media/download/{big}").body == large

    media = sent.json["content_uri"].removeprefix("mxc://")
    v1 = "/_matrix/client/v1/media"
    whole = send("GET", f"{v1}/download/{media}/a%20b.jpg")
    assert whole.body == picture
    headers = {name.lower(): value for name, value in whole.headers.items()}
    assert "a b.jpg" in headers["content-disposition"].replace("%20", " ")
    part = send("GET", f"{v1}/download/{media}", Range="bytes=10-19")
    assert (part.status, part.body) == (206, picture[10:20])
    small = send("GET", f"{v1}/thumbnail/{media}?width=320&height=240&method=scale")
    assert size_of(small.body) == (320, 240)
    assert send("GET", f"{v1}/config").json["m.upload.size"] > 0

    remote = send("GET", "/_matrix/federation/v1/media/download/nothing")
    assert (remote.status, remote.json["errcode"]) == (401, "M_UNAUTHORIZED")
    admin = send("GET", "/_synapse/admin/v1/statistics/users/media")
    assert admin.json["errcode"] == "M_FORBIDDEN"
    # csApi of this server leads nowhere: that it is asked is what counts.
    assert send("POST", "/_matrix/client/v3/logout", b"{}").body != b"homeserver"
    for path in ("/_matrix/client/v3/sync", "/_synapse/admin/v1/rooms"):
        assert send("GET", path).body == b"homeserver"
    assert "203.0.113.9" not in server.child.log_text(100_000)


def expressions(text: str) -> set[str]:
    """The path patterns in a proxy's configuration."""
    return {found.rstrip("`)") for found in re.findall(r"(?<!~)\^/_[^\s`]+", text)}


@pytest.mark.parametrize(
    "name",
    [
        "nginx/mmr.conf",
        "compose/nginx.conf",
        "caddy/Caddyfile",
        "haproxy/haproxy.cfg",
        "traefik/mmr.yaml",
    ],
)
def test_every_proxy_has_the_manuals_paths(name: str) -> None:
    text = (CONTRIB / name).read_text()
    wanted = {found.rstrip("`)") for found in expressions(manual_block())}
    assert expressions(text) == wanted


def test_the_file_for_nginx_is_the_manuals_block() -> None:
    assert (CONTRIB / "nginx/mmr.conf").read_text().endswith(manual_block())
    # What `mmr-check` gives to paste.
    assert nginx_block("$host") == manual_block()


def test_traefiks_routers_lead_to_services_it_has() -> None:
    parsed = yaml.safe_load((CONTRIB / "traefik/mmr.yaml").read_text())["http"]
    services = parsed["services"]
    assert all(router["service"] in services for router in parsed["routers"].values())
    rules = {name: router["rule"] for name, router in parsed["routers"].items()}
    for name, router in parsed["routers"].items():
        is_ours = "PathRegexp" in rules[name]
        assert is_ours == (router["service"] == "mmr") == (router["priority"] > 1)


@pytest.mark.parametrize("name", ["mmr.service", "mmr@.service", "mmr.target"])
def test_systemd_finds_no_fault_in_the_units(name: str, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is not installed (apt-get install systemd)"
    for unit in (CONTRIB / "systemd").iterdir():
        text = unit.read_text()
        twistd = str(Path(sys.executable).with_name("twistd"))
        text = text.replace("/opt/mmr/bin/twistd", twistd)
        (tmp_path / unit.name).write_text(text.replace("=mmr\n", "=root\n"))
    unit_name = name.replace("@.", "@1.")
    done = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / unit_name)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, str(tmp_path) in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("name", ["mmr.service", "mmr@.service"])
def test_the_units_confine_the_service(name: str) -> None:
    """R109: by systemd's own measure, from 0 (well confined) to 10."""
    unit = str(CONTRIB / "systemd" / name)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-200:]
