"""Paths and their handlers, and the parameters in URLs (§1.3, R62, R67, R70)."""

from __future__ import annotations

from typing import Any

import pytest

from mmr.errors import MatrixError
from mmr.http.parameters import Query, parse_integer, percent_decode
from mmr.http.routing import MethodNotAllowed, Route, Router

from tests.http.support import a_route, hello

DOWNLOAD = a_route("/_matrix/media/v3/download/:server/:media_id", hello, ("GET",))
NAMED = a_route("/_matrix/media/v3/download/:server/:media_id/:filename", hello)
DELETE = a_route("/_matrix/media/v3/download/:server/:media_id", hello, ("DELETE",))
PURGE = a_route("/admin/purge/:server/:media_id", hello)
PURGE_USER = a_route("/admin/purge/user/:user_id", hello)
IDENTICON = a_route("/identicon/*seed", hello)
ROUTER = Router([DOWNLOAD, NAMED, DELETE, PURGE, PURGE_USER, IDENTICON])


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        (
            "/_matrix/media/v3/download/a.example:8448/xyz",
            DOWNLOAD,
            {"server": "a.example:8448", "media_id": "xyz"},
        ),
        (
            "/_matrix/media/v3/download/%5B::1%5D/x%2Fy/a%20%C3%A4+.png",
            NAMED,
            {"server": "[::1]", "media_id": "x/y", "filename": "a ä+.png"},
        ),
        ("/admin/purge/user/@a:b", PURGE_USER, {"user_id": "@a:b"}),
        ("/admin/purge/users/x", PURGE, {"server": "users", "media_id": "x"}),
        ("/identicon/a/b", IDENTICON, {"seed": "a/b"}),
        ("/identicon/", IDENTICON, {"seed": ""}),
    ],
)
def test_paths_find_their_routes(
    path: str, route: Route, parameters: dict[str, str]
) -> None:
    assert ROUTER.match(b"GET", path) == (route, parameters)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "*",
        "/_matrix/media/v3/download/a/b/",
        "/_matrix/media/v3/download/a/b/c/d",
        "/_matrix/media/v3/download//b",
        "/_matrix/media/v3/download/a",
        "/_MATRIX/media/v3/download/a/b",
        "/%5fmatrix/media/v3/download/a/b",
        "//_matrix/media/v3/download/a/b",
        "/identicon",
    ],
)
def test_other_paths_are_unknown(path: str) -> None:
    with pytest.raises(MatrixError) as caught:
        ROUTER.match(b"GET", path)
    assert (caught.value.status, caught.value.errcode) == (404, "M_UNRECOGNIZED")


@pytest.mark.parametrize("value", ["%00", "a%00b", "%ff", "%c0%af", "%zz", "%", "%4"])
def test_broken_parameters_are_refused(value: str) -> None:
    """R67, R70."""
    with pytest.raises(MatrixError) as caught:
        ROUTER.match(b"GET", f"/_matrix/media/v3/download/{value}/x")
    assert caught.value.status == 400


def test_decoding_happens_once() -> None:
    """R67."""
    assert percent_decode("%2541") == "%41"


def test_methods_of_one_path_may_have_several_routes() -> None:
    path = "/_matrix/media/v3/download/a/b"
    assert ROUTER.match(b"DELETE", path)[0] is DELETE
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTER.match(b"HEAD", path)
    assert caught.value.allow == b"GET, DELETE, OPTIONS"
    assert ROUTER.allowed_methods(path) == b"GET, DELETE, OPTIONS"


def test_all_routes_are_listed() -> None:
    """R48."""
    assert ROUTER.routes == (DOWNLOAD, NAMED, DELETE, PURGE, PURGE_USER, IDENTICON)


def test_mistakes_in_tables_are_found_at_start() -> None:
    undeclared: Any = "anyone"
    with pytest.raises(TypeError):
        a_route("/x", hello, access=undeclared)
    with pytest.raises(ValueError, match="methods"):
        a_route("/x", hello, methods=())
    for routes in (
        [a_route("x", hello)],
        [a_route("/*rest/x", hello)],
        [a_route("/:Bad", hello)],
        [a_route("/:a", hello), a_route("/:b", hello)],
    ):
        with pytest.raises(ValueError, match=r"/|begins"):
            Router(routes)


def test_the_first_value_counts() -> None:
    query = Query("a=1&a=2&b=x+y%2B&c&=d")
    assert query.text("a") == "1"
    assert query.texts("a") == ["1", "2"]
    assert query.text("b") == "x y+"
    assert query.text("c", "default") == ""
    assert query.text("none", "default") == "default"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("1", "t", "T", "TRUE", "true", "True")),
        *((text, False) for text in ("0", "f", "F", "FALSE", "false", "False")),
    ],
)
def test_flags_have_the_spellings_of_mmr(text: str, value: bool) -> None:
    assert Query(f"x={text}").boolean("x", not value, "no flag") is value


@pytest.mark.parametrize("raw", ["x=yes", "x=tRUE", "x=2", "x=%20true"])
def test_other_flags_are_refused(raw: str) -> None:
    with pytest.raises(MatrixError) as caught:
        Query(raw).boolean("x", True, "x does not appear to be a boolean")
    assert caught.value.message == "x does not appear to be a boolean"
    assert Query("").boolean("x", True, "") is True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-5", -5),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("", None),
        ("+1", None),
        ("1_0", None),
        (" 1", None),
        ("1\n", None),
        ("1.0", None),
        ("0x1", None),
        ("١", None),
        ("１２", None),
    ],
)
def test_numbers_are_read_strictly(text: str, value: int | None) -> None:
    """R67."""
    assert parse_integer(text) == value


def test_bad_numbers_in_queries_are_refused() -> None:
    """R67."""
    assert Query("n=5").integer("n", 1, "") == 5
    assert Query("n=").integer("n", 1, "") == 1
    with pytest.raises(MatrixError) as caught:
        Query("n=%EF%BC%91").integer("n", 1, "n does not appear to be an integer")
    assert caught.value.errcode == "M_INVALID_PARAM"


def test_queries_are_limited() -> None:
    """R62."""
    assert len(Query("&".join(f"a{n}" for n in range(100))).all()) == 100
    for raw in ("&".join("a" * 101), "a=%00", "a=%ff", "%=1"):
        with pytest.raises(MatrixError) as caught:
            Query(raw).all()
        assert caught.value.status == 400
