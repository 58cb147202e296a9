"""Networks in the configuration (R9)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from tests.config.files import load, refused


@pytest.mark.parametrize(
    "key", ["disallowedNetworks", "allowedNetworks", "exemptNetworks"]
)
@pytest.mark.parametrize("network", ["10.0.0.0/33", "10.0.0", "localhost", "::1/129"])
def test_a_network_that_does_not_parse_stops_the_start(
    tmp_path: Path, key: str, network: str
) -> None:
    """R9."""
    told = refused(tmp_path, f"urlPreviews: {{{key}: ['{network}']}}")
    assert f"urlPreviews.{key}[0]: found the text {network!r}, expected a net" in told


@pytest.mark.parametrize("section", ["urlPreviews", "federation"])
@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/7", "::/1", "::ffff:0:0/96",
     "64:ff9b::/100"],
)  # fmt: skip
def test_a_catch_all_is_no_exemption(
    tmp_path: Path, section: str, network: str
) -> None:
    """R9."""
    told = refused(tmp_path, f"{section}: {{exemptNetworks: ['{network}']}}")
    assert "expected a network no wider than 10.0.0.0/8" in told


def test_private_ranges_may_be_exempt(tmp_path: Path) -> None:
    networks = "['10.0.0.0/8', 'fc00::/7', '::ffff:10.0.0.0/104', 192.168.1.5]"
    config = load(tmp_path, f"federation: {{exemptNetworks: {networks}}}")
    assert config.federation.exempt_networks == (
        "10.0.0.0/8",
        "fc00::/7",
        # Python 3.13 writes the end in IPv4's way.
        str(ipaddress.ip_network("::ffff:10.0.0.0/104")),
        "192.168.1.5/32",
    )


def test_networks_lose_their_host_bits(tmp_path: Path) -> None:
    """MMR's own sample says ``127.0.0.1/8``."""
    config = load(tmp_path, "urlPreviews: {disallowedNetworks: ['127.0.0.1/8']}")
    assert config.url_previews.disallowed_networks == ("127.0.0.0/8",)
