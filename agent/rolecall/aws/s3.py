"""A store in S3, or in what speaks its protocol: `s3://bucket/prefix?region=…&endpoint=…&style=path`."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from rolecall.aws.errors import errors, fault_of
from rolecall.aws.multipart import MultipartUpload, parts_of, tags_of
from rolecall.aws.session import AwsSession
from rolecall.causes import fault, moment, too_large
from rolecall.errors import ConfigFault
from rolecall.store import Entry, Stored, checked_key
from rolecall.store.confirmation import confirmed
from rolecall.store.download import PIECE, resumed, without_start

T = TypeVar("T")
_LOOK = 1 << 25  # bytes; more than is ever written under a condition
_LENGTHS = {"content-length", "transfer-encoding"}
_OPTIONS = ("region", "endpoint", "style")


class S3Store:
    """Objects of a bucket below a prefix."""

    def __init__(self, url: str, session: AwsSession) -> None:
        self.session, self.url = session, url
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _wrong_url("it must be a bucket and a prefix, with options after '?'") from None
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(options.keys() - set(_OPTIONS)):
            raise _wrong_url(f"there is no option ?{unknown[0]}=")
        if not parts.netloc or "@" in parts.netloc or parts.fragment:
            raise _wrong_url("it must be a bucket and a prefix, with options after '?'")
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self.region = options.get("region", "")
        self.endpoint = options.get("endpoint", "") or session.settings.endpoints.get("s3", "")
        # A bucket with a dot has no certificate as a host's name; and a server at an address has no names below it.
        self.style = options.get("style") or ("path" if self.endpoint or "." in self.bucket else "virtual")
        if self.style not in ("path", "virtual"):
            raise _wrong_url(f"there is no style {self.style!r}")

    def location(self, key: str) -> str:
        """`s3://bucket/prefix/key`."""
        return f"s3://{self.bucket}/{self._full_key(key)}"

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """GetObject with If-None-Match; S3 answers 304 where nothing has changed."""
        from botocore.exceptions import ClientError

        action = f"read {self.location(key)}"
        condition = {"IfNoneMatch": cached.etag} if cached and cached.etag else {}

        def ask(client: Any) -> Stored:
            try:
                answer = client.get_object(**self._at(key), **condition)
            except ClientError as error:
                if cached and error.response.get("Error", {}).get("Code") == "304":
                    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
                    return Stored(cached.data, cached.etag, moment(headers.get("date")))
                raise
            data = bytearray()
            # To the end, which is where botocore looks whether all has come.
            for piece in self._pieces(answer, action, HTTPStatus.OK):
                data += piece
                if len(data) > limit:
                    raise too_large(action, limit)
            return Stored(
                bytes(data), answer.get("ETag", ""), moment(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
            )

        return self._ask(action, ask)

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """GetObject with Range, and with If-Match where it goes on: of the same object, or not at all."""
        action, seconds = f"read {self.location(key)}", self.session.network.release_timeout

        def begin(at: int, etag: str) -> tuple[Iterator[bytes], str]:
            options = {"Range": f"bytes={at}-"} if at else {}
            options |= {"IfMatch": etag} if etag else {}
            answer = self._ask(action, lambda client: client.get_object(**self._at(key), **options))
            rest = bool(at) and answer.get("ContentRange", "").startswith(f"bytes {at}-")
            pieces = self._pieces(answer, action, HTTPStatus.PARTIAL_CONTENT if rest else HTTPStatus.OK)
            return without_start(pieces, 0 if rest else at), str(answer.get("ETag", ""))

        return resumed(action, seconds, start, begin)

    def resumes(self, key: str) -> bool:
        """Whether a Range is answered with 206."""

        def ask(client: Any) -> bool:
            answer = client.get_object(**self._at(key), Range="bytes=1-")
            answer["Body"].close()
            return bool(answer["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.PARTIAL_CONTENT)

        return self._ask(f"read {self.location(key)}", ask)

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """PutObject; with `replacing` by If-Match or If-None-Match."""
        from botocore.exceptions import ClientError

        action = f"write {self.location(key)}"
        condition = {} if replacing is None else {"IfMatch": replacing} if replacing else {"IfNoneMatch": "*"}

        def ask(client: Any) -> str:
            try:
                return str(client.put_object(**self._at(key), Body=data, **condition).get("ETag", ""))
            except ClientError as error:
                if condition and error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_IMPLEMENTED:
                    raise fault(action, "501: the server takes no conditions", "no-conditions") from None
                raise

        return confirmed(lambda: self._ask(action, ask), lambda: self.get(key, _LOOK), data, replacing)

    def upload(self, key: str, pieces: Iterable[bytes], size: int | None = None) -> str:  # noqa: ARG002
        """A multipart upload of parts that grow with their number; an object of one part is simply put.

        Parts that no upload comes back for cost money until the bucket's lifecycle rule removes them, so that whatever
        ends this one aborts it. Each part has the time of a release.
        """
        parts = parts_of(pieces)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            return self.put(key, first)
        target, action = self._at(key), f"write {self.location(key)}"
        upload = MultipartUpload(self._ask, target, action, self.session.network.release_timeout)
        return upload.send(itertools.chain((first, second), parts))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """ListObjectsV2, page by page. The marks that consoles make for empty folders are no objects of a store."""
        action, root = f"list {self.location(prefix)}", self._full_key("")
        query: dict[str, str] = {"Bucket": self.bucket, "Prefix": root + prefix}
        while True:
            page = self._ask(action, partial(_list_page, query=query))
            for item in page.get("Contents", ()):
                key = str(item["Key"]).removeprefix(root)
                if not key.endswith("/"):
                    yield Entry(key, int(item["Size"]), str(item.get("ETag", "")))
            if not page.get("IsTruncated"):
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """DeleteObject, which is content where there is none."""
        self._ask(f"delete {self.location(key)}", lambda client: client.delete_object(**self._at(key)))

    def has_tag(self, etag: str, pieces: Iterable[bytes]) -> bool:
        """A tag is the MD5 of the content, or of the MD5s of the parts; with a key of KMS it is neither."""
        return etag in tags_of(pieces)

    def watched_paths(self, key: str) -> tuple[str, ...]:  # noqa: ARG002 - the contract of all stores
        """Nothing on this machine."""
        return ()

    def revalidation(self, key: str, etag: str) -> str:
        """A signed conditional GET."""
        region = self.region or self.session.region()
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        parts = urlsplit(self.endpoint or f"https://s3.{region}.{domain}")
        host, path = parts.netloc, f"/{self._at(key)['Key']}"
        if self.style == "path":
            path = f"/{self.bucket}{path}"
        else:
            host = f"{self.bucket}.{host}"
        network = self.session.network
        if not etag.isascii() or not etag.isprintable():
            return ""
        fields = ("aws", parts.scheme, host, path, etag, region, network.ca or "", str(network.timeout))
        return "\t".join(fields)

    def _full_key(self, key: str) -> str:
        return f"{self.prefix}/{key}".lstrip("/")

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._full_key(checked_key(key))}

    def _ask(self, action: str, ask: Callable[[Any], T], seconds: float | None = None) -> T:
        """What S3 answers within `seconds`, by default those of a small object."""
        client = partial(self.session.client, "s3", self.region, self.endpoint, self.style)
        return self.session.ask(action, seconds or self.session.network.timeout, client, ask)

    def _pieces(self, answer: Any, action: str, expected: int) -> Iterator[bytes]:
        about, body = answer["ResponseMetadata"], answer["Body"]
        try:
            with body:
                # Without a length an end is no different from a cut, also in the middle of the head.
                if about["HTTPStatusCode"] != expected or not _LENGTHS & about["HTTPHeaders"].keys():
                    raise fault(action, "the answer is not the object", "broken-answer")
                yield from iter(lambda: body.read(PIECE), b"")
        except errors() as error:
            raise fault_of(error, action) from None


def _list_page(client: Any, query: dict[str, str]) -> Any:
    return client.list_objects_v2(**query)


def _wrong_url(why: str) -> ConfigFault:
    """The URL itself is not shown: somebody may have put a secret into it."""
    return ConfigFault(f"the s3:// URL of a store is wrong: {why}", "s3://bucket/prefix?region=…&endpoint=…&style=path")
