"""An S3 server on loopback: moto, started once a test process."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable

import boto3
from moto.server import ThreadedMotoServer

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from mmr.datastores.s3 import S3Datastore
from mmr.datastores.s3_client import Timing
from mmr.datastores.s3_options import s3_options
from mmr.types import Kind
from mmr.util.clock import Clock
from mmr.util.threads import WorkerPool

ALL_KINDS = frozenset(Kind)
IMPATIENT = Timing(connect_s=1.0, read_s=0.5, attempts=2)


@functools.cache
def moto_endpoint() -> str:
    """``host:port`` of the server. It ends with the process."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"{host}:{port}"


def raw_client(endpoint: str) -> object:
    """boto3 itself, to look behind the datastore's back."""
    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"http://{endpoint}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def new_bucket() -> str:
    """A fresh bucket on the moto server."""
    name = f"bucket-{secrets.token_hex(8)}"
    raw_client(moto_endpoint()).create_bucket(Bucket=name)  # type: ignore[attr-defined]
    return name


def bucket_options(
    bucket: str, endpoint: str | None = None, **more: str
) -> dict[str, str]:
    """``opts`` of a datastore for the bucket."""
    return {
        "endpoint": endpoint or moto_endpoint(),
        "bucketName": bucket,
        "accessKeyId": "key",
        "accessSecret": "secret",
        "ssl": "false",
        **more,
    }


def started_pool(case: TestCase, name: str = "s3", size: int = 8) -> WorkerPool:
    """A pool that ends with the test."""
    threads: IReactorFromThreads = reactor  # type: ignore[assignment]
    pool = WorkerPool(name, size, 1000, threads)
    pool.start()
    case.addCleanup(pool.stop)
    return pool


def s3_store(
    case: TestCase,
    opts: dict[str, str],
    *,
    kinds: frozenset[Kind] = ALL_KINDS,
    floor: int = 0,
    timing: Timing | None = None,
    pool: WorkerPool | None = None,
    object_name: Callable[[], str] | None = None,
) -> S3Datastore:
    """A datastore with pools of its own."""
    pool = pool or started_pool(case)
    return S3Datastore(
        "bucket",
        kinds,
        s3_options("bucket", opts),
        pool,
        pool,
        Clock(reactor),  # type: ignore[arg-type]
        lambda: floor,
        timing,
        object_name,
    )
