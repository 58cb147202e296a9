"""Other servers' way to us, and ours to them."""

from __future__ import annotations

from mmr.config import DomainConfig
from mmr.doctor.finding import Finding, fault, good, warning
from mmr.doctor.proxy import is_ours, nginx_block
from mmr.errors import ConfigError, MatrixError
from mmr.federation.errors import RemoteFailed
from mmr.federation.own_keys import NotComparable
from mmr.http.client import UpstreamUnavailable
from mmr.http.probe import Prober
from mmr.server import MediaRepoServer

_MEDIA = "/_matrix/federation/v1/media/download/mmr-check"


async def check_key(server: MediaRepoServer, domain: DomainConfig) -> list[Finding]:
    """The signing key against the published one (R60)."""
    subject = f"signing key {domain.name}"
    if not domain.signing_key_path:
        return [
            warning(
                subject,
                "homeservers[].signingKeyPath is not set: requests to other servers "
                "are not signed, and most of them will refuse",
                "mmr-generate-signing-key -input homeserver.signing.key -output "
                "mmr.signing.key, and name that file in signingKeyPath",
            )
        ]
    try:
        wrong = await server.own_keys.compare(domain)
    except (NotComparable, ConfigError) as error:
        return [fault(subject, str(error), "See the finding of the homeserver or file")]
    if wrong:
        return [fault(subject, text, "signingKeyPath is to change") for text in wrong]
    return [good(subject, "it is the one that the homeserver publishes")]


async def check_way_in(
    server: MediaRepoServer, domain: DomainConfig, prober: Prober
) -> list[Finding]:
    """Find our own server as others do, and ask for media there."""
    subject = f"federation {domain.name}"
    try:
        found = await server.federation.discovery.explain(domain.name)
    except RemoteFailed as error:
        return [fault(subject, f"it can't be found: {error}", "Set up its DNS")]
    steps = "; ".join(f"{step.step}: {step.result}" for step in found.steps)
    route = found.routes[0]
    host = f"[{route.tls_name}]" if ":" in route.tls_name else route.tls_name
    url = f"{server.federation.switches.scheme}://{host}:{route.port}{_MEDIA}"
    try:
        answer = await prober.ask("GET", url, headers={"Host": route.host_header})
    except UpstreamUnavailable as error:
        return [
            fault(
                subject,
                f"other servers look for it at {host}:{route.port} ({steps}), where "
                f"nobody answers: {error.reason}",
                "Open that port, or publish another address in "
                f"https://{domain.name}/.well-known/matrix/server",
            )
        ]
    if is_ours(answer) and answer.status == 401:
        return [good(subject, f"others find our media at {host}:{route.port}")]
    if is_ours(answer):
        return [
            fault(
                subject,
                f"federation arrives with a Host that is no homeserver: "
                f"{answer.body.get('error', answer.status)}",
                f"proxy_set_header Host {domain.name}; in that server block too",
            )
        ]
    return [
        fault(
            subject,
            f"/_matrix/federation/v1/media at {host}:{route.port} isn't served by mmr "
            f"(status {answer.status})",
            "Send it here. For nginx, in that server block:\n"
            + nginx_block(domain.name),
        )
    ]


async def check_way_out(server: MediaRepoServer, remote: str) -> list[Finding]:
    """Ask another server for its version."""
    subject = f"federation to {remote}"
    try:
        answer = await server.federation.test.run(remote)
    except (RemoteFailed, MatrixError) as error:
        return [fault(subject, str(error), "Is that the name of a server?")]
    if answer["versions_response"] is None:
        return [
            fault(
                subject,
                f"{answer['failed_step']}: {answer['error']}",
                "Let this machine reach other servers (DNS, port 443 and 8448 out)",
            )
        ]
    return [good(subject, f"{answer['versions_response'].get('server', {})}")]
