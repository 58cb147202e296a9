"""Rules that hold for every module of ``mmr``, checked on the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BANNED_CALLS = {
    "os.system": "R36",
    "os.popen": "R36",
    "subprocess.getoutput": "R36",
    "subprocess.getstatusoutput": "R36",
    "asyncio.create_subprocess_shell": "R36",
    "eval": "R110",
    "exec": "R110",
    "tempfile.mktemp": "R110",
    "yaml.unsafe_load": "R110",
    "yaml.full_load": "R110",
    "yaml.load_all": "R110",
}
BANNED_IMPORTS = {"pickle", "marshal", "shelve", "dill", "telnetlib", "ftplib"}

# Code that makes connections, by the name that it is imported or called under.
CONNECTING_MODULES = {
    "aiohttp",
    "boto3",
    "botocore",
    "http.client",
    "httpx",
    "psycopg2",
    "redis",
    "requests",
    "smtplib",
    "treq",
    "twisted.internet.endpoints",
    "twisted.web.client",
    "txredisapi",
    "urllib.request",
    "urllib3",
}
CONNECTING_CALLS = {
    "socket.create_connection",
    "socket.socket",
    "asyncio.open_connection",
}
CONNECTING_METHODS = {"connectTCP", "connectSSL", "connectUDP", "listenUDP"}

# Where each may be: trusted peers from the configuration only (R8).
MAY_CONNECT = {
    "mmr/http/": CONNECTING_MODULES | CONNECTING_CALLS | CONNECTING_METHODS,
    # No part of the server: a program that calls it, where its admin says it is.
    "mmr/cli/administration/client.py": {"http.client"},
    "mmr/storage/": {"psycopg2"},
    # A tool's way into the database of the homeserver that its admin moves from.
    "mmr/interop/foreign_database.py": {"psycopg2"},
    "mmr/interop/homeserver_downloads.py": {"http.client"},
    "mmr/datastores/": {"boto3", "botocore"},
    "mmr/cluster/": {"txredisapi"},
    # Says READY to the service manager, over a local datagram socket.
    "mmr/util/systemd.py": {"socket.socket"},
    # The workers' end of a socket pair that they inherit.
    "mmr/util/confined/channel.py": {"socket.socket"},
    "mmr/previews/worker.py": {"socket.socket"},
}

Finding = tuple[int, str]


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted((ROOT / "mmr").rglob("*.py"))


def dotted(node: ast.AST) -> str | None:
    """The dotted name that an expression is, if it is one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None


def aliases(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound] = alias.name if alias.asname else bound
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with its full dotted name (or just the method's, with a dot)."""
    known = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name is None:
                name = f".{node.func.attr}" if hasattr(node.func, "attr") else ""
            first, dot, rest = name.partition(".")
            yield node, known.get(first, first) + dot + rest


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported name, in full; type-checking imports too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module = node.module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_within(name: str, parents: set[str]) -> str | None:
    """The one of the parents that the dotted name is, or is part of."""
    return next(
        (one for one in parents if name == one or name.startswith(f"{one}.")), None
    )


def dangerous(tree: ast.AST) -> Iterator[Finding]:
    """Shells, evaluation, unsafe loaders, guessable names (R36, R110)."""
    for line, name in imports(tree):
        if is_within(name, BANNED_IMPORTS):
            yield line, f"imports {name} (R110)"
    for call, name in calls(tree):
        if name in BANNED_CALLS:
            yield call.lineno, f"calls {name} ({BANNED_CALLS[name]})"
        for keyword in call.keywords:
            if keyword.arg == "shell" and not is_false(keyword.value):
                yield call.lineno, "passes shell= (R36)"
        if name == "yaml.load" and not has_safe_loader(tree, call):
            yield call.lineno, "loads YAML without a safe loader (R110)"


def is_false(node: ast.expr) -> bool:
    """Whether the expression is the literal False."""
    return isinstance(node, ast.Constant) and node.value is False


def has_safe_loader(tree: ast.AST, call: ast.Call) -> bool:
    """Whether the loader is PyYAML's safe one, or a class of ours made from it."""
    given = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "Loader")]
    names = {dotted(loader) for loader in given}
    safe = {"yaml.SafeLoader", "SafeLoader", "yaml.CSafeLoader", "CSafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {dotted(b) for b in node.bases} & safe:
            safe.add(node.name)
    return bool(names) and names <= safe


def connecting(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name by which a connection could be made."""
    for line, name in imports(tree):
        if found := is_within(name, CONNECTING_MODULES):
            yield line, found
    for call, name in calls(tree):
        method = name.rpartition(".")[2]
        if name in CONNECTING_CALLS:
            yield call.lineno, name
        elif method in CONNECTING_METHODS:
            yield call.lineno, method


def misplaced_connections(path: str, tree: ast.AST) -> Iterator[Finding]:
    """Connection-making code outside the rooms that may hold it (R8)."""
    allowed: set[str] = set()
    for place, names in MAY_CONNECT.items():
        if path.startswith(place):
            allowed |= names
    for line, name in connecting(tree):
        if name not in allowed:
            yield line, f"uses {name} (R8)"
