"""What clients and servers see through the public name: Host, routes, long uploads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

from mmr.config import DomainConfig
from mmr.doctor.finding import Finding, fault, good, warning
from mmr.http.client import UpstreamUnavailable
from mmr.http.fixed_headers import FIXED
from mmr.http.probe import Probed, Prober
from mmr.http.routing import Route

_CONFIG = "/_matrix/client/v1/media/config"
_UPLOAD = "/_matrix/media/v3/upload"
# For the homeserver, or for the operator's eyes.
_NOT_PROXIED = ("/healthz", "/healthz/ready", "/_matrix/client/versions")
_SHOWN = 5
_BUFFERING_SECONDS = 8.0
_UPLOAD_FIX = "client_max_body_size 0; and proxy_request_buffering off; (nginx)"


def _mark() -> tuple[str, str]:
    lines = FIXED.decode("ascii").split("\r\n")
    name, _, value = next(
        line for line in lines if line.startswith("X-Robots-Tag")
    ).partition(": ")
    return name.lower(), value


# nginx replaces Server; this one it passes on, and no homeserver sends it.
_MARK = _mark()


def nginx_block(server_name: str) -> str:
    """The locations for nginx, with the server name in place of the client's Host."""
    text = files("mmr.doctor").joinpath("nginx.conf").read_text("utf-8")
    return text.replace("$host", server_name)


def is_ours(answer: Probed) -> bool:
    """Whether it was mmr that answered."""
    name, value = _MARK
    return answer.headers.get(name) == value


class ProxyCheck:
    """Looks at one homeserver's public name.

    Args:
        prober: Asks.
        domain: The homeserver.
        url: Where clients reach it, without a slash at the end.
        routes: All routes of the server.
    """

    def __init__(
        self, prober: Prober, domain: DomainConfig, url: str, routes: Iterable[Route]
    ) -> None:
        self._prober = prober
        self._domain = domain
        self._url = url
        self._routes = list(routes)
        self._subject = f"proxy {domain.name}"

    async def run(self) -> list[Finding]:
        """Look at everything; stop where the rest would only repeat the first."""
        try:
            answer = await self._prober.ask("GET", self._url + _CONFIG)
        except UpstreamUnavailable as error:
            return [
                fault(
                    self._subject,
                    f"{self._url} can't be reached from here: {error.reason}",
                    "Start the proxy, or name another address with -url "
                    f"{self._domain.name}=https://…",
                )
            ]
        if is_ours(answer) and answer.status == 502:
            return [self._wrong_host(answer)]
        findings = await self._missing_routes()
        if is_ours(answer):
            host = f"{self._url} leads here as {self._domain.name}"
            findings.insert(0, good(self._subject, host))
            findings.append(await self._long_upload())
        return findings

    def _wrong_host(self, answer: Probed) -> Finding:
        name = self._domain.name
        said = answer.body.get("error", "")
        return fault(
            self._subject,
            f"requests for {self._url} arrive with a Host that is no homeserver: "
            f"{said}",
            f"nginx: proxy_set_header Host {name}; and X-Forwarded-Host {name}; in "
            "every location of mmr. Others: docs/reverse-proxy.md",
        )

    async def _missing_routes(self) -> list[Finding]:
        everyone: list[str] = []
        admins: list[str] = []
        paths = {route.path for route in self._routes} - set(_NOT_PROXIED)
        for path in sorted(paths):
            # A parameter of the length of a real one, not to be taken for a fixed word.
            sample = re.sub(r"[:*][a-z_0-9]+", "mmr-check", path)
            answer = await self._prober.ask("OPTIONS", self._url + sample)
            if not is_ours(answer):
                is_admin = "/admin/" in path or path.startswith("/_synapse")
                (admins if is_admin else everyone).append(path)
        findings = []
        if everyone:
            findings.append(
                fault(
                    self._subject,
                    f"{_listed(everyone)} don't come to mmr",
                    "Send them here. For nginx, in the server block:\n"
                    + nginx_block(self._domain.name),
                )
            )
        if admins:
            findings.append(
                warning(
                    self._subject,
                    f"admin paths don't come to mmr: {_listed(admins)}",
                    "Good if it is meant. Else see docs/reverse-proxy.md",
                )
            )
        if not findings:
            text = f"all {len(paths)} paths come to mmr"
            findings.append(good(self._subject, text))
        return findings

    async def _long_upload(self) -> Finding:
        """Announce the longest upload, without a token: mmr refuses at once."""
        limit = self._domain.uploads.max_bytes or 100_000_000
        text = f"an upload of {limit} bytes (uploads.maxBytes)"
        try:
            answer = await self._prober.ask(
                "POST",
                self._url + _UPLOAD,
                announced_bytes=limit,
                timeout_s=_BUFFERING_SECONDS,
            )
        except UpstreamUnavailable:
            return warning(
                self._subject,
                f"{text} is gathered by the proxy before mmr sees any of it",
                _UPLOAD_FIX,
            )
        if is_ours(answer):
            return good(self._subject, f"{text} gets through")
        return fault(
            self._subject,
            f"{text} is refused by the proxy with {answer.status}",
            _UPLOAD_FIX,
        )


def _listed(paths: list[str]) -> str:
    more = len(paths) - _SHOWN
    shown = ", ".join(paths[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
