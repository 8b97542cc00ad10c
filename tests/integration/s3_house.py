"""An S3 for the tests of a run: moto's server on loopback, with a bucket that each test finds empty."""

import atexit
import logging
from datetime import UTC, datetime
from functools import cache

import boto3
import moto.s3.models
import pytest
from moto.s3.models import FakeBucket, s3_backends
from moto.server import ThreadedMotoServer

from forebay.ports import Clock

BUCKET = "forebay-tests"
_ACCOUNT, _PARTITION = "123456789012", "aws"
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_REGION": "us-east-1"}


@cache
def server_url() -> str:
    """Started at its first use, stopped when the tests end."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def empty_bucket(patch: pytest.MonkeyPatch) -> FakeBucket:
    """Points the AWS environment to the server until the test ends, and returns what the server holds."""
    for name, value in {"AWS_ENDPOINT_URL": server_url(), **_KEYS}.items():
        patch.setenv(name, value)
    backend = s3_backends[_ACCOUNT][_PARTITION]
    backend.reset()
    client = boto3.client("s3", region_name=_KEYS["AWS_REGION"])
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return backend.buckets[BUCKET]


def drop_bucket() -> None:
    backend = s3_backends[_ACCOUNT][_PARTITION]
    backend.buckets[BUCKET].keys.clear()
    backend.delete_bucket(BUCKET)


def set_clock(patch: pytest.MonkeyPatch, clock: Clock) -> None:
    """S3 dates what it keeps by this clock until the test ends."""
    patch.setattr(moto.s3.models, "utcnow", lambda: datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=None))
