"""Secrets from the stores of AWS: `ssm:/path/name` and `secretsmanager:name#key`.

Each value is asked for once, however many products refer to it. One that cannot be had keeps nobody from the others.
No message holds a value.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from rolecall.aws.session import AwsSession
from rolecall.causes import OF_ONE_THING, fault
from rolecall.errors import ConfigFault, Fault, FetchFault

_AT_ONCE = 10  # names in one GetParameters


def fetch(references: list[str], session: AwsSession) -> dict[str, str | Fault]:
    """The value of each reference, or why that one alone cannot be had: FetchFault with the cause; ConfigFault if it is
    no text. Raises FetchFault where the store of secrets is out."""
    kinds: dict[str, list[str]] = {"ssm": [], "secretsmanager": []}
    for reference in references:
        kinds[reference.partition(":")[0]].append(reference)
    return {**dict(_of_ssm(kinds["ssm"], session)), **dict(_of_secretsmanager(kinds["secretsmanager"], session))}


def _of_ssm(references: list[str], session: AwsSession) -> Iterator[tuple[str, str | Fault]]:
    rest = iter(references)
    while batch := list(islice(rest, _AT_ONCE)):
        yield from _of_parameters(batch, session)


def _of_parameters(batch: Sequence[str], session: AwsSession) -> Iterator[tuple[str, str | Fault]]:
    by_name = {reference.removeprefix("ssm:"): reference for reference in batch}
    action = f"read the secret{'s' if batch[1:] else ''} {', '.join(batch)}"
    ask = partial(_get_parameters, names=list(by_name))
    try:
        answer = session.ask(action, session.network.timeout, partial(session.client, "ssm"), ask)
    except FetchFault as refusal:
        if refusal.cause not in OF_ONE_THING:
            raise
        if len(batch) == 1:
            yield batch[0], refusal
        else:  # the whole request is refused for one of its names
            for reference in batch:
                yield from _of_parameters([reference], session)
        return
    missing = answer.get("InvalidParameters", ())
    parameters = answer.get("Parameters", ())
    values = {name: parameter["Value"] for parameter in parameters for name in _names(parameter)}
    if not by_name.keys() <= {*values, *missing}:
        raise fault(action, "the answer lacks some of them", "broken-answer")
    for name, reference in by_name.items():
        why = f"there is no such parameter in {session.region()}"
        yield reference, values.get(name, fault(f"read the secret {reference}", why, "no-secret"))


def _get_parameters(client: Any, names: list[str]) -> Any:
    return client.get_parameters(Names=names, WithDecryption=True)


def _names(parameter: dict[str, Any]) -> tuple[str, str]:
    """How it may have been asked for: by name or ARN, each with its version or label if there was one."""
    selector = ":".join(("", *parameter.get("Selector", "").strip(":").split()))  # ':3', ':label', or nothing
    return parameter["Name"] + selector, parameter.get("ARN", "") + selector


def _of_secretsmanager(references: list[str], session: AwsSession) -> Iterator[tuple[str, str | Fault]]:
    answers: dict[str, Any] = {}
    for reference in references:
        name, _, key = reference.removeprefix("secretsmanager:").partition("#")
        try:
            if name not in answers:
                answers[name] = _secret(name, f"read the secret {reference}", session)
            yield reference, _part(answers[name].get("SecretString"), key, reference)
        except ConfigFault as mistake:
            yield reference, mistake
        except FetchFault as refusal:
            if refusal.cause not in OF_ONE_THING:
                raise
            yield reference, refusal


def _secret(name: str, action: str, session: AwsSession) -> Any:
    client, ask = partial(session.client, "secretsmanager"), partial(_get_secret_value, name=name)
    answer = session.ask(action, session.network.timeout, client, ask)
    if not answer.keys() & {"SecretString", "SecretBinary"}:
        raise fault(action, "the answer has no value", "broken-answer")
    return answer


def _get_secret_value(client: Any, name: str) -> Any:
    return client.get_secret_value(SecretId=name)


def _part(text: Any, key: str, reference: str) -> str:
    """The whole value, or the member of the JSON object that `#key` names."""
    if not isinstance(text, str):
        raise ConfigFault(f"the secret {reference} is binary, not text", "store it as text")
    if not key:
        return text
    try:
        value = json.loads(text)[key]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigFault(
            f"the secret {reference} has no member {key!r}", "it must be a JSON object with that member"
        ) from None
    return value if isinstance(value, str) else json.dumps(value)
