"""A real S3 server on this machine that checks signatures: moto's, as a process of its own."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.support.service import PLAIN

PATIENCE = 60
BUCKET = "shop"
SETTING_UP = 4
"""Requests that make the user and the bucket; from the next one on, every one must be signed."""

START = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"

EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and the one key that it knows."""

    endpoint: str
    access_key_id: str
    secret_access_key: str

    @contextmanager
    def unsigned(self) -> Iterator[None]:
        """Let everything pass for a while: signatures in addresses are more than it can check."""
        self._tell("100000")
        yield
        self._tell("0")

    def _tell(self, count: str) -> None:
        address = f"{self.endpoint}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(address, count.encode(), plain)  # noqa: S310 - always http
        urllib.request.urlopen(request, timeout=PATIENCE).close()  # noqa: S310 - as above


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    log = tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", START],
            env={**PLAIN, "INITIAL_NO_AUTH_ACTION_COUNT": str(SETTING_UP)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _set_up(_address(log))
    finally:
        process.kill()
        process.wait()


def _address(log: Path) -> str:
    """Where the server says that it listens."""
    for _ in range(PATIENCE * 20):
        found = re.search(r"Running on (http://\S+)\n", log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the S3 server did not start: {log.read_text()}")


def _set_up(endpoint: str) -> S3Server:
    """Make a user who may do everything, and the bucket."""
    options = {
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": "nobody",
        "aws_secret_access_key": "nothing",
    }
    people = boto3.client("iam", **options)
    people.create_user(UserName="luneo")
    people.put_user_policy(UserName="luneo", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    key = people.create_access_key(UserName="luneo")["AccessKey"]
    boto3.client("s3", **options).create_bucket(Bucket=BUCKET)
    return S3Server(endpoint, key["AccessKeyId"], key["SecretAccessKey"])
