"""The homeserver behind ``csApi``: that it is there, in time, and no loop."""

from __future__ import annotations

from mmr.config import DomainConfig
from mmr.doctor.finding import Finding, fault, good, warning
from mmr.doctor.proxy import is_ours
from mmr.http.client import UpstreamUnavailable
from mmr.http.probe import Probed, Prober
from mmr.util.clock import Clock

_SKEW_WARNING_S = 5
_SKEW_FAULT_S = 60
_NO_TOKEN = "mmr-check-has-no-token"  # noqa: S105


class HomeserverCheck:
    """Looks at one homeserver.

    Args:
        prober: Asks.
        domain: The homeserver.
        clock: To compare clocks.
    """

    def __init__(self, prober: Prober, domain: DomainConfig, clock: Clock) -> None:
        self._prober = prober
        self._domain = domain
        self._clock = clock
        self._subject = f"homeserver {domain.name}"

    async def run(self) -> list[Finding]:
        """Look at everything."""
        try:
            answer = await self._get("/_matrix/client/versions")
            if answer.status != 200 or "versions" not in answer.body:
                return [self._no_homeserver(answer)]
            findings = [good(self._subject, f"{self._domain.cs_api} answers")]
            findings += await self._whoami()
            findings += await self._admin_kind()
            findings += await self._media()
        except UpstreamUnavailable as error:
            return [
                fault(
                    self._subject,
                    f"{self._domain.cs_api} doesn't answer: {error.reason}",
                    "Start the homeserver, or set homeservers[].csApi of "
                    f"{self._domain.name} to where its client API listens",
                )
            ]
        skew = skew_finding(f"clock of {self._subject}", answer.date_ms, self._clock)
        return [*findings, *skew]

    async def _get(self, path: str, token: str | None = None) -> Probed:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = self._domain.cs_api.rstrip("/") + path
        return await self._prober.ask("GET", url, headers=headers)

    def _no_homeserver(self, answer: Probed) -> Finding:
        return fault(
            self._subject,
            f"{self._domain.cs_api} is no homeserver: /_matrix/client/versions gives "
            f"{answer.status} {answer.text[:80]!r}",
            f"Set homeservers[].csApi of {self._domain.name} to the base URL of its "
            "client API, such as http://127.0.0.1:8008",
        )

    async def _whoami(self) -> list[Finding]:
        answer = await self._get("/_matrix/client/v3/account/whoami", _NO_TOKEN)
        if answer.status == 401 and answer.errcode == "M_UNKNOWN_TOKEN":
            return [good(self._subject, "it can tell tokens")]
        return [
            fault(
                self._subject,
                f"asked for the owner of an unknown token it says {answer.status} "
                f"{answer.errcode or answer.text[:80]!r}, not 401 M_UNKNOWN_TOKEN",
                "Let csApi reach /_matrix/client/v3/account/whoami of the homeserver "
                "itself, past limits and logins of a proxy",
            )
        ]

    async def _admin_kind(self) -> list[Finding]:
        if self._domain.admin_api_kind != "synapse":
            return []
        answer = await self._get("/_synapse/admin/v1/server_version")
        if answer.status in (200, 401, 403) and not is_ours(answer):
            return [good(self._subject, "it has Synapse's admin API")]
        return [
            fault(
                self._subject,
                f"adminApiKind is synapse, but /_synapse/admin gives {answer.status} "
                f"at {self._domain.cs_api}: nobody will count as an admin",
                "Let csApi reach Synapse's admin API (a listener with the resource "
                "`client`, not through a proxy that hides it), or set adminApiKind: "
                "matrix",
            )
        ]

    async def _media(self) -> list[Finding]:
        answer = await self._get("/_matrix/client/v1/media/config")
        if is_ours(answer):
            return [
                warning(
                    self._subject,
                    f"{self._domain.cs_api} leads through the proxy back to mmr",
                    "Set csApi to the homeserver's own address, such as "
                    "http://127.0.0.1:8008",
                )
            ]
        if answer.status == 404:
            return [good(self._subject, "it serves no media of its own")]
        return [
            warning(
                self._subject,
                "it still serves media itself",
                "Synapse: enable_media_repo: false in homeserver.yaml",
            )
        ]


def skew_finding(subject: str, theirs_ms: int | None, clock: Clock) -> list[Finding]:
    """Compare a clock with ours."""
    if theirs_ms is None:
        return []
    # A Date has whole seconds only.
    seconds = abs(clock.time_ms() - theirs_ms) / 1000
    if seconds <= _SKEW_WARNING_S:
        return [good(subject, "it is like ours")]
    text = f"it is {seconds:.0f} s away from ours"
    fix = "Have both set their time from the network (timedatectl set-ntp true)"
    make = fault if seconds > _SKEW_FAULT_S else warning
    return [make(subject, text, fix)]
