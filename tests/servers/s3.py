"""An S3 of the tests' own: it checks signatures, conditions and checksums as S3 does, and breaks on demand.

Its promises are proved with boto3 in test_s3_server.py. What it does not know (versions, presigned URLs) it refuses
with 501, so that no test passes because something was ignored; only metadata are dropped.
As a program, from tests/: `python -m servers.s3 8333` prints what a client needs to know.
"""

import base64
import calendar
import hashlib
import hmac
import io
import re
import socket
import ssl
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from fnmatch import fnmatchcase
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, BinaryIO, Self, cast
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape, unescape

KEY_ID, SECRET, REGION, BUCKET = "AKIATESTS", "secret-of-the-tests", "us-east-1", "bucket"
MAX_SKEW = 15 * 60
MIN_PART, MAX_PARTS = 5 << 20, 10_000  # bytes of every part but the last, and how many parts there can be
FAULTS: dict[int | str, str] = {
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "ConditionalRequestConflict",
    500: "InternalError",
    503: "SlowDown",
    "reset": "resets the connection before any answer; nothing is applied",
    "hang": "never answers, until stop",
    "delay": "answers rightly, `seconds` later",
    "slow": "sends a byte every `seconds` of one `part`: body or header",
    "truncate": "announces the whole body, sends half of it and closes",
    "cut": "announces the whole body, sends `size` bytes of it and closes",
    "corrupt": "one bit in the middle of the body is wrong; ETag and checksum are of the right one",
    "oversize": "the body does not end, and no length is announced",
    "lost": "does what is asked, then closes without an answer",
}
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/((\d{8})/([^/,]+)/s3/aws4_request), *"
    r"SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})"
)
CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda data: hashlib.md5(data).digest(),
    "x-amz-checksum-crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "x-amz-checksum-sha256": lambda data: hashlib.sha256(data).digest(),
}


@dataclass(frozen=True)
class AccessKey:
    """Who may ask. With a `token` it is a temporary key; it `expires` in seconds since 1970 on the server's clock."""

    secret: str = SECRET
    token: str | None = None
    expires: float | None = None
    # GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload; "bucket/prefix"
    allowed: Sequence[tuple[str, str]] = (("*", ""),)

    def may(self, action: str, name: str) -> bool:
        """Whether it may do this to "bucket/key"."""
        return any(granted in ("*", action) and name.startswith(prefix) for granted, prefix in self.allowed)


@dataclass
class Request:
    """A request: path and headers as they came. `status` is what was answered, 0 for nothing (yet)."""

    method: str
    path: str
    headers: "Message[str, str]"
    body: bytes = field(default=b"", repr=False)
    status: int = 0

    def __post_init__(self) -> None:
        path, _, query = self.path.partition("?")
        self.query = parse_qsl(query, keep_blank_values=True)
        self.place = unquote(path)
        host = re.sub(r":\d+$", "", self.headers.get("Host", ""))
        if re.fullmatch(r"\[.*\]|[\d.]+|[^.]*|s3[.-].*", host):  # an address, a bare name, or S3's own: path style
            self.bucket, _, self.key = self.place[1:].partition("/")
        else:
            self.bucket, self.key = host.partition(".")[0], self.place[1:]


@dataclass
class Answer:
    """An answer; Date and Content-Length are added when it is sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Refusal(Exception):
    """An error of S3; `details` are further elements of its XML."""

    def __init__(self, status: int, code: str, headers: dict[str, str] | None = None, **details: str) -> None:
        super().__init__(status, code)
        error = {"Code": code, "Message": code, **details, "RequestId": "TESTS", "HostId": "tests"}
        self.answer = Answer(status, {"Content-Type": "application/xml", **(headers or {})}, document("Error", error))


@dataclass
class Fault:
    """What goes wrong, and for which requests: `key` is a shell pattern, `times` counts down to 0."""

    kind: int | str
    method: str | None = None
    key: str | None = None
    times: int | None = None
    seconds: float = 1.0
    size: int = 0
    part: str = "body"
    retry_after: int | None = None

    def take(self, request: Request) -> bool:
        """Whether it is for this request; then it is used up by one."""
        fits = self.method in (None, request.method) and fnmatchcase(request.key, self.key or "*") and self.times != 0
        if fits and self.times:
            self.times -= 1
        return fits

    def strike(self) -> None:
        """Answer an error, if the fault is one."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if isinstance(self.kind, int):
            raise Refusal(self.kind, FAULTS[self.kind], headers)


def document(name: str, value: object) -> bytes:
    """An XML document."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element(name, value)}'.encode()


def element(name: str, value: object) -> str:
    """An XML element; of a dict with elements inside, of a list one for each item."""
    if isinstance(value, list):
        return "".join(element(name, item) for item in value)
    inside = "".join(element(*item) for item in value.items()) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inside}</{name}>"


def checksum(header: str, data: bytes) -> str:
    """The value of a header of CHECKSUMS."""
    return base64.b64encode(CHECKSUMS[header](data)).decode()


def etag_of(data: bytes) -> str:
    """The quoted MD5."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def matches(condition: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match is about this ETag; S3 takes ETags without quotes too."""
    return condition == "*" or etag.strip('"') in [one.strip(' "') for one in condition.split(",")]


def authenticated(request: Request, keys: Mapping[str, AccessKey], region: str, now: float) -> AccessKey:
    """The key that signed the whole request, for this region, now."""
    headers = request.headers
    if "Authorization" not in headers:
        raise Refusal(403, "AccessDenied")
    match, stamp = AUTHORIZATION.fullmatch(headers["Authorization"]), headers.get("X-Amz-Date", "")
    if not match or not re.fullmatch(match[3] + r"T\d{6}Z", stamp):
        raise Refusal(400, "AuthorizationHeaderMalformed")
    key_id, scope, _, signed_for, names, signature = match.groups()
    if signed_for != region:
        raise Refusal(400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": region}, Region=region)
    if abs(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - now) > MAX_SKEW:
        raise Refusal(403, "RequestTimeTooSkewed", RequestTime=stamp, ServerTime=formatdate(now, usegmt=True))
    key = valid(keys.get(key_id), headers.get("X-Amz-Security-Token"), now)
    unsigned = {name.lower() for name in headers} - set(names.split(";"))
    if "host" in unsigned or any(name.startswith("x-amz-") for name in unsigned):
        raise Refusal(403, "AccessDenied", HeadersNotSigned=", ".join(unsigned))
    if signature != signature_of(request, key.secret, scope, stamp, names):
        raise Refusal(403, "SignatureDoesNotMatch")
    return key


def valid(key: AccessKey | None, token: str | None, now: float) -> AccessKey:
    """A key that exists, with its session token, in time. S3 does not know a temporary key without its token."""
    if key is None or (key.token and token is None):
        raise Refusal(403, "InvalidAccessKeyId")
    if token != key.token:
        raise Refusal(400, "InvalidToken")
    if key.expires is not None and now >= key.expires:
        raise Refusal(400, "ExpiredToken")
    return key


def signature_of(request: Request, secret: str, scope: str, stamp: str, names: str) -> str:
    """Signature version 4 of the request as S3 reads it: path and query are encoded again, by its own rules."""
    query = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query)
    canonical = f"{request.method}\n{quote(request.place, safe='/-_.~')}\n"
    canonical += "&".join(f"{name}={value}" for name, value in query) + "\n"
    for name in names.split(";"):
        canonical += f"{name}:{' '.join(','.join(request.headers.get_all(name, [])).split())}\n"
    canonical += f"\n{names}\n{request.headers.get('X-Amz-Content-SHA256', '')}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def dechunked(stream: BinaryIO) -> tuple[bytes, dict[str, str]]:
    """Body and trailers of a chunked transfer, and of aws-chunked, which has the same form and travels inside one."""
    parts, trailers = [], {}
    while size := int(stream.readline(), 16):
        parts.append(stream.read(size))
        stream.readline()
    while line := stream.readline().strip().decode():
        name, _, value = line.partition(":")
        trailers[name.lower()] = value.strip()
    return b"".join(parts), trailers


def verified(request: Request) -> bytes:
    """What is to be stored, if it is what the client's checksums say."""
    data, claims = request.body, {name.lower(): value for name, value in request.headers.items()}
    sha256 = claims.get("x-amz-content-sha256")
    if sha256 == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        data, trailers = dechunked(io.BytesIO(data))
        if claims.get("x-amz-trailer", "") not in ["", *trailers]:
            raise Refusal(400, "MalformedTrailerError")
        if claims.get("x-amz-decoded-content-length") != str(len(data)):
            raise Refusal(400, "IncompleteBody")
        claims |= trailers
    elif sha256 not in ("UNSIGNED-PAYLOAD", hashlib.sha256(data).hexdigest()):
        raise Refusal(400, "XAmzContentSHA256Mismatch")
    for name in claims:
        if name.startswith("x-amz-checksum-") and name not in CHECKSUMS:
            raise Refusal(501, "NotImplemented", Header=name)
        if name in CHECKSUMS and claims[name] != checksum(name, data):
            raise Refusal(400, "BadDigest", Header=name)
    return data


def wanted(spec: str | None, size: int) -> range | None:
    """The bytes that a Range asks for; None for all, which is also what a Range that is not understood gets."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", spec or "")
    if not match or not any(match.groups()) or (all(match.groups()) and int(match[2]) < int(match[1])):
        return None
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(size - 1, int(match[2])) if match[1] and match[2] else size - 1
    if first > last:
        raise Refusal(416, "InvalidRange", {"Content-Range": f"bytes */{size}"}, RangeRequested=match[0])
    return range(first, last + 1)


@dataclass
class Upload:
    """A multipart upload: the bucket and key it is for, and the parts that have come by now."""

    target: tuple[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class S3Server:
    """`buckets` with their regions, access `keys`, `objects` by (bucket, key), and all `requests` so far."""

    def __init__(
        self,
        buckets: Mapping[str, str] | None = None,
        keys: Mapping[str, AccessKey] | None = None,
        *,
        region: str = REGION,
        host: str = "127.0.0.1",
        port: int = 0,
        context: ssl.SSLContext | None = None,
        checksums: bool = True,
    ) -> None:
        self.region, self.host, self.port, self.context = region, host, port, context
        self.buckets, self.keys = dict(buckets or {BUCKET: region}), dict(keys or {KEY_ID: AccessKey()})
        self.checksums = checksums  # whether boto3 is given a checksum, by which it notices wrong bytes itself
        self.objects: dict[tuple[str, str], bytes] = {}
        self.tags: dict[tuple[str, str], str] = {}  # of the objects whose tag is not their MD5
        self.uploads: dict[str, Upload] = {}  # multipart uploads that are neither complete nor aborted
        self.modified: dict[tuple[str, str], float] = {}
        self.requests: list[Request] = []
        self.mistakes: list[BaseException] = []  # of this server itself; raised at the end of `with`
        self.conditions = "kept"  # of a PUT; `ignored`: the write is done; `unknown`: 501 to an If-Match, as Swift
        self.ranges = self.revalidates = True  # whether a Range, or the tag of a GET, is looked at
        self.page = 1000  # keys in one answer to a listing, at most
        self.stopping = threading.Event()
        self._ahead = 0.0
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._listener: _Listener | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.mistakes:
            raise self.mistakes[0]

    @property
    def url(self) -> str:
        """The endpoint."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"

    def start(self) -> None:
        """Listen; after a stop on the same port, with the same objects."""
        self.stopping.clear()
        self._listener = _Listener(self)
        self.port = self._listener.server_address[1]

    def stop(self) -> None:
        """Refuse connections, and end those that are open, hanging ones too."""
        listener, self._listener = self._listener, None
        if listener:
            self.stopping.set()
            listener.end()

    def fault(self, kind: int | str, **options: Any) -> None:
        """Let requests go wrong: a key of FAULTS, with fields of Fault. Of several that fit a request, the first."""
        if kind not in FAULTS:
            raise ValueError(f"no such fault: {kind}")
        self._faults.append(Fault(kind, **options))

    def heal(self) -> None:
        """No faults from the next request on."""
        self._faults = []

    def forget(self) -> None:
        """Clear the list of requests."""
        self.requests.clear()

    def skew(self, seconds: float) -> None:
        """Set the server's clock this much ahead of the machine's."""
        self._ahead = seconds

    def now(self) -> float:
        """Seconds since 1970 on the server's clock."""
        return time.time() + self._ahead

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Store an object without asking; the bucket is made if need be."""
        with self._lock:
            self.buckets.setdefault(bucket, self.region)
            self.objects[bucket, key], self.modified[bucket, key] = data, self.now()
            self.tags.pop((bucket, key), None)

    def get(self, bucket: str, key: str) -> bytes:
        """What is stored."""
        return self.objects[bucket, key]

    def taken(self, request: Request) -> Fault:
        """The fault for a request; one of no kind if all is well."""
        with self._lock:
            return next((fault for fault in self._faults if fault.take(request)), Fault(""))

    def answer(self, request: Request) -> Answer:
        """The right answer. A bucket and its region are looked up first: to S3 they are no secret."""
        home = self.buckets.get(request.bucket)
        if home is None:
            raise Refusal(404, "NoSuchBucket", BucketName=request.bucket)
        if home != self.region:
            raise Refusal(301, "PermanentRedirect", {"x-amz-bucket-region": home}, Bucket=request.bucket)
        access = authenticated(request, self.keys, self.region, self.now())
        answers: dict[str, Callable[[Request, AccessKey], Answer]] = {"GET": self._list, "HEAD": self._list}
        if request.key:
            answers = {"GET": self._read, "HEAD": self._read, "PUT": self._write, "DELETE": self._delete}
        if request.key and request.query:
            answers = self._upload_answers(dict(request.query).keys())
        if request.method not in answers:
            raise Refusal(501, "NotImplemented")
        with self._lock:
            return answers[request.method](request, access)

    def _permit(self, access: AccessKey, action: str, name: str) -> None:
        if not access.may(action, name):
            raise Refusal(403, "AccessDenied", Action=f"s3:{action}", Resource=name)

    def _present(self, request: Request, access: AccessKey) -> bytes:
        """An object that may be read. Who may not list the bucket is not told what is missing."""
        self._permit(access, "GetObject", f"{request.bucket}/{request.key}")
        data = self.objects.get((request.bucket, request.key))
        if data is None:
            self._permit(access, "ListBucket", f"{request.bucket}/")
            raise Refusal(404, "NoSuchKey", Key=request.key)
        return data

    def _tag(self, bucket: str, key: str) -> str:
        return self.tags.get((bucket, key)) or etag_of(self.objects[bucket, key])

    def _read(self, request: Request, access: AccessKey) -> Answer:
        data, asked = self._present(request, access), request.headers
        etag, modified = self._tag(request.bucket, request.key), self.modified.get((request.bucket, request.key), 0)
        headers = {"ETag": etag, "Last-Modified": formatdate(modified, usegmt=True), "Accept-Ranges": "bytes"}
        if "If-Match" in asked and not matches(asked["If-Match"], etag):
            raise Refusal(412, "PreconditionFailed", Condition="If-Match")
        if self.revalidates and "If-None-Match" in asked and matches(asked["If-None-Match"], etag):
            return Answer(304, headers)
        headers["Content-Type"] = "binary/octet-stream"
        if self.ranges and (part := wanted(asked["Range"], len(data))):
            headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{len(data)}"
            return Answer(206, headers, data[part.start : part.stop])
        if self.checksums and asked["x-amz-checksum-mode"] == "ENABLED":
            headers["x-amz-checksum-crc32"] = checksum("x-amz-checksum-crc32", data)
        return Answer(200, headers, data)

    def _write(self, request: Request, access: AccessKey) -> Answer:
        """A PUT; with If-Match it needs s3:GetObject too, as with S3."""
        self._permit(access, "PutObject", f"{request.bucket}/{request.key}")
        data, asked = verified(request), request.headers
        if asked["If-None-Match"] not in (None, "*") or "x-amz-copy-source" in asked:
            raise Refusal(501, "NotImplemented")
        if self.conditions == "ignored":
            asked = Message()
        if self.conditions == "unknown" and "If-Match" in asked:
            raise Refusal(501, "NotImplemented")
        if "If-None-Match" in asked and (request.bucket, request.key) in self.objects:
            raise Refusal(412, "PreconditionFailed", Condition="If-None-Match")
        if "If-Match" in asked:
            self._present(request, access)
            if not matches(asked["If-Match"], self._tag(request.bucket, request.key)):
                raise Refusal(412, "PreconditionFailed", Condition="If-Match")
        self.put(request.bucket, request.key, data)
        return Answer(200, {"ETag": etag_of(data)})

    def _delete(self, request: Request, access: AccessKey) -> Answer:
        self._permit(access, "DeleteObject", f"{request.bucket}/{request.key}")
        if "If-Match" in request.headers:
            raise Refusal(501, "NotImplemented", Header="If-Match")
        self.objects.pop((request.bucket, request.key), None)
        return Answer(204)

    def _upload_answers(self, query: Iterable[str]) -> dict[str, Callable[[Request, AccessKey], Answer]]:
        """What there is to do with a multipart upload, by the names in the query."""
        match sorted(query):
            case ["uploads"]:
                return {"POST": self._begin_upload}
            case ["partNumber", "uploadId"]:
                return {"PUT": self._write_part}
            case ["uploadId"]:
                return {"POST": self._complete_upload, "DELETE": self._abort_upload}
        return {}

    def _upload(self, request: Request) -> "Upload":
        upload = self.uploads.get(dict(request.query)["uploadId"])
        if upload is None or upload.target != (request.bucket, request.key):
            raise Refusal(404, "NoSuchUpload")
        return upload

    def _begin_upload(self, request: Request, access: AccessKey) -> Answer:
        self._permit(access, "PutObject", f"{request.bucket}/{request.key}")
        name = f"upload-{len(self.requests)}"
        self.uploads[name] = Upload((request.bucket, request.key))
        result = {"Bucket": request.bucket, "Key": request.key, "UploadId": name}
        return Answer(200, {}, document("InitiateMultipartUploadResult", result))

    def _write_part(self, request: Request, access: AccessKey) -> Answer:
        self._permit(access, "PutObject", f"{request.bucket}/{request.key}")
        number, data = int(dict(request.query)["partNumber"]), verified(request)
        if not 1 <= number <= MAX_PARTS:
            raise Refusal(400, "InvalidArgument")
        self._upload(request).parts[number] = data
        return Answer(200, {"ETag": etag_of(data)})

    def _complete_upload(self, request: Request, access: AccessKey) -> Answer:
        self._permit(access, "PutObject", f"{request.bucket}/{request.key}")
        upload, named = self._upload(request), request.body.decode()
        numbers, tags = re.findall(r"<PartNumber>(\d+)<", named), re.findall(r"<ETag>(.*?)<", named)
        claims = [(int(number), unescape(tag, {"&quot;": '"'})) for number, tag in zip(numbers, tags, strict=True)]
        if not claims:
            raise Refusal(400, "MalformedXML")
        if claims != [(number, etag_of(upload.parts.get(number, b""))) for number, _ in claims]:
            raise Refusal(400, "InvalidPart")
        parts = [upload.parts[number] for number, _ in claims]
        if any(len(part) < MIN_PART for part in parts[:-1]):
            raise Refusal(400, "EntityTooSmall")
        self.put(request.bucket, request.key, b"".join(parts))
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        self.tags[request.bucket, request.key] = tag = f'"{digest}-{len(parts)}"'
        del self.uploads[dict(request.query)["uploadId"]]
        result = {"Bucket": request.bucket, "Key": request.key, "ETag": tag}
        return Answer(200, {}, document("CompleteMultipartUploadResult", result))

    def _abort_upload(self, request: Request, access: AccessKey) -> Answer:
        self._permit(access, "AbortMultipartUpload", f"{request.bucket}/{request.key}")
        self._upload(request)
        del self.uploads[dict(request.query)["uploadId"]]
        return Answer(204)

    def _list(self, request: Request, access: AccessKey) -> Answer:
        """ListObjectsV2; a HEAD of the bucket gets its header."""
        bucket, query = request.bucket, dict(request.query)
        known = {"list-type", "prefix", "start-after", "continuation-token", "max-keys", "encoding-type"}
        if query.keys() - known or (request.method == "GET" and query.get("list-type") != "2"):
            raise Refusal(501, "NotImplemented")
        prefix, after = query.get("prefix", ""), query.get("continuation-token", query.get("start-after", ""))
        self._permit(access, "ListBucket", f"{bucket}/{prefix}")
        keys = sorted(key for home, key in self.objects if home == bucket and key.startswith(prefix) and key > after)
        page = keys[: min(int(query.get("max-keys", "1000")), self.page)]
        result: dict[str, object] = {"Name": bucket, "KeyCount": len(page), "EncodingType": "url"}
        if page != keys:
            result |= {"IsTruncated": "true", "NextContinuationToken": [after, *page][-1]}
        result["Contents"] = [
            {
                "Key": quote(key),
                "LastModified": time.strftime("%FT%TZ", time.gmtime(self.modified.get((bucket, key), 0))),
                "ETag": self._tag(bucket, key),
                "Size": len(self.objects[bucket, key]),
            }
            for key in page
        ]
        headers = {"Content-Type": "application/xml", "x-amz-bucket-region": self.region}
        return Answer(200, headers, document("ListBucketResult", result))


class _Listener(ThreadingMixIn, TCPServer):
    """One start of a server. It keeps its connections, so that it can end them."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, s3: S3Server) -> None:
        self.s3 = s3
        self.address_family = socket.AF_INET6 if ":" in s3.host else socket.AF_INET
        super().__init__((s3.host, s3.port), _Handler)
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="s3-server", daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        if self.s3.context:  # the handshake is made by the thread that reads first, not by this one
            connection = self.s3.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def process_request(self, request: Any, client_address: Any) -> None:
        work = self.process_request_thread
        thread = threading.Thread(target=work, args=(request, client_address), name="s3-server", daemon=True)
        thread.start()
        self._connections = {old: its for old, its in self._connections.items() if old.is_alive()} | {thread: request}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to speak of."""
        error = sys.exception()
        if error and not isinstance(error, OSError):
            self.s3.mistakes.append(error)

    def end(self) -> None:
        """Leave no thread."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for thread, connection in self._connections.items():
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # do_GET and so on
            return self.serve
        raise AttributeError(name)

    def serve(self) -> None:
        s3, target = self.server.s3, self.requestline.split()[1]  # self.path has lost a second slash at its start
        request = Request(self.command, target, self.headers)
        s3.requests.append(request)
        fault = s3.taken(request)
        if fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionAbortedError
        if fault.kind in ("hang", "delay"):
            self.pause(fault.seconds if fault.kind == "delay" else None)
        request.body = self.body()
        try:
            fault.strike()
            answer = s3.answer(request)
        except Refusal as refusal:
            answer = refusal.answer
        if fault.kind == "lost":
            raise ConnectionAbortedError
        request.status = answer.status
        self.send(answer, fault)

    def handle_expect_100(self) -> bool:
        """Not yet: a server that hangs or resets does not ask for the body."""
        return True

    def body(self) -> bytes:
        """The whole body: what was cut on its way is not applied."""
        if self.headers.get("Expect") == "100-continue":
            super().handle_expect_100()
        if self.headers.get("Transfer-Encoding") == "chunked":
            with suppress(ValueError):
                return dechunked(cast("BinaryIO", self.rfile))[0]
            raise ConnectionAbortedError
        length = int(self.headers.get("Content-Length", 0))
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionAbortedError
        return data

    def send(self, answer: Answer, fault: Fault) -> None:
        """Send it; wrongly if there is a fault."""
        body, middle = answer.body, len(answer.body) // 2
        headers = {"Date": formatdate(self.server.s3.now(), usegmt=True), "Server": "AmazonS3", **answer.headers}
        if fault.kind == "oversize":
            headers["Connection"] = "close"
        elif answer.status not in (204, 304):
            headers["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {answer.status} {responses[answer.status]}", *map(": ".join, headers.items())]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.command == "HEAD":
            body = b""
        elif fault.kind in ("truncate", "cut"):
            body = body[: middle if fault.kind == "truncate" else fault.size]
        elif fault.kind == "corrupt" and body:
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        for part, data in ("header", head), ("body", body):
            if fault.kind == "slow" and fault.part == part:
                for byte in data:
                    self.pause(fault.seconds)
                    self.wfile.write(bytes([byte]))
            else:
                self.wfile.write(data)
        while fault.kind == "oversize" and self.command != "HEAD":
            self.wfile.write(bytes(65536))
        self.close_connection = self.close_connection or fault.kind in ("truncate", "cut", "oversize")

    def pause(self, seconds: float | None) -> None:
        """Wait, until stop if no seconds are given."""
        if self.server.s3.stopping.wait(seconds):
            raise ConnectionAbortedError

    def log_message(self, *_: Any) -> None:
        """Nothing goes to standard error."""


if __name__ == "__main__":
    with S3Server(port=int(sys.argv[1]) if sys.argv[1:] else 0) as this:
        print(f"AWS_ENDPOINT_URL_S3={this.url} AWS_ACCESS_KEY_ID={KEY_ID} AWS_SECRET_ACCESS_KEY={SECRET}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
