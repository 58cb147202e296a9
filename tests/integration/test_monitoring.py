"""The dashboard and the alerts, asked of a real Prometheus that scrapes a real mmr."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from tests.datastores.s3_server import bucket_options, new_bucket
from tests.integration.images import SAMPLE
from tests.integration.process import Child, answers, free_port, poll
from tests.integration.server import Server
from tests.redis import RedisServer

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
RULES = CONTRIB / "prometheus/media-repo.rules.yml"
DASHBOARD = json.loads((CONTRIB / "grafana/media-repo.json").read_text())
QUERIES = [
    (panel["title"], target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed (apt-get install prometheus)"
    return found


@attrs.frozen
class Prometheus:
    """One that scrapes every second."""

    port: int

    def ask(self, what: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        found = self.ask(f"query?query={urllib.parse.quote(expression)}")["result"]
        assert isinstance(found, list)
        return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with our rules, and a server that did a little of everything."""
    folder = tmp_path_factory.mktemp("monitoring")
    metrics_port, port = free_port(), free_port()
    redis = RedisServer()
    redis.start()
    store = {
        "type": "s3",
        "id": "bucket",
        "forKinds": ["all"],
        "opts": bucket_options(new_bucket()),
    }
    server = Server(
        folder,
        {
            "metrics": {"enabled": True, "port": metrics_port},
            "datastores": [store],
            "redis": {
                "enabled": True,
                "shards": [{"name": "one", "addr": redis.address}],
            },
        },
    )
    config = yaml.safe_load((CONTRIB / "prometheus/prometheus.yml").read_text())
    config["rule_files"] = [str(RULES)]
    config["global"] = {"evaluation_interval": "1s"}
    (job,) = config["scrape_configs"]
    job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    job["static_configs"] = [{"targets": [f"127.0.0.1:{metrics_port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    child = Child(
        [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder / "prometheus.log",
    )
    try:
        server.start()
        child.start()
        child.wait_until(lambda: answers(port, "/-/ready"))
        made = Prometheus(port)
        poll(lambda: bool(made.query("media_database_waiting")), "scraped", 30)
        use(server)
        # A rate needs two scrapes of what it is the rate of.
        poll(
            lambda: bool(made.query("rate(media_thumbnails_generated_total[2m])")),
            "a rate",
            30,
        )
        yield made
    finally:
        child.kill()
        server.child.kill()
        redis.remove()


def use(server: Server) -> None:
    """One request of each kind that a panel shows."""
    mxc = server.upload(SAMPLE.read_bytes(), "image/jpeg")
    for _ in range(2):
        assert server.download(mxc).status == 200
    path = mxc.removeprefix("mxc://")
    thumbnail = f"/_matrix/client/v1/media/thumbnail/{path}?width=320&height=240"
    assert server.request("GET", thumbnail).status == 200
    config = "/_matrix/client/v1/media/config"
    assert server.request("GET", config, host="nobody.test").status == 502


@pytest.mark.parametrize(("panel", "query"), QUERIES, ids=lambda value: value[:40])
def test_every_panel_has_data(prometheus: Prometheus, panel: str, query: str) -> None:
    assert prometheus.query(query) != []


def test_the_rules_are_loaded_and_none_fires(prometheus: Prometheus) -> None:
    subprocess.run([program("promtool"), "check", "rules", str(RULES)], check=True)
    (group,) = prometheus.ask("rules")["groups"]
    written = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert len(group["rules"]) == len(written)
    for rule in group["rules"]:
        assert rule["health"] in ("ok", "unknown"), rule
        assert rule["state"] != "firing", rule


@pytest.mark.parametrize(
    "rule",
    yaml.safe_load(RULES.read_text())["groups"][0]["rules"],
    ids=lambda rule: rule["alert"],
)
def test_every_alert_looks_at_metrics_that_exist(
    prometheus: Prometheus, rule: dict[str, Any]
) -> None:
    """An expression over a misspelt name would never fire."""
    names = {
        word
        for word in "".join(
            char if char.isalnum() or char == "_" else " " for char in rule["expr"]
        ).split()
        if word.startswith(("media_", "process_", "up")) and word != "media_repo"
    }
    assert names
    for name in names:
        assert prometheus.query(name) != [], name


def test_the_manual_names_every_metric(prometheus: Prometheus) -> None:
    names = prometheus.ask("label/__name__/values")
    ours = {
        re.sub(r"_(bucket|sum|count|created)$", "", name)
        for name in names
        if name.startswith("media_")
    }
    page = (CONTRIB.parent / "docs/metrics.md").read_text()
    told = set(re.findall(r"`(media_\w+)`", page))
    assert len(ours) > 30
    assert sorted(ours - told) == []


def test_the_dashboard_fits_its_grid_and_names_its_input() -> None:
    assert DASHBOARD["__inputs"][0]["name"] == "DS_PROMETHEUS"
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
