"""The metrics, as Prometheus sees them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from prometheus_client.parser import text_string_to_metric_families

import treq
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from mmr import metrics

HOST = "metrics.example"


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0


def series() -> int:
    return sum(len(family.samples) for family in metrics.REGISTRY.collect())


class HttpMetricsTests(SynchronousTestCase):
    def setUp(self) -> None:
        metrics.set_label_values([HOST], [(96, 96)])

    def test_requests_and_responses_have_mmrs_names_and_labels(self) -> None:
        labels = {"host": HOST, "action": "download", "method": "GET"}
        invalid = {"action": "download", "method": "GET"}
        before = value("media_invalid_http_requests_total", **invalid)
        metrics.request_finished(HOST, "download", "GET", 200, 0.003)
        metrics.request_finished(HOST, "download", "GET", 200, 0.3)
        metrics.request_finished(HOST, "download", "GET", 404, 20)
        metrics.invalid_request("download", "GET")
        expected = {
            ("media_http_requests_total", ()): 3,
            ("media_http_responses_total", (("statusCode", "200"),)): 2,
            ("media_http_responses_total", (("statusCode", "404"),)): 1,
            ("media_http_response_time_seconds_bucket", (("le", "0.005"),)): 1,
            ("media_http_response_time_seconds_bucket", (("le", "0.5"),)): 2,
            ("media_http_response_time_seconds_bucket", (("le", "+Inf"),)): 3,
        }
        for (name, more), count in expected.items():
            self.assertEqual(value(name, **labels, **dict(more)), count, (name, more))
        after = value("media_invalid_http_requests_total", **invalid)
        self.assertEqual(after - before, 1)

    def test_strangers_cant_grow_the_number_of_series(self) -> None:
        """R107: remote origins, odd sizes, odd methods, odd hosts are ``other``."""
        metrics.count_thumbnail(96, 96, "crop", True, HOST)
        metrics.count_thumbnail(1, 1, "crop", True, "x")
        metrics.request_finished("x", "download", "X", 200, 0)
        metrics.invalid_request("upload", "X")
        before = series()
        for number in range(10_000):
            stranger = f"s{number}.example"
            metrics.count_thumbnail(number, number + 1, "crop", True, stranger)
            metrics.request_finished(stranger, "download", stranger, 200, 0)
            metrics.invalid_request("upload", stranger)
        self.assertEqual(series(), before)


class MediaMetricsTests(SynchronousTestCase):
    def test_thumbnails_by_configured_size_and_own_host(self) -> None:
        metrics.set_label_values([HOST], [(32, 32)])
        metrics.count_thumbnail(32, 32, "scale", False, HOST)
        labels = {"width": "32", "height": "32", "method": "scale", "animated": "false"}
        name = "media_thumbnails_generated_total"
        self.assertEqual(value(name, **labels, origin=HOST), 1)

    def test_cache_events(self) -> None:
        events = metrics.cache_events("test")
        events.hits.inc()
        events.misses.inc(2)
        events.need_space.inc(3)
        self.assertEqual(value("media_cache_hits_total", cache="test"), 1)
        self.assertEqual(value("media_cache_misses_total", cache="test"), 2)
        evictions = value(
            "media_cache_evictions_total", cache="test", reason="need_space"
        )
        self.assertEqual(evictions, 3)

    def test_age_of_media_has_mmrs_buckets(self) -> None:
        before = value("media_age_accessed_media_seconds_bucket", le="5.0")
        metrics.observe_media_age(-1)
        metrics.observe_media_age(20)
        after = value("media_age_accessed_media_seconds_bucket", le="5.0")
        self.assertEqual(after, before + 1)
        families = {family.name: family for family in metrics.REGISTRY.collect()}
        bounds = [
            float(sample.labels["le"])
            for sample in families["media_age_accessed_media_seconds"].samples
            if "le" in sample.labels
        ]
        minutes = [60, 120, 150, 300, 900, 1800, 3600, 9000, 18000, 43200]
        days = [86400, 1296000, 2592000, 15811200, 31536000]
        self.assertEqual(bounds[:-1], [5, 15, 30, *minutes, *days])


class GaugeTests(SynchronousTestCase):
    def test_pools_and_caches_are_read_at_scrape_time(self) -> None:
        waiting: Iterator[int] = chain([3, 4])
        metrics.register_pool("p", lambda: next(waiting), lambda: 2)
        self.assertEqual(value("media_pool_waiting", pool="p"), 3)
        metrics.register_pool("p", lambda: 0, lambda: 2)
        self.assertEqual(value("media_pool_running", pool="p"), 2)
        metrics.register_cache("c", lambda: 5, lambda: 500)
        for name, expected in (("num", 5), ("num_live", 5)):
            self.assertEqual(value(f"media_cache_{name}_items", cache="c"), expected)
        self.assertEqual(value("media_cache_num_live_bytes_used", cache="c"), 500)

    def test_broken_gauge_is_logged_and_hides_no_other(self) -> None:
        def broken() -> float:
            raise ValueError("no")

        metrics.register_pool("broken", broken, lambda: 7)
        with self.assertLogs("mmr.metrics", "ERROR"):
            self.assertEqual(value("media_pool_running", pool="broken"), 7)
        metrics.register_pool("broken", lambda: 0, lambda: 0)


class ListenerTests(TestCase):
    async def setUp(self) -> None:  # type: ignore[override]
        self.port = reactor.listenTCP(  # type: ignore[attr-defined]
            0, metrics.metrics_site(), interface="127.0.0.1"
        )
        self.agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.port.stopListening()

    async def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.port.getHost().port}{path}"
        response = await self.agent.request(b"GET", url.encode())
        return response.code, await treq.text_content(response)

    async def test_both_paths_answer_in_prometheus_format(self) -> None:
        metrics.set_label_values([HOST], [])
        metrics.request_finished(HOST, "upload", "POST", 200, 0.1)
        for path in ("/metrics", "/_media/metrics"):
            status, text = await self.get(path)
            self.assertEqual(status, 200)
            names = {family.name for family in text_string_to_metric_families(text)}
            self.assertIn("media_http_requests", names)
            self.assertIn("process_resident_memory_bytes", names)
            self.assertNotIn("_created", text)

    async def test_other_paths_are_unknown(self) -> None:
        self.assertEqual((await self.get("/"))[0], 404)

    async def test_no_answer_is_a_page(self) -> None:
        """R1, R5."""
        url = f"http://127.0.0.1:{self.port.getHost().port}"
        for method, path, status in (
            (b"GET", "/metrics", 200),
            (b"HEAD", "/metrics", 200),
            (b"GET", "/<script>", 404),
            (b"POST", "/metrics", 405),
            (b"BREW", "/<script>", 405),
        ):
            response = await self.agent.request(method, (url + path).encode())
            headers = response.headers
            self.assertEqual(response.code, status, method)
            kind = headers.getRawHeaders("content-type", [""])[0]
            self.assertTrue(kind.startswith("text/plain"), kind)
            self.assertEqual(
                headers.getRawHeaders("x-content-type-options"), ["nosniff"]
            )
            self.assertNotIn("<", await treq.text_content(response))
