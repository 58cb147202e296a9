"""What ``scripts/quickstart`` does once the server is installed beside this Python."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SAMPLE = Path(__file__).with_name("sample.jpg")
SERVER_NAME = "localhost"
DEFAULT_PORT = 8008
STARTUP_SECONDS = 60
STOP_SECONDS = 40
THUMBNAIL_SIZE = (320, 240)

CONFIG = """\
# Written by scripts/quickstart. Every key is explained in docs/configuration.md.
repo:
  bindAddress: 127.0.0.1
  port: {port}
  logDirectory: "-"

database:
  sqlite: {data}/mmr.db

homeservers:
  - name: {server_name}
    csApi: http://127.0.0.1:8448  # your homeserver, once there is one

# The token below uploads without any homeserver. Remove it when you have one.
accessTokens:
  maxCacheTimeSeconds: 43200
  useLocalAppserviceConfig: true
  appservices:
    - id: quickstart
      asToken: {token}
      senderUserId: "@mmr:{server_name}"
      userNamespaces:
        - regex: "@.*:{server_name}"

datastores:
  - type: file
    id: main
    forKinds: [all]
    opts:
      path: {data}/media
"""


class QuickstartFailed(Exception):
    """Something is not as it should be; the text says what."""


@dataclass(frozen=True)
class Setup:
    """What the tour needs to know of the configuration."""

    config: Path
    port: int
    token: str


def main() -> int:
    """Start the server, show it at work, keep it or stop it."""
    parser = argparse.ArgumentParser(prog="quickstart")
    parser.add_argument(
        "--check", action="store_true", help="verify, stop, exit 0 or 1"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("mmr-data"), help="its folder"
    )
    options = parser.parse_args()
    # Both ends of the job stop the child: Ctrl-C and a supervisor's SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        setup = prepare(options.data.absolute())
        server = start(setup)
    except QuickstartFailed as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    try:
        wait_until_healthy(server, setup.port)
        media_id = tour(setup)
        if not options.check:
            print_help(setup, media_id)
            return server.wait()
        print("quickstart: all is well")
    except QuickstartFailed as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    finally:
        stop(server)
    return 0


def prepare(data: Path) -> Setup:
    """Find the configuration, or write it."""
    config = data / "mmr.yaml"
    if config.exists():
        return read_setup(config)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    setup = Setup(config, choose_port(), secrets.token_urlsafe(32))
    # It holds a secret: nobody else may read it, not even for a moment (R104).
    descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            CONFIG.format(
                port=setup.port,
                token=setup.token,
                data=json.dumps(str(data))[1:-1],
                server_name=SERVER_NAME,
            )
        )
    print(f"Wrote {config}")
    return setup


def read_setup(config: Path) -> Setup:
    """Find port and token in a configuration of an earlier run."""
    text = config.read_text()
    port = re.search(r"^\s*port:\s*(\d+)", text, re.MULTILINE)
    token = re.search(r"^\s*asToken:\s*[\"']?([\w-]+)", text, re.MULTILINE)
    if port is None or token is None:
        raise QuickstartFailed(
            f"{config} has no repo.port or no asToken any more. Start the server with "
            f"`.venv/bin/mmr -c {config}`, or move the file away for a new one."
        )
    setup = Setup(config, int(port[1]), token[1])
    if not is_free(setup.port):
        raise QuickstartFailed(
            f"port {setup.port} is in use. Is the server running already? Otherwise "
            f"change repo.port in {config}."
        )
    return setup


def choose_port() -> int:
    """The usual port, or another one when that is taken."""
    if is_free(DEFAULT_PORT):
        return DEFAULT_PORT
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    print(f"Port {DEFAULT_PORT} is in use: taking {port}")
    return port


def is_free(port: int) -> bool:
    """Whether the server could listen on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start(setup: Setup) -> subprocess.Popen[bytes]:
    """Start ``mmr`` as a child, in a session of its own: Ctrl-C is ours to handle."""
    if not is_free(setup.port):
        # Else what answers there would be taken for ours.
        raise QuickstartFailed(
            f"another program listens on port {setup.port}. Stop it, or change"
            f" repo.port in {setup.config}"
        )
    program = Path(sys.executable).with_name("mmr")
    arguments = [str(program), "-c", str(setup.config)]
    print(f"Starting mmr -c {setup.config}", flush=True)
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server, kindly first."""
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise QuickstartFailed("the server ended: the lines above say why")
        try:
            call(port, "GET", "/healthz")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise QuickstartFailed(f"the server did not answer within {STARTUP_SECONDS} s")


def call(
    port: int, method: str, path: str, token: str = "", body: bytes | None = None
) -> bytes:
    """Make one request; anything but 200 is a failure."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Host": f"{SERVER_NAME}:{port}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if body is not None:
        headers["Content-Type"] = "image/jpeg"
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        reason = answer[:500].decode(errors="replace")
        raise QuickstartFailed(f"{method} {path}: {response.status} {reason}")
    return answer


def tour(setup: Setup) -> str:
    """Upload, download, thumbnail; returns the media id."""
    sample = SAMPLE.read_bytes()
    path = f"/_matrix/media/v3/upload?filename={SAMPLE.name}"
    answer = json.loads(call(setup.port, "POST", path, setup.token, sample))
    uri = str(answer["content_uri"])
    print(f"Uploaded {SAMPLE.name} ({len(sample)} bytes): {uri}")
    media_id = uri.rpartition("/")[2]

    copy = call(setup.port, "GET", download_path(media_id), setup.token)
    if copy != sample:
        raise QuickstartFailed("the downloaded bytes are not the uploaded ones")
    print(f"Downloaded it: {len(copy)} bytes, the same ones")

    thumbnail = call(setup.port, "GET", thumbnail_path(media_id), setup.token)
    size = image_size(thumbnail)
    if size != THUMBNAIL_SIZE:
        raise QuickstartFailed(f"the thumbnail's size is {size}, not {THUMBNAIL_SIZE}")
    print(f"Fetched a thumbnail: {len(thumbnail)} bytes, {size[0]}x{size[1]}")
    return media_id


def download_path(media_id: str) -> str:
    """The path of the download."""
    return f"/_matrix/client/v1/media/download/{SERVER_NAME}/{media_id}"


def thumbnail_path(media_id: str) -> str:
    """The path of the thumbnail."""
    width, height = THUMBNAIL_SIZE
    query = f"width={width}&height={height}&method=scale"
    return f"/_matrix/client/v1/media/thumbnail/{SERVER_NAME}/{media_id}?{query}"


def image_size(image: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG."""
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return int.from_bytes(image[16:20]), int.from_bytes(image[20:24])
    at = 2
    while image.startswith(b"\xff\xd8") and at + 9 < len(image):
        marker, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xC2:  # the frame header: length, depth, height, width
            height = int.from_bytes(image[at + 5 : at + 7])
            return int.from_bytes(image[at + 7 : at + 9]), height
        at += 2 + length
    return None


def print_help(setup: Setup, media_id: str) -> None:
    """Show the same three calls as lines for the shell."""
    base = f"http://{SERVER_NAME}:{setup.port}"
    who = '-H "Authorization: Bearer $TOKEN"'
    upload = f"'{base}/_matrix/media/v3/upload?filename={SAMPLE.name}'"
    print(
        f"""
Try it from another shell:

TOKEN={setup.token}
curl {who} -H 'Content-Type: image/jpeg' --data-binary @{SAMPLE} {upload}
curl {who} -o copy.jpg '{base}{download_path(media_id)}'
curl {who} -o thumbnail '{base}{thumbnail_path(media_id)}'

Configuration: {setup.config}
The server runs until Ctrl-C.""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
