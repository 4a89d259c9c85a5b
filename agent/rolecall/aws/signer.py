"""AWS "Signature Version 4" for the one request of a refresh without news: a GET of an S3 object, without a query.

The protocol is that of the Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header": a
canonical request, its hash in a string to sign, and that string's HMAC under a signing key. botocore knows all of it
and takes hundreds of milliseconds to load; this module loads little more than the hash. The tests hold it to botocore.
"""

import hashlib
import hmac
import time

CREDENTIALS = "credentials"  # the file of the run folder that has what `Credentials.lines` wrote
_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_BODY = hashlib.sha256(b"").hexdigest()
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
# Sent, but not signed, as botocore has it: whoever passes the request on may change them or leave them out.
_UNSIGNED = (
    *("baggage", "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("te", "traceparent", "tracestate", "trailer", "transfer-encoding"),  # codespell:ignore te
    *("upgrade", "user-agent", "x-amzn-trace-id"),
)


def sign(host: str, path: str, headers: dict[str, str], region: str, run: str) -> tuple[str, dict[str, str]]:
    """The path and all headers of a request, signed now with the credentials that a run has left in the folder `run`.

    Raises OSError or ValueError where there are none that are good for long enough.
    """
    with open(f"{run}/{CREDENTIALS}", encoding="ascii") as file:
        key_id, secret, token, expires = file.read().splitlines()
    if time.time() >= float(expires) - 300:  # as Credentials.good: the run renews them
        raise ValueError
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return encoded(path), signed_headers(host, path, headers, region, moment, key_id, secret, token)


def encoded(path: str) -> str:
    """The path of an object as the request line and the signature have it: percent-encoded once, never normalised."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in path.encode())


def signed_headers(  # noqa: PLR0917 - all that the protocol signs
    host: str, path: str, headers: dict[str, str], region: str, moment: str, key_id: str, secret: str, token: str
) -> dict[str, str]:
    """All headers of a signed GET: `headers`, Host, X-Amz-Date, -Content-SHA256, -Security-Token, and Authorization.

    `host` has the port if it is not the scheme's own; `path` is raw and starts with '/'; `moment` is like
    '20261122T101500Z'; `token` is empty for keys without one. `headers` has no name in two spellings, none of
    those added here, and no Date.
    """
    # The hash of the body, not UNSIGNED-PAYLOAD: S3 takes it over HTTP and HTTPS alike, as botocore sends it for a GET.
    sent = {**headers, "Host": host, "X-Amz-Date": moment, "X-Amz-Content-SHA256": _NO_BODY}
    if token:
        sent["X-Amz-Security-Token"] = token
    lower = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
    # Sorted by name: sorted as lines, 'a:' would come after 'a-b:'.
    names = sorted(name for name in lower if name not in _UNSIGNED)
    signed = ";".join(names)
    # The empty line is the query that there is not.
    lines = ["GET", encoded(path), "", *(f"{name}:{lower[name]}" for name in names), "", signed, _NO_BODY]
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()

    scope = (moment[:8], region, "s3", "aws4_request")
    text = "\n".join((_ALGORITHM, moment, "/".join(scope), request))
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = "/".join((key_id, *scope))
    sent["Authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={signature}"
    return sent
