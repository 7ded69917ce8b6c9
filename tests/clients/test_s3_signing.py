"""Signed addresses of S3: the example of Amazon's own documentation."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore.config import Config

from app.clients.storage.signing import Credentials, presign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None, "us-east-1")
"""https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""

MOMENT = datetime(2013, 5, 24, tzinfo=UTC)


def test_address_when_it_is_that_of_the_documentation() -> None:
    address = presign(
        "GET", "https://examplebucket.s3.amazonaws.com/test.txt", EXAMPLE, seconds=86400, now=MOMENT
    )
    assert address == (
        "https://examplebucket.s3.amazonaws.com/test.txt"
        "?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_address_when_there_is_a_session_token() -> None:
    temporary = Credentials("AKIA", "secret", "token/+=", "eu-west-3")
    address = presign("GET", "http://127.0.0.1:9000/shop/a b.txt", temporary, seconds=60, now=MOMENT)
    assert address.startswith("http://127.0.0.1:9000/shop/a%20b.txt?")
    assert "&X-Amz-Security-Token=token%2F%2B%3D&" in address


def test_address_when_amazons_own_library_signs_it() -> None:
    """For the same moment both make the same signature, whatever stands in name and query."""
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9000",
        region_name="eu-west-3",
        aws_access_key_id="AKIA",
        aws_secret_access_key="secret",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    query = {"response-content-disposition": 'attachment; filename="a b+c~é.csv"'}
    theirs = client.generate_presigned_url(
        "get_object",
        Params={
            "Bucket": "shop",
            "Key": "a/b c~(é).csv",
            "ResponseContentDisposition": query["response-content-disposition"],
        },
        ExpiresIn=300,
    )
    sent = dict(parse_qsl(urlsplit(theirs).query))
    moment = datetime.strptime(sent["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    credentials = Credentials("AKIA", "secret", None, "eu-west-3")
    ours = presign(
        "GET",
        "http://127.0.0.1:9000/shop/a/b c~(é).csv",
        credentials,
        seconds=300,
        now=moment,
        query=query,
    )
    assert dict(parse_qsl(urlsplit(ours).query)) == sent
    assert urlsplit(ours).path == urlsplit(theirs).path
