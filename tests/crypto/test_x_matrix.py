"""The X-Matrix header: written for old servers, read strictly (R51)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmr.crypto.keys import SigningKey, encode_base64
from mmr.crypto.signing import canonical_json
from mmr.crypto.x_matrix import BadXMatrix, XMatrix, parse_x_matrix, request_object

from tests.crypto.vectors import REQUESTS

SIG = "A" * 86
ENTRY = XMatrix("a.example", "b.example", "ed25519:k1", bytes(64))
PLAIN = f'origin="a.example",destination="b.example",key="ed25519:k1",sig="{SIG}"'

names = st.from_regex(r"[a-z0-9.-]{1,20}[a-z](:[0-9]{1,4})?", fullmatch=True)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
entries = st.builds(
    XMatrix,
    names,
    st.none() | texts,
    texts.map(lambda text: f"ed25519:{text}"),
    st.binary(min_size=64, max_size=64),
)


@pytest.mark.parametrize(
    ("key", "origin", "destination", "target", "signature"), REQUESTS
)
def test_signed_requests(
    key: SigningKey, origin: str, destination: str, target: str, signature: str
) -> None:
    message = canonical_json(request_object("GET", target, origin, destination))
    signed = key.sign(message)
    assert encode_base64(signed) == signature
    header = XMatrix(origin, destination, key.key_id, signed).header()
    assert header.decode() == (
        f'X-Matrix origin="{origin}",destination="{destination}",'
        f'key="{key.key_id}",sig="{signature}"'
    )
    assert parse_x_matrix([header]) == [
        XMatrix(origin, destination, key.key_id, signed)
    ]


@given(entries)
@example(XMatrix("[::1]:8448", 'a"\\,b', "ed25519:,", bytes(64)))
def test_what_is_written_is_read(entry: XMatrix) -> None:
    """R51."""
    assert parse_x_matrix([entry.header()]) == [entry]


@given(
    entries,
    st.permutations(range(4)),
    st.sampled_from(["X-Matrix ", "x-matrix   ", "X-MATRIX "]),
    st.sampled_from([",", ", ", " ,\t", "\t , "]),
    st.sampled_from(["=", " =", "= ", "\t=\t"]),
    st.lists(st.booleans(), min_size=200, max_size=200),
)
def test_every_spelling_of_the_grammar_means_the_same(
    entry: XMatrix,
    order: list[int],
    scheme: str,
    comma: str,
    equals: str,
    choices: list[bool],
) -> None:
    """Any order, case, blanks and escapes (specification reference 9.2)."""
    picks = iter(choices)
    values = [
        ("origin", entry.origin),
        ("destination", entry.destination or "x"),
        ("key", entry.key_id),
        ("sig", encode_base64(entry.signature)),
    ]

    def quoted(value: str) -> str:
        inside = (
            f"\\{char}" if char in '"\\' or next(picks, False) else char
            for char in value
        )
        return f'"{"".join(inside)}"'

    pairs = [
        f"{name.upper() if next(picks, False) else name}{equals}{quoted(value)}"
        for name, value in (values[index] for index in order)
    ]
    header = scheme + comma.join([*pairs, "unknown=1"])
    expected = XMatrix(
        entry.origin, entry.destination or "x", entry.key_id, entry.signature
    )
    assert parse_x_matrix([header.encode()]) == [expected]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """R51: nothing else than `BadXMatrix` comes out, which is 401."""
    try:
        parse_x_matrix([b"X-Matrix " + data])
    except BadXMatrix:
        pass


@pytest.mark.parametrize(
    "parameters",
    [
        f"origin=a.example,destination=b.example,key=ed25519:k1,sig={SIG}",
        PLAIN.replace(f'{SIG}"', f'{SIG}=="'),
        PLAIN + ',extra="a,b=c\\"d"',
        PLAIN + "  ",
    ],
)
def test_other_servers_dialects(parameters: str) -> None:
    assert parse_x_matrix([f"X-Matrix {parameters}".encode()]) == [ENTRY]


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        ",",
        PLAIN + ",",
        "," + PLAIN,
        PLAIN.replace(",", ",,", 1),
        PLAIN.replace(",", " ", 1),
        PLAIN.replace("origin=", "origin"),
        PLAIN.replace('"a.example"', '"a.example'),
        PLAIN.replace('"a.example"', 'a".example"'),
        PLAIN.replace('"a.example"', '"a.example\\"'),
        PLAIN.replace('"a.example"', ""),
        PLAIN.replace('"a.example"', '""'),
        PLAIN.replace("a.example", "a example"),
        PLAIN.replace("a.example", "a/example"),
        PLAIN.replace("a.example", "999.1.1.1"),
        PLAIN.replace("a.example", "ä.example"),
        PLAIN.replace("a.example", "a.example\x01"),
        PLAIN + ',origin="a.example"',
        PLAIN + ",ORIGIN=evil.example",
        PLAIN + ",other=1,other=1",
        PLAIN.replace("ed25519", "rsa"),
        PLAIN.replace('key="ed25519:k1",', ""),
        PLAIN.replace(f',sig="{SIG}"', ""),
        PLAIN.replace(SIG, SIG[:-2]),
        PLAIN.replace(SIG, SIG + "AA"),
        PLAIN.replace(SIG, SIG[:-1] + "-"),
        PLAIN.replace(SIG, SIG + "==="),
        f"{PLAIN}, X-Matrix {PLAIN}",
        f"{PLAIN},pad={'x' * 4096}",
    ],
)
def test_malformed_headers_are_refused(parameters: str) -> None:
    """R51."""
    with pytest.raises(BadXMatrix):
        parse_x_matrix([f"X-Matrix {parameters}".encode()])


@pytest.mark.parametrize(
    "header", ["", "Bearer abc", f"Bearer X-Matrix {PLAIN}", f"X-Matrixes {PLAIN}"]
)
def test_other_schemes_are_no_signature(header: str) -> None:
    assert parse_x_matrix([header.encode()]) == []
    assert parse_x_matrix([header.encode(), ENTRY.header()]) == [ENTRY]


def test_five_entries_are_read_and_six_refused() -> None:
    """R51."""
    assert len(parse_x_matrix([ENTRY.header()] * 5)) == 5
    with pytest.raises(BadXMatrix):
        parse_x_matrix([ENTRY.header()] * 6)


@pytest.mark.parametrize(
    "other",
    [
        XMatrix("c.example", "b.example", "ed25519:k1", bytes(64)),
        XMatrix("a.example", "c.example", "ed25519:k1", bytes(64)),
        XMatrix("a.example", None, "ed25519:k1", bytes(64)),
    ],
)
def test_entries_have_to_agree(other: XMatrix) -> None:
    """R51."""
    with pytest.raises(BadXMatrix):
        parse_x_matrix([ENTRY.header(), other.header()])
