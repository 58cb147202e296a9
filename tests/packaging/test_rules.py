"""Whole classes of mistakes that no module may hold."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.packaging import rules

Check = Callable[[str, ast.AST], Iterable[rules.Finding]]


def findings(check: Check) -> list[str]:
    """What a check finds in all modules, as places to jump to."""
    found = []
    for module in rules.modules():
        path = module.relative_to(rules.ROOT).as_posix()
        tree = ast.parse(module.read_text(), path)
        found += [f"{path}:{line} {what}" for line, what in check(path, tree)]
    return found


def importers(name: str) -> set[str]:
    """The modules that import a name, or call it through its module."""
    found = set()
    for module in rules.modules():
        tree = ast.parse(module.read_text())
        names = {imported for _, imported in rules.imports(tree)}
        names |= {called for _, called in rules.calls(tree)}
        if name in names:
            found.add(module.relative_to(rules.ROOT).as_posix())
    return found


def test_no_shell_no_evaluation_no_unsafe_loader() -> None:
    """R36, R110."""
    assert findings(lambda _, tree: rules.dangerous(tree)) == []


def test_connections_are_made_in_the_http_room_alone() -> None:
    """R8: two kinds of client and no third; drivers talk to configured peers."""
    assert findings(rules.misplaced_connections) == []


def test_secrets_are_compared_in_one_module() -> None:
    """R43: one comparison function, in constant time over digests."""
    assert importers("hmac.compare_digest") == {"mmr/auth/secrets.py"}
    assert importers("secrets.compare_digest") == set()


def test_pictures_are_opened_by_workers_alone() -> None:
    """R33, R29: in the server only the operator's own, and one that a worker drew."""
    in_workers = ("mmr/thumbnailing/renderers/", "mmr/thumbnailing/blurhash.py")
    opening = importers("PIL.Image.open")
    here = {path for path in opening if not path.startswith(in_workers)}
    assert here == {"mmr/thumbnailing/quarantine_image.py", "mmr/plugins/ocr.py"}


def test_only_the_top_takes_the_global_reactor() -> None:
    """Everything below gets it passed, so that tests can pass another one."""
    assert importers("twisted.internet.reactor") <= {"mmr/tap.py"}


def test_no_generator_based_coroutines() -> None:
    assert importers("twisted.internet.defer.inlineCallbacks") == set()


@pytest.mark.parametrize(
    "planted",
    [
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.Popen('ls', shell=flag)",
        "import os\nos.system('ls')",
        "from os import popen\npopen('ls')",
        "import pickle",
        "from pickle import loads as read",
        "eval('1')",
        "exec(text)",
        "from tempfile import mktemp as fresh\nfresh()",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)",
        "import yaml\nclass L(yaml.Loader): pass\nyaml.load(text, Loader=L)",
        "from yaml import full_load\nfull_load(text)",
    ],
)
def test_a_planted_danger_is_found(planted: str) -> None:
    """R110: a planted violation fails."""
    assert list(rules.dangerous(ast.parse(planted)))


@pytest.mark.parametrize(
    "planted",
    [
        "import treq",
        "import requests",
        "from urllib import request",
        "import urllib.request",
        "from twisted.internet import endpoints",
        "from twisted.web.client import Agent",
        "import socket\nsocket.create_connection(('example.org', 80))",
        "import socket as s\ns.socket()",
        "reactor.connectTCP('example.org', 80, factory)",
        "self.get().reactor.connectSSL('example.org', 80, factory, context)",
        "import psycopg2.pool",
    ],
)
def test_a_planted_connection_is_found(planted: str) -> None:
    """R8: a forgotten path is found whatever it is called."""
    assert list(rules.misplaced_connections("mmr/media/x.py", ast.parse(planted)))


@pytest.mark.parametrize(
    "harmless",
    [
        "import yaml\nyaml.safe_load(text)",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml\nclass L(yaml.SafeLoader): pass\nyaml.load(text, Loader=L)",
        "import subprocess\nsubprocess.run([PATH], shell=False)",
        "self.exec_module()\nretrieval()",
    ],
)
def test_harmless_code_passes(harmless: str) -> None:
    assert not list(rules.dangerous(ast.parse(harmless)))
    assert not list(rules.misplaced_connections("mmr/x.py", ast.parse(harmless)))


def test_dependencies_have_floors_at_the_last_known_flaw() -> None:
    """R108."""
    metadata = (Path(rules.ROOT) / "setup.cfg").read_text()
    for floor in ("Twisted[tls]>=26.10", "Pillow>=13.0", "python_requires = >=3.11"):
        assert floor in metadata
