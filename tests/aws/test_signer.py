"""The signature of a GET is the one that botocore makes, and costs none of what botocore costs."""

import datetime as dt
import subprocess
import sys

import pytest
from botocore import auth, awsrequest, credentials, utils
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall.aws.signer import encoded, signed_headers
from samples import fuzz

TEXT = st.text(max_size=40)
LABEL = st.text("abcxyz019-_", min_size=1, max_size=8)
HOSTS = st.builds(
    str.__add__,
    st.lists(LABEL, min_size=1, max_size=4).map(".".join) | st.sampled_from(["[::1]", "[fd00:ec2::254]"]),
    st.sampled_from(["", ":8333", ":9000"]),
)
PIECES = st.sampled_from([*"/%+~ ?#&=;:@*'\"\\.-_aZ0é€😀", "//", ".", "..", "/./", "/../", "%2F", "%25", "\n", "\x7f"])
PATHS = st.lists(PIECES | TEXT, max_size=12).map(lambda parts: "/" + "".join(parts))

NAMES = (
    st.sampled_from(["If-None-Match", "if-none-match", "Range", "x-amz-meta-a", "X-Amz-Meta", "content-md5"])
    | st.sampled_from(auth.SIGNED_HEADERS_BLACKLIST)
    | st.sampled_from(auth.SIGNED_HEADERS_BLACKLIST).map(str.title)
    | st.text("aBx-_.9", min_size=1, max_size=4)  # few and short, so that one often begins as another does
)
VALUES = (
    st.text('"aB9,:; \t\xa0é', max_size=20)
    | st.sampled_from(['"9b2cf535f27731c974343645a3985328"', "  a   b  ", "\t a \t b", "", " "])
    | st.characters(exclude_categories=["C", "Z"]).map(lambda sign: f'W/"{sign}"')
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5, unique_by=lambda pair: pair[0].lower()).map(dict)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1"]) | TEXT
MOMENTS = st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(9999, 12, 31))  # noqa: DTZ001 - as botocore's
TOKENS = st.just("") | st.sampled_from(["FwoGZXIvYXdzE/+=", "a  b "]) | TEXT


def by_botocore(
    url: str, headers: dict[str, str], region: str, moment: dt.datetime, key_id: str, secret: str, token: str
) -> dict[str, str]:
    """All headers of a GET that botocore has signed, but for Host, which its HTTP client adds."""
    request = awsrequest.AWSRequest("GET", url, headers)
    keys = credentials.Credentials(key_id, secret, token or None)
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr(auth, "get_current_datetime", lambda: moment)
        auth.S3SigV4Auth(keys, "s3", region).add_auth(request)
    return dict(request.headers.items())


@fuzz(200)
@given(
    scheme=st.sampled_from(["https", "http"]),
    host=HOSTS,
    path=PATHS,
    headers=HEADERS,
    region=REGIONS,
    moment=MOMENTS,
    key_id=TEXT,
    secret=TEXT,
    token=TOKENS,
)
@example(
    scheme="https",
    host="fleet.s3.eu-central-1.amazonaws.com",
    path="/prod/a b//%41+~/./../ü.json",
    headers={"If-None-Match": '"0"', "x-a:b": "", "x-a-b": "  1   2  ", "User-Agent": "rolecall/1"},
    region="eu-central-1",
    moment=dt.datetime(2026, 11, 22, 10, 15),  # noqa: DTZ001
    key_id="ASIAIOSFODNN7EXAMPLE",
    secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    token="FwoGZXIvYXdzE/+==",
)
def test_every_header_is_that_of_botocore(
    scheme: str,
    host: str,
    path: str,
    headers: dict[str, str],
    region: str,
    moment: dt.datetime,
    key_id: str,
    secret: str,
    token: str,
) -> None:
    url = f"{scheme}://{host}{utils.percent_encode(path, safe='/~')}"  # as botocore's serializer writes a key
    theirs = by_botocore(url, headers, region, moment, key_id, secret, token)
    before = dict(headers)
    ours = signed_headers(host, path, headers, region, f"{moment:%Y%m%dT%H%M%SZ}", key_id, secret, token)
    assert ours == {**theirs, "Host": host}
    assert headers == before, "the caller's own were changed"


@fuzz(100)
@given(PATHS | TEXT)
def test_a_path_is_encoded_as_botocore_encodes_a_key(path: str) -> None:
    assert encoded(path) == utils.percent_encode(path, safe="/~")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/prod/fleet.json", "/prod/fleet.json"),
        ("/AZaz09-._~/", "/AZaz09-._~/"),
        ("/a b+c", "/a%20b%2Bc"),
        ("//a/./../b", "//a/./../b"),
        ("/100%/%2f", "/100%25/%252f"),
        ("/ü€", "/%C3%BC%E2%82%AC"),
        ("/\n\x7f", "/%0A%7F"),
    ],
)
def test_a_path_is_encoded_once_and_not_normalised(path: str, written: str) -> None:
    assert encoded(path) == written


def test_the_published_example_has_its_published_signature() -> None:
    """Amazon S3 API Reference, "Signature Calculations for the Authorization Header", Example: GET Object."""
    host, moment = "examplebucket.s3.amazonaws.com", "20130524T000000Z"
    key_id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert signed_headers(host, "/test.txt", {"Range": "bytes=0-9"}, "us-east-1", moment, key_id, secret, "") == {
        "Range": "bytes=0-9",
        "Host": host,
        "X-Amz-Date": moment,
        "X-Amz-Content-SHA256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    }


HEAVY = {"boto3", "botocore", "requests", "urllib3", "urllib.parse", "http.client", "ssl", "json", "re", "logging"}
HEAVY |= {"datetime", "typing", "dataclasses", "collections", "collections.abc", "enum", "functools", "pathlib"}


def loaded_by(module: str) -> set[str]:
    """What a new interpreter has loaded once it has imported this module."""
    code = f"import sys, {module}\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_signer_loads_nothing_heavy() -> None:
    loaded = loaded_by("rolecall.aws.signer") - loaded_by("sys")
    assert "rolecall.aws.signer" in loaded
    assert not HEAVY & loaded
    assert loaded_by("botocore.auth") >= {"botocore", "json", "re", "ssl"}, "the probe sees nothing"
