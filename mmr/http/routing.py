"""Which handler answers which path (mmr-http-api.md §1.3)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from mmr.errors import MatrixError, method_not_allowed, unrecognized
from mmr.http.parameters import percent_decode
from mmr.types import Access

if TYPE_CHECKING:
    from mmr.http.responses import Response

Handler = Callable[..., Awaitable["Response"]]

_PARAMETER = re.compile(r"[a-z][a-z0-9_]*\Z")


class MethodNotAllowed(Exception):
    """The path exists, but not with this method.

    Args:
        allow: The value for ``Allow``.
    """

    def __init__(self, allow: bytes) -> None:
        super().__init__(allow)
        self.allow = allow

    @property
    def error(self) -> MatrixError:
        """What the client is told."""
        return method_not_allowed()


@attrs.frozen(kw_only=True)
class Route:
    """One path with the methods that one handler answers.

    Attributes:
        methods: Such as ``("GET", "HEAD")``; HEAD only where it is named.
        path: A template: ``:name`` is one segment, ``*name`` at the end is the rest.
        action: Its name in logs and metrics.
        access: Who may call it (R48).
        handler: Called with the request and the decoded parameters by name.
        reads_body: The handler reads the request's body.
    """

    methods: tuple[str, ...] = attrs.field(validator=attrs.validators.min_len(1))
    path: str
    action: str
    access: Access = attrs.field(validator=attrs.validators.instance_of(Access))
    handler: Handler
    reads_body: bool = False

    @property
    def segments(self) -> Sequence[str]:
        """The template's parts."""
        return self.path.split("/")[1:]

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the handler's keyword arguments, in the order of the path."""
        return tuple(part[1:] for part in self.segments if part[:1] in (":", "*"))


class _Node:
    """One place in the tree of segments."""

    __slots__ = ("allow", "children", "parameter", "rest", "routes")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: _Node | None = None
        self.routes: dict[bytes, tuple[Route, tuple[str, ...]]] = {}
        self.allow = b""


class Router:
    """Finds routes by walking the path's segments; exact and case-sensitive.

    Args:
        routes: All of them.

    Raises:
        ValueError: a template is malformed, or two routes claim one method and path.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def match(self, method: bytes, path: str) -> tuple[Route, dict[str, str]]:
        """The route for a request, and its decoded parameters.

        Raises:
            MatrixError: 404 for an unknown path; 400 for a broken parameter.
            MethodNotAllowed: the path has other methods.
        """
        values: list[str] = []
        node = _find(self._root, path.split("/"), 1, values)
        if node is None:
            raise unrecognized()
        found = node.routes.get(method)
        if found is None:
            raise MethodNotAllowed(node.allow)
        route, names = found
        if not names:
            return route, {}
        return route, {
            name: percent_decode(value)
            for name, value in zip(names, values, strict=True)
        }

    def allowed_methods(self, path: str) -> bytes:
        """What ``OPTIONS`` answers for a path; for ``*`` what the server knows.

        Raises:
            MatrixError: 404 for an unknown path.
        """
        if path == "*":
            return b"GET, HEAD, POST, PUT, DELETE, OPTIONS"
        node = _find(self._root, path.split("/"), 1, [])
        if node is None:
            raise unrecognized()
        return node.allow

    def _add(self, route: Route) -> None:
        if not route.path.startswith("/"):
            raise ValueError(f"{route.path}: a path begins with a slash")
        node = self._root
        for index, segment in enumerate(route.segments):
            is_last = index == len(route.segments) - 1
            node = _child(node, segment, route.path, is_last)
        for method in route.methods:
            if method.encode("ascii") in node.routes:
                raise ValueError(f"{method} {route.path} is routed twice")
            node.routes[method.encode("ascii")] = (route, route.parameters)
        node.allow = b", ".join([*node.routes, b"OPTIONS"])


def _child(node: _Node, segment: str, path: str, is_last: bool) -> _Node:
    """The node for one more segment of a template, made when it is new."""
    kind, name = segment[:1], segment[1:]
    if kind not in (":", "*"):
        return node.children.setdefault(segment, _Node())
    if not _PARAMETER.match(name) or (kind == "*" and not is_last):
        raise ValueError(f"{path}: malformed parameter {segment!r}")
    if kind == ":":
        node.parameter = node.parameter or _Node()
        return node.parameter
    node.rest = node.rest or _Node()
    return node.rest


def _find(
    node: _Node, segments: list[str], index: int, values: list[str]
) -> _Node | None:
    """Walk on: a literal segment wins over a parameter, and that over the rest."""
    while index < len(segments):
        segment = segments[index]
        child = node.children.get(segment)
        if child is not None and node.parameter is None and node.rest is None:
            node = child
            index += 1
            continue
        return _find_branch(node, child, segments, index, values)
    return node if node.routes else None


def _find_branch(
    node: _Node,
    child: _Node | None,
    segments: list[str],
    index: int,
    values: list[str],
) -> _Node | None:
    known = len(values)
    if child is not None:
        found = _find(child, segments, index + 1, values)
        if found is not None:
            return found
        del values[known:]
    # An empty segment is no value: /download//x isn't a download.
    if node.parameter is not None and segments[index]:
        values.append(segments[index])
        found = _find(node.parameter, segments, index + 1, values)
        if found is not None:
            return found
        del values[known:]
    if node.rest is not None:
        values.append("/".join(segments[index:]))
        return node.rest
    return None
