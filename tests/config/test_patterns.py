"""Namespaces of appservices (R46)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import load, refused


def text_for(regex: str) -> str:
    return f"""\
accessTokens:
  appservices:
    - id: irc
      asToken: abcdefghijklmnopqrst
      senderUserId: '@bot:example.org'
      userNamespaces: [{{regex: '{regex}'}}]
"""


@pytest.mark.parametrize(
    ("regex", "user_id", "owned"),
    [
        ("@bridge_.*", "@bridge_1:hs", True),
        ("@bridge_.*", "@x_bridge_1:hs", False),
        ("bridge_.*", "@bridge_1:hs", False),
        ("@bridge_[a-z]+:hs", "@bridge_a:hs.evil", False),
        ("^@a:hs$", "@a:hs", True),
        ("^@a:hs$", "@a:hs\n", False),
        ("@a:hs|@b:hs", "@b:hs", True),
        ("@a:hs|@b:hs", "@b:hs.evil", False),
        ("@(irc|xmpp)_(.+):.*", "@xmpp_me:hs", True),
        ("@.+_.+:.+", "@a_b:hs", True),
        ("@x(_[0-9]){2}:hs", "@x_1_2:hs", True),
        ("(?i)@A:hs", "@a:hs", True),
        ("@none:hs", "@bot:example.org", True),
    ],
)
def test_a_namespace_fits_whole_user_ids(
    tmp_path: Path, regex: str, user_id: str, owned: bool
) -> None:
    """R46."""
    (appservice,) = load(tmp_path, text_for(regex)).access_tokens.appservices
    assert appservice.owns(user_id) is owned


@pytest.mark.parametrize(
    "regex",
    [
        "(a+)+$",
        "(a*)*",
        "(a|aa)+",
        "(a?){40}a{40}",
        "((a{1,9})?)*",
        "a?" * 30 + "a" * 30,
        ".*.*.*.*x",
        "(x.*)*",
        "(?=a*)b",
        r"(a)\1",
        "(?:a*+)*",
        "(?>a*)",
    ],
)
def test_a_pattern_that_can_run_for_long_is_refused(tmp_path: Path, regex: str) -> None:
    """R46."""
    told = refused(tmp_path, text_for(regex))
    assert "userNamespaces[0].regex: found the text" in told
    assert "runs in bounded time" in told


@pytest.mark.parametrize("regex", ["(", "[a", "*", "(?P<a>x)(?P<a>y)", "x{2,1}"])
def test_an_invalid_pattern_is_refused(tmp_path: Path, regex: str) -> None:
    """R46."""
    assert "expected a valid regular expression" in refused(tmp_path, text_for(regex))


@pytest.mark.parametrize("regex", ["", "a" * 1001])
def test_a_pattern_has_a_sensible_length(tmp_path: Path, regex: str) -> None:
    assert "of at most 1000 characters" in refused(tmp_path, text_for(regex))
