"""Blobs in clear on S3: a pull is sent on to the bucket, where the operator says so, and pushes come here."""

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.requirements import require_tool
from tests.running import RunningServer, running_server
from tests.s3_servers import S3Server
from tests.scenario.drivers import Registry, WireDriver, authorization, variables
from tests.scenario.images import SmallImage, digest_of
from tests.scenario.storages import Storages

IMAGE = SmallImage.named("redirected")


@pytest.fixture(scope="module")
def server(storages: Storages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server over SQLite and a bucket, which redirects."""
    s3 = storages.swift
    settings = {
        **s3.settings(s3.make_bucket()),
        "s3_redirect": "true",
        "storage_encrypt_at_rest": "false",
    }
    with running_server(tmp_path_factory.mktemp("redirects"), settings=variables(settings)) as running:
        yield running
