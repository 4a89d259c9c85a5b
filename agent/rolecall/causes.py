"""Why a store or a service could not be read or written: one word for each cause, and its remedy in one place."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rolecall.errors import ConflictFault, FetchFault
from rolecall.forms.quantities import duration

SKEW = 240.0  # seconds; S3 refuses at 15 minutes, other services at five

HINTS = {
    "access-denied": "allow it in the policy of whoever asks (packaging/iam: node.json, publisher.json), and in those "
    "of the bucket and of the encryption key",
    "no-key": "put it there (the document: `rolecall fleet publish`), or correct the prefix in the store's URL",
    "no-secret": "put it there, or correct its name in the document; is the region right ([aws] in agent.toml)?",
    "no-bucket": "correct the bucket in the store's URL, or create it",
    "credentials-expired": "the agent asks for new ones by itself; if this persists, detach the instance's role and "
    "attach it again",
    "credentials-refused": "was the key or the role deleted? Do the credentials belong to this endpoint?",
    "clock-skew": "set the clock (chronyc makestep), and see that chrony runs",
    "throttled": "the agent asks again by itself; if this persists, find out what else asks so often",
    "wrong-region": "name the right one: ?region= in the store's URL, or region below [aws] in agent.toml",
    "unreachable": "check this machine's routes, the security group, the endpoint's name and the proxy",
    "too-slow": "check the network; network.timeout and network.release_timeout in agent.toml are the limits",
    "too-large": "is it the right file? This limit cannot be changed",
    "broken-answer": "the agent asks again by itself; is a proxy in between?",
    "server-error": "the agent asks again by itself; check the provider's status page",
    "moved": "name the new address in the store's URL: a redirect is never followed",
    "not-writable": "publish to the store that it mirrors; a node's reports go to its next store",
    "no-conditions": "publish to another store; or, if nobody else publishes to this one, with --alone. "
    "`rolecall store check URL` shows what this one does",
    "not-as-written": "is a cache in between? `rolecall store check URL` shows what this store does; then look at the "
    "document (`rolecall fleet fetch`), and publish again",
    "no-folder": "make that folder on the server, whose DAV makes none by itself (nginx: create_full_put_path on)",
    "no-listing": "copy from, or list, the bucket or the folder that the web server serves",
    "refused": "look the answer up in the server's documentation; is the address right?",
    "tls": "does the server present the right certificate? A private authority belongs in network.ca of agent.toml",
}

# What a service says of a single thing that was asked for: all others of the same service may be well.
OF_ONE_THING = frozenset("no-key no-secret access-denied conflict refused".split())
# Causes that say nothing against what was asked for: a store, or what stands behind it, is out.
OUT = frozenset("unreachable too-slow throttled server-error clock-skew tls".split())
# The same of a provider, which then has no credentials for its stores. Another provider adds its own.
PROVIDER_OUT = frozenset("imds-unreachable imds-hop-limit imds-off no-role role-broken credentials-pending".split())
PROVIDER_BUSY = frozenset("imds-busy imds-error credentials-expired".split())  # better at the next try, perhaps


def fault(action: str, why: str, cause: str) -> FetchFault:
    """A FetchFault with the cause's remedy: "cannot read s3://…: why"."""
    return FetchFault(f"cannot {action}: {why}", HINTS[cause], cause)


def conflict(action: str, *, doubtful: bool = False) -> ConflictFault:
    """The object is not the one that was to be replaced."""
    words = f"cannot {action}: somebody else has written it in the meantime"
    fault = ConflictFault(words, "read it again, decide again, then write", "conflict")
    fault.doubtful = doubtful
    return fault


def replaced(action: str) -> FetchFault:
    """What was being read is another object by now: its parts do not belong together."""
    hint = "the next run reads the new one; give each release a name of its own in the store, and replace none"
    return FetchFault(f"cannot {action}: it was replaced while it was read", hint, "conflict")


def too_slow(action: str, seconds: float) -> FetchFault:
    """The deadline is over."""
    return fault(action, f"no whole answer within {duration(seconds)}", "too-slow")


def too_large(action: str, limit: int) -> FetchFault:
    """More than is ever read."""
    return fault(action, f"it is larger than {limit} bytes", "too-large")


def moment(date: str | None) -> datetime | None:
    """The Date header of an answer, or None."""
    try:
        parsed = parsedate_to_datetime(date or "")
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def skewed(action: str, date: datetime | None, whose: str = "the store's") -> FetchFault:
    """The clock is wrong, and how much, against the Date of an answer."""
    if date is None:
        return fault(action, f"this machine's clock is more than 15 minutes off {whose}", "clock-skew")
    ahead = (datetime.now(UTC) - date).total_seconds()
    words = f"this machine's clock is {duration(round(abs(ahead)))} {'ahead of' if ahead > 0 else 'behind'} {whose}"
    return fault(action, words, "clock-skew")


def is_skewed(date: datetime | None) -> bool:
    """Whether this machine's clock is so far off that signatures are refused."""
    return date is not None and abs((datetime.now(UTC) - date).total_seconds()) > SKEW
