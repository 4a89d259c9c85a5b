"""The policies in packaging/iam, as moto enforces them; and as they are written, where moto does not look."""

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rolecall.node.providers import Providers
from rolecall.settings import Access, Aws
from servers.moto import ACCOUNT, REGION, Key, Moto

IAM = Path(__file__).parents[2] / "packaging" / "iam"
POLICIES = ["node", "publisher"]
BUCKET, PREFIX, OTHER = "acme-fleets", "prod", "production"  # OTHER begins like PREFIX
WORDS = {"BUCKET": BUCKET, "PREFIX": PREFIX, "REGION": REGION, "ACCOUNT": ACCOUNT, "KEY": "1234abcd-12ab"}

DOCUMENT = f"{PREFIX}/fleet.json"
RELEASE = f"{PREFIX}/releases/blog/1.tar.gz"
REPORT = f"{PREFIX}/reports/web1.json"
CHECK = f"{PREFIX}/check-0123456789ab-create"
KEPT = f"{PREFIX}/history/2.json"
PARAMETERS = [f"/{PREFIX}/blog/{n}" for n in range(10)]
TEN = {"Names": PARAMETERS, "WithDecryption": True}
SECRET = {"SecretId": f"{PREFIX}/blog"}


def policy(name: str) -> dict[str, Any]:
    """A shipped policy with its words replaced, as the README says."""
    text = (IAM / f"{name}.json").read_text()
    for word, value in WORDS.items():
        text = text.replace(word, value)
    made: dict[str, Any] = json.loads(text)
    return made


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# As moto enforces them

Call = tuple[str, str, dict[str, Any]]


def get(key: str) -> Call:
    return "s3", "get_object", {"Bucket": BUCKET, "Key": key}


def put(key: str, **headers: str) -> Call:
    return "s3", "put_object", {"Bucket": BUCKET, "Key": key, "Body": b"new", **headers}


def delete(key: str) -> Call:
    return "s3", "delete_object", {"Bucket": BUCKET, "Key": key}


def list_bucket(bucket: str, prefix: str) -> Call:
    return "s3", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix}


NODE_MAY: dict[str, Call] = {
    "read the document": get(DOCUMENT),
    "read a release": get(RELEASE),
    "list releases": list_bucket(BUCKET, f"{PREFIX}/releases/"),
    "write a report": put(REPORT),
    "read a report": get(REPORT),
    "read ten parameters at once": ("ssm", "get_parameters", TEN),
    "read a secret": ("secretsmanager", "get_secret_value", SECRET),
}
NODE_MAY_NOT: dict[str, Call] = {
    "write the document": put(DOCUMENT),
    "write a release": put(RELEASE),
    "write elsewhere in the store": put(f"{PREFIX}/reports"),
    "write a report of another prefix": put(f"{OTHER}/reports/web1.json"),
    "read a report of another prefix": get(f"{OTHER}/reports/web1.json"),
    "read the document of another prefix": get(f"{OTHER}/fleet.json"),
    "read a release of another prefix": get(f"{OTHER}/releases/blog/1.tar.gz"),
    "delete the document": delete(DOCUMENT),
    "delete a release": delete(RELEASE),
    "delete a report": delete(REPORT),
    "tag a report": ("s3", "put_object_tagging", {"Bucket": BUCKET, "Key": REPORT, "Tagging": {"TagSet": []}}),
    "list another bucket": list_bucket("another-bucket", f"{PREFIX}/releases/"),
    "list the buckets": ("s3", "list_buckets", {}),
    "read the bucket's policy": ("s3", "get_bucket_policy", {"Bucket": BUCKET}),
    "read a parameter of another prefix": ("ssm", "get_parameters", {"Names": [f"/{OTHER}/blog"]}),
    "read it together with its own": ("ssm", "get_parameters", {"Names": [*PARAMETERS[:9], f"/{OTHER}/blog"]}),
    "read all parameters": ("ssm", "get_parameters_by_path", {"Path": f"/{PREFIX}"}),
    "list parameters": ("ssm", "describe_parameters", {}),
    "write a parameter": ("ssm", "put_parameter", {"Name": PARAMETERS[0], "Value": "new", "Overwrite": True}),
    "delete a parameter": ("ssm", "delete_parameter", {"Name": PARAMETERS[0]}),
    "read a secret of another prefix": ("secretsmanager", "get_secret_value", {"SecretId": f"{OTHER}/blog"}),
    "list secrets": ("secretsmanager", "list_secrets", {}),
    "write a secret": ("secretsmanager", "put_secret_value", {**SECRET, "SecretString": "new"}),
    "delete a secret": ("secretsmanager", "delete_secret", SECRET),
    "make itself a user": ("iam", "create_user", {"UserName": "mallory"}),
}
PUBLISHER_MAY: dict[str, Call] = {
    "read the document": get(DOCUMENT),
    "read a release": get(RELEASE),
    "read a report": get(REPORT),
    "list the store": list_bucket(BUCKET, f"{PREFIX}/"),
    "write a release": put(RELEASE),
    "prove that the store keeps to conditions": put(CHECK),
    "remove what proved it": delete(CHECK),
    "keep a document": put(f"{PREFIX}/history/3.json", IfNoneMatch="*"),
    "read a kept document": get(KEPT),
    "remove an old document": delete(KEPT),
}
PUBLISHER_MAY_NOT: dict[str, Call] = {
    "write a report": put(REPORT),
    "write elsewhere in the store": put(f"{PREFIX}/fleet.json.old"),
    "write the document of another prefix": put(f"{OTHER}/fleet.json", IfNoneMatch="*"),
    "write a release of another prefix": put(f"{OTHER}/releases/blog/1.tar.gz"),
    "read the document of another prefix": get(f"{OTHER}/fleet.json"),
    "delete the document": delete(DOCUMENT),
    "delete a release": delete(RELEASE),
    "delete a report": delete(REPORT),
    "list another bucket": list_bucket("another-bucket", f"{PREFIX}/"),
    "read parameters": ("ssm", "get_parameters", TEN),
    "write a parameter": ("ssm", "put_parameter", {"Name": PARAMETERS[0], "Value": "new", "Overwrite": True}),
    "read a secret": ("secretsmanager", "get_secret_value", SECRET),
    "write a secret": ("secretsmanager", "put_secret_value", {**SECRET, "SecretString": "new"}),
}


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as started:
        s3, ssm, secrets = (started.client(service) for service in ("s3", "ssm", "secretsmanager"))
        s3.create_bucket(Bucket="another-bucket")
        s3.create_bucket(Bucket=BUCKET)
        for key in (DOCUMENT, RELEASE, REPORT, KEPT):
            s3.put_object(Bucket=BUCKET, Key=key, Body=b"old")
            s3.put_object(Bucket=BUCKET, Key=key.replace(PREFIX, OTHER), Body=b"old")
        for name in [*PARAMETERS, f"/{OTHER}/blog"]:
            ssm.put_parameter(Name=name, Value="old", Type="SecureString")
        for prefix in (PREFIX, OTHER):
            secrets.create_secret(Name=f"{prefix}/blog", SecretString="old")
        yield started


@pytest.fixture(scope="module")
def node(moto: Moto) -> Key:
    return moto.principal("node", policy("node"))


@pytest.fixture(scope="module")
def publisher(moto: Moto) -> Key:
    return moto.principal("publisher", policy("publisher"))


def ask(moto: Moto, key: Key, call: Call) -> dict[str, Any]:
    service, action, arguments = call
    answer: dict[str, Any] = getattr(moto.client(service, key), action)(**arguments)
    return answer


def refusal(moto: Moto, key: Key, call: Call) -> str:
    """The code of the error that the call ends with."""
    with pytest.raises(ClientError) as caught:
        ask(moto, key, call)
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("what", NODE_MAY)
def test_a_node_may(what: str, moto: Moto, node: Key) -> None:
    assert ask(moto, node, NODE_MAY[what])["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)


@pytest.mark.parametrize("what", NODE_MAY_NOT)
def test_a_node_may_not(what: str, moto: Moto, node: Key) -> None:
    assert refusal(moto, node, NODE_MAY_NOT[what]) in ("AccessDenied", "AccessDeniedException")


@pytest.mark.parametrize("what", PUBLISHER_MAY)
def test_a_publisher_may(what: str, moto: Moto, publisher: Key) -> None:
    assert ask(moto, publisher, PUBLISHER_MAY[what])["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)


def test_a_publisher_copies_a_fleet_and_leaves_no_part_of_what_breaks_off(moto: Moto, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.touch(0o600)
    with credentials.open("w") as file:
        key = moto.principal("copier", policy("publisher"))
        file.write(f"[default]\naws_access_key_id = {key.access_key_id}\naws_secret_access_key = {key.secret}\n")
        file.write(f"aws_session_token = {key.token}\n")
    access = Access(aws=Aws(credentials=f"file:{credentials}", region=REGION, endpoints={"s3": moto.url}))
    store = Providers(access).open_store(f"s3://{BUCKET}/{PREFIX}")
    data = os.urandom(9 * 2**20)
    tag = store.upload("releases/copied.tar", iter([data]))
    listed = {entry.key: (entry.size, entry.etag) for entry in store.list("releases/")}
    assert listed["releases/copied.tar"] == (len(data), tag)
    assert store.has_tag(tag, [data])

    def pieces() -> Iterator[bytes]:
        yield data
        yield data
        raise InterruptedError

    with pytest.raises(InterruptedError):
        store.upload("releases/broken.tar", pieces())
    assert "Uploads" not in moto.client("s3").list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize("what", PUBLISHER_MAY_NOT)
def test_a_publisher_may_not(what: str, moto: Moto, publisher: Key) -> None:
    assert refusal(moto, publisher, PUBLISHER_MAY_NOT[what]) in ("AccessDenied", "AccessDeniedException")


def test_nobody_deletes_several_objects_at_once(moto: Moto, node: Key, publisher: Key) -> None:
    keys = [{"Key": key} for key in (DOCUMENT, RELEASE, REPORT)]
    for who in (node, publisher):
        answer = ask(moto, who, ("s3", "delete_objects", {"Bucket": BUCKET, "Delete": {"Objects": keys}}))
        assert {error["Code"] for error in answer["Errors"]} == {"AccessDenied"}
        assert "Deleted" not in answer


def test_a_node_is_told_of_a_key_parameter_and_secret_that_are_not_there(moto: Moto, node: Key) -> None:
    # S3 says NoSuchKey because the node may list the key, moto because the node may read it: see the test of listing.
    assert refusal(moto, node, get(f"{PREFIX}/releases/none.tar.gz")) == "NoSuchKey"
    nothing = ask(moto, node, ("ssm", "get_parameters", {"Names": [f"/{PREFIX}/none"]}))
    assert nothing["InvalidParameters"] == [f"/{PREFIX}/none"]
    nothing_secret: Call = ("secretsmanager", "get_secret_value", {"SecretId": f"{PREFIX}/none"})
    assert refusal(moto, node, nothing_secret) == "ResourceNotFoundException"


def test_a_publisher_replaces_the_document_it_has_read_and_no_other(moto: Moto, publisher: Key) -> None:
    tag = ask(moto, publisher, get(DOCUMENT))["ETag"]
    assert refusal(moto, publisher, put(DOCUMENT, IfNoneMatch="*")) == "PreconditionFailed"
    ask(moto, publisher, put(DOCUMENT, IfMatch=tag))
    assert refusal(moto, publisher, put(DOCUMENT, IfMatch=tag)) == "PreconditionFailed"
    assert ask(moto, publisher, get(DOCUMENT))["Body"].read() == b"new"


CALLER: Call = ("sts", "get_caller_identity", {})


def test_a_wrong_secret_is_told_as_a_signature_that_does_not_match(moto: Moto, node: Key) -> None:
    wrong = node._replace(secret="x" * 40)
    assert refusal(moto, wrong, get(DOCUMENT)) == "SignatureDoesNotMatch"
    assert refusal(moto, wrong, CALLER) == "SignatureDoesNotMatch"
    assert refusal(moto, wrong, NODE_MAY["read a secret"]) == "InvalidSignatureException"


def test_an_unknown_key_is_told_as_unknown(moto: Moto, node: Key) -> None:
    unknown = node._replace(access_key_id="ASIA" + "A" * 16)
    assert refusal(moto, unknown, get(DOCUMENT)) == "InvalidAccessKeyId"
    assert refusal(moto, unknown, CALLER) == "InvalidClientTokenId"
    assert refusal(moto, unknown, NODE_MAY["read a secret"]) == "UnrecognizedClientException"


def test_another_session_token_is_refused(moto: Moto, node: Key) -> None:
    assert refusal(moto, node._replace(token="x"), get(DOCUMENT)) == "InvalidToken"
    assert refusal(moto, node._replace(token=None), get(DOCUMENT)) == "InvalidAccessKeyId"


# As they are written


def permitting(name: str, action: str) -> list[dict[str, Any]]:
    """The statements of a policy that speak of an action."""
    return [statement for statement in policy(name)["Statement"] if action in listed(statement["Action"])]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_permits_named_actions_on_named_resources_and_nothing_else(name: str) -> None:
    document = policy(name)
    assert document.keys() == {"Version", "Statement"}
    assert document["Version"] == "2012-10-17"
    for statement in document["Statement"]:
        assert statement.keys() - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert re.fullmatch("(s3|ssm|secretsmanager|kms):[A-Z][A-Za-z]+", action)
        for resource in listed(statement["Resource"]):
            assert re.fullmatch(r"arn:aws:[a-z0-9]+:[^*?$]+([/-]\*)?", resource)
    names = [statement["Sid"] for statement in document["Statement"]]
    assert len(names) == len(set(names))


def test_the_policies_permit_these_actions() -> None:
    actions = {
        name: {action for statement in policy(name)["Statement"] for action in listed(statement["Action"])}
        for name in POLICIES
    }
    store = {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}
    assert actions["node"] == store | {"ssm:GetParameters", "secretsmanager:GetSecretValue", "kms:Decrypt"}
    assert actions["publisher"] == store | {"s3:AbortMultipartUpload", "s3:DeleteObject"}


# moto takes every condition for met: what the conditions say is compared here, with the meaning that AWS gives them.


@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        ("node", [DOCUMENT, RELEASE, f"{PREFIX}/releases/"], ["", PREFIX, f"{PREFIX}/", REPORT, f"{OTHER}/fleet.json"]),
        (
            "publisher",
            [DOCUMENT, RELEASE, REPORT, f"{PREFIX}/"],
            ["", PREFIX, OTHER, f"{OTHER}/", f"{OTHER}/fleet.json"],
        ),
    ],
)
def test_what_may_be_listed_is_limited_by_the_prefix(name: str, may: list[str], may_not: list[str]) -> None:
    (statement,) = permitting(name, "s3:ListBucket")
    assert statement["Resource"] == f"arn:aws:s3:::{BUCKET}"
    assert statement["Condition"].keys() == {"StringLike"}
    assert statement["Condition"]["StringLike"].keys() == {"s3:prefix"}
    patterns = listed(statement["Condition"]["StringLike"]["s3:prefix"])
    assert [key for key in [*may, *may_not] if any(fnmatchcase(key, pattern) for pattern in patterns)] == may


def conditions_of_writing(key: str) -> list[dict[str, Any]]:
    """On which conditions a publisher may write a key."""
    arn = f"arn:aws:s3:::{BUCKET}/{key}"
    return [
        statement["Condition"]
        for statement in permitting("publisher", "s3:PutObject")
        if any(fnmatchcase(arn, resource) for resource in listed(statement["Resource"]))
    ]


def test_a_publisher_writes_the_document_only_with_a_conditional_header() -> None:
    assert conditions_of_writing(DOCUMENT) == [
        {"Null": {"s3:if-none-match": "false"}},
        {"Null": {"s3:if-match": "false"}},
    ]


def test_a_publisher_writes_over_no_document_that_is_kept() -> None:
    assert conditions_of_writing(KEPT) == [{"Null": {"s3:if-none-match": "false"}}]


def test_a_node_decrypts_with_one_key_and_by_way_of_the_two_services_only() -> None:
    (statement,) = permitting("node", "kms:Decrypt")
    assert statement["Resource"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{WORDS['KEY']}"
    services = [f"ssm.{REGION}.amazonaws.com", f"secretsmanager.{REGION}.amazonaws.com"]
    assert statement["Condition"] == {"StringEquals": {"kms:ViaService": services}}


# What the README says of them


@pytest.mark.parametrize("name", POLICIES)
def test_the_readme_names_every_statement_and_every_word_to_replace(name: str) -> None:
    readme = (IAM / "README.md").read_text()
    section = readme.partition(f"## {name}.json\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
        statement["Sid"] for statement in policy(name)["Statement"]
    ]
    words = set(re.findall("[A-Z]{3,}", (IAM / f"{name}.json").read_text()))
    assert words <= WORDS.keys()
    assert [word for word in words if f"`{word}`" not in readme or f"s|{word}|" not in readme] == []
