"""The errors of boto3 as faults of ours, each with its cause."""

from typing import TYPE_CHECKING, Any

from rolecall.causes import conflict, fault, is_skewed, moment, replaced, skewed
from rolecall.errors import FetchFault

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_CAUSES = {
    "access-denied": "AccessDenied AccessDeniedException AllAccessDisabled AccountProblem 403 Forbidden",
    "no-key": "NoSuchKey 404",
    "no-secret": "ParameterNotFound ResourceNotFoundException",
    "no-bucket": "NoSuchBucket",
    "credentials-expired": "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
    "credentials-refused": "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken UnrecognizedClientException "
    "InvalidClientTokenId InvalidSignatureException MissingAuthenticationToken IncompleteSignature AuthFailure",
    "clock-skew": "RequestTimeTooSkewed",
    "throttled": "SlowDown Throttling ThrottlingException RequestLimitExceeded TooManyRequestsException "
    "RequestThrottled BandwidthLimitExceeded ServiceUnavailable 429 503",
    "wrong-region": "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301 307",
}
_CAUSE_OF = {code: cause for cause, codes in _CAUSES.items() for code in codes.split()}
_CONFLICTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


def errors() -> tuple[type[Exception], ...]:
    """All that boto3 raises: an answer that makes no sense passes through it as whatever stumbled over it."""
    from http.client import HTTPException

    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    strange = (ResponseParserError, HTTPError, HTTPException, ValueError, OverflowError, TypeError, KeyError)
    return (BotoCoreError, ClientError, *strange)


def fault_of(error: Exception, action: str) -> FetchFault:
    """What boto3 raised (one of `errors`), with its cause."""
    from botocore import exceptions as of

    if isinstance(error, of.ClientError):
        return _fault_of_answer(error, action)
    if not isinstance(error, of.BotoCoreError):
        return fault(action, "the answer is incomplete or garbled", "broken-answer")
    broken = (of.ResponseStreamingError, of.IncompleteReadError, of.ChecksumError, of.FlexibleChecksumError)
    kinds: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
        ((of.SSLError,), f"the certificate is not accepted: {error}", "tls"),
        ((of.ReadTimeoutError,), "no answer in time", "too-slow"),
        (broken, "the answer is incomplete or garbled", "broken-answer"),
        ((of.ConnectionClosedError,), "the connection was closed before an answer came", "unreachable"),
        ((of.ConnectionError, of.HTTPClientError), str(error).rstrip("."), "unreachable"),
    )
    for classes, why, cause in kinds:
        if isinstance(error, classes):
            return fault(action, why, cause)
    return FetchFault(f"cannot {action}: {error}", "correct the store's URL, or [aws] in agent.toml", "aws-settings")


def _fault_of_answer(error: "ClientError", action: str) -> FetchFault:
    details: dict[str, Any] = dict(error.response.get("Error", {}))
    metadata: dict[str, Any] = dict(error.response.get("ResponseMetadata", {}))
    headers, status = metadata.get("HTTPHeaders", {}), int(metadata.get("HTTPStatusCode", 0))
    code, date = str(details.get("Code", status)), moment(headers.get("date"))
    if code in _CONFLICTS and error.operation_name == "GetObject":
        return replaced(action)
    if code in _CONFLICTS:
        return conflict(action, doubtful="409" in (code, str(status)) or metadata.get("RetryAttempts", 0) > 0)
    cause = _CAUSE_OF.get(code) or _CAUSE_OF.get(str(status)) or ("server-error" if status >= 500 else "")
    if cause == "clock-skew" or (cause.startswith("credentials") and is_skewed(date)):
        return skewed(action, date)
    words = f"{code}: {details.get('Message', '')}".rstrip(": ")
    if cause == "wrong-region" and (region := headers.get("x-amz-bucket-region")):
        words = f"the bucket is in {region}"
    return fault(action, words, cause or "refused")
