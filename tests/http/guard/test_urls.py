"""URLs and hosts: one reading, or none."""

from __future__ import annotations

import time
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.http.guard import (
    AddressGuard,
    FetchFailed,
    Step,
    Verdict,
    parse_host,
    parse_url,
)
from mmr.http.guard.urls import check_port

# Every one of them is loopback, or a name that resolves to it, to some parser.
LOOPBACKS = """
127.1 127.0.1 127.0.0.1. 0177.0.0.1 0177.1 0x7f.0.0.1 0x7f.1 0X7F.0.0.1 0x7f000001
2130706433 017700000001 00000000177.0.0.1 127.000.000.001 127.0.0.01 127.0.0.0x1
127.0.0.1.0x 127.0.0 1.2.3.4.5 256.256.256.256 0 0. 0x 0x. 00 127.0.0.1%00 127%2e0.0.1
%31%32%37.0.0.1 １２７.0.0.1 １２７．０．０．１ 127。0。0。1 ①②⑦.0.0.1 127.0.0.①
𝟣𝟤𝟩.0.0.1 ٣.0.0.1 0x７f.1 [::1 ::1] [::1%lo] [::1%25lo] [fe80::1%eth0] [127.0.0.1]
[::127.1] [0:0:0:0:0:0:0:0:1] [::ffff:7f00.1] [] [[::1]] [::1]x x[::1] 127.0.0.1@x
x@127.0.0.1 user:pw@127.0.0.1 @127.0.0.1 127.0.0.1:80:80 localhost.. .localhost
""".split()
JUDGED = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0::0:1]"]


def step_of(text: str, **options: object) -> Step:
    with pytest.raises(FetchFailed) as caught:
        parse_url(text, **options)  # type: ignore[arg-type]
    return caught.value.step


@pytest.mark.parametrize("host", LOOPBACKS)
def test_odd_spellings_of_loopback_are_refused(host: str) -> None:
    """R12: numeric hosts have one spelling."""
    assert step_of(f"http://{host}/") is Step.URL
    assert step_of(f"http://{host}:80/") is Step.URL


@pytest.mark.parametrize("host", JUDGED)
def test_plain_spellings_of_loopback_are_left_to_the_guard(host: str) -> None:
    """R12: what is parsed is what is judged."""
    parsed = parse_url(f"http://{host}/").host
    assert AddressGuard().judge(parsed) is Verdict.DENIED


@pytest.mark.parametrize(
    "text",
    [
        "http://a.example/ b",
        " http://a.example/",
        "http://a.example/\n",
        "http://a\t/",
        "http://a.example\\@b.example/",
        "http://a.example/\\b",
        "http:\\\\a.example/",
        "http:///a.example/",
        "http:a.example",
        "//a.example/",
        "a.example",
        "",
        "http:",
        "http://",
        "http://?x",
        "http://a.example:80a/",
        "http://a.example:-1/",
        "http://a.example:080808/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example/\x00",
        "http://a.example/\x7f",
        "http://a.example/\u2028",
        "http://a\u00a0b/",
        "http://a.example/\ud800",
        "http://a..example/",
        "http://-a.example/",
        "http://a-.example/",
        "http://a.exa mple/",
        "http://%61/",
        "http://u@a.example/",
        "http://u:p@a.example/",
        "http://a.example#@b\n",
        "http://a[.example/",
        "http://a:b.example/",
        "http://\u200d.example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://xn--" + "\u00fc" * 60 + "/",
        "http://" + "\u00fc" * 254 + "/",
        "http://a.example/" + "b" * 2032,
    ],
)
def test_ambiguous_urls_are_refused(text: str) -> None:
    """R12."""
    assert step_of(text) is Step.URL


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://a.example", "a.example", 80, "/"),
        ("HTTPS://A.Example.:8448/x#frag", "a.example", 8448, "/x"),
        ("https://a.example?q=1", "a.example", 443, "/?q=1"),
        ("https://a.example:/", "a.example", 443, "/"),
        ("http://my_site.example/", "my_site.example", 80, "/"),
        ("http://1.1.1.1/", "1.1.1.1", 80, "/"),
        ("http://[2606:4700:0::1]:8080/", "2606:4700::1", 8080, "/"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "/"),
        ("http://日本語。example/", "xn--wgv71a119e.example", 80, "/"),
        ("http://a.example/é?ü=ß", "a.example", 80, "/%C3%A9?%C3%BC=%C3%9F"),
        ("http://a.example/%2e%zz?a=<b>", "a.example", 80, "/%2e%zz?a=%3Cb%3E"),
        ("http://a.example/user@host:1", "a.example", 80, "/user@host:1"),
        ("http://1a.2b/", "1a.2b", 80, "/"),
    ],
)
def test_ordinary_urls_are_read(text: str, host: str, port: int, target: str) -> None:
    url = parse_url(text)
    assert (url.host, url.port, url.target) == (host, port, target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example:443/", "a.example"),
        ("http://a.example:443/", "a.example:443"),
        ("http://[2606::1]/", "[2606::1]"),
        ("https://[2606::1]:8448/", "[2606::1]:8448"),
    ],
)
def test_host_header_has_the_port_that_is_not_the_scheme_s(
    text: str, expected: str
) -> None:
    assert parse_url(text).host_header == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a.example/",
        "file:///etc/passwd",
        "gopher://a.example:70/1",
        "data:,x",
        "javascript://a.example/",
        "ws://a.example/",
        "httpx://a.example/",
        "jar:http://a.example/!/",
        "HTTP+unix://a.example/",
    ],
)
def test_other_schemes_are_refused(text: str) -> None:
    """R13."""
    assert step_of(text) is Step.URL


def test_plain_http_is_refused_where_https_alone_is_allowed() -> None:
    """R13, R14: discovery and federation."""
    assert step_of("http://a.example/", schemes=("https",)) is Step.URL
    assert parse_url("https://a.example/", ("https",)).port == 443


@pytest.mark.parametrize(
    "port", [0, 1, 21, 22, 25, 53, 110, 445, 587, 993, 1023, 3306, 5432, 6379, 11211]
)
def test_ports_of_other_services_are_refused(port: int) -> None:
    """R13."""
    assert step_of(f"http://a.example:{port}/") is Step.URL
    with pytest.raises(FetchFailed):
        check_port(port)


@pytest.mark.parametrize("port", [80, 443, 8008, 8080, 8443, 8448, 65535])
def test_ports_of_web_and_federation_are_allowed(port: int) -> None:
    """R13."""
    check_port(port)


@pytest.mark.parametrize(
    "reference",
    [
        "\\\\b.example/",
        "/\\b",
        "http://u@b.example/",
        "ftp://b.example/",
        "//b:25/",
        "//0x7f.1/",
        "/ \t",
        "http://[::1",
        "/a\nb",
        "x" * 2049,
    ],
)
def test_redirects_pass_the_same_parser(reference: str) -> None:
    """R14: and what the joining library would forgive is refused before."""
    with pytest.raises(FetchFailed):
        parse_url("http://a.example/x/y").join(reference, ("http", "https"))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("z?q", "http://a.example/x/z?q"),
        ("/z", "http://a.example/z"),
        ("../../../z", "http://a.example/z"),
        ("//b.example/z", "http://b.example/z"),
        ("https://b.example:8448", "https://b.example:8448/"),
        ("#top", "http://a.example/x/y"),
        ("/é", "http://a.example/%C3%A9"),
    ],
)
def test_redirects_are_relative_to_the_url(reference: str, expected: str) -> None:
    url = parse_url("http://a.example/x/y").join(reference, ("http", "https"))
    assert str(url) == expected


@given(st.text(max_size=300))
def test_any_text_is_refused_or_read_the_same_way_twice(text: str) -> None:
    """R12: what comes out is stable, ASCII and free of separators."""
    try:
        url = parse_url(f"http://{text}")
    except FetchFailed:
        return
    assert parse_url(str(url)) == url
    assert url.host.isascii()
    assert not set(url.host) & set("@/\\?#%[] \t\r\n")
    assert url.target.isascii()
    assert url.target.startswith("/")
    assert not set(url.target) & set(" \r\n\t#\\")


@given(
    st.text(
        alphabet="0123456789xXabcdef.０１２７。．①:[]%",
        min_size=1,
        max_size=20,
    )
)
def test_numbers_are_addresses_in_their_one_spelling_or_nothing(text: str) -> None:
    """R12: no resolver gets to read a number."""
    try:
        host = parse_host(text)
    except FetchFailed:
        return
    if ":" in host:
        assert str(IPv6Address(host)) == host
    elif host.rpartition(".")[2].isdigit():
        assert str(IPv4Address(host)) == host == text
    else:
        assert not host.rpartition(".")[2].startswith("0x") or len(host) > 2


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "\u0670" * 2000,
        "http://" + "ü" * 253,
        "http://" + "a" * 10**6,
        "http://" + "1" * 253 + "/",
        "http://" + "0x" * 126,
        "http://" + "a." * 126,
        "http://" + "[" * 2000,
        "http://a/" + "\u0301" * 2000,
        "http://" + ":" * 2000,
    ],
)
def test_no_url_takes_long(text: str) -> None:
    """R12: the mapping of internationalised names is bounded."""
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        try:
            parse_url(text)
        except FetchFailed:
            pass
        best = min(best, time.perf_counter() - start)
    assert best < 0.1
