"""The envelope: what is sealed is unsealed to the byte, and nothing makes it stumble."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rolecall.errors import ConfigFault
from rolecall.trust.envelope import KIND, Envelope, seal, unseal
from samples import ANY_JSON, ANY_TEXT, FLEET, fuzz

# Any text but half characters, which no UTF-8 has; with a liking for what the envelope itself is made of.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from('"\\/\b\f\n\r\t\x00\x1f\x7f\x85\u2028\u2029\ufeff\ufffe\ufffd𝄞{}[]:,u')
) | st.sampled_from(['{"rolecall": "signed document"}', "\\ud800", "null", FLEET.decode()])

ARMOR = st.text(st.characters(max_codepoint=127))  # what ssh-keygen writes is ASCII

# Envelopes, and what is nearly one.
KEYS = st.sampled_from(["rolecall", "payload", "signature", "Payload"]) | ANY_TEXT
NEARLY = st.dictionaries(KEYS, st.just(KIND) | TEXT | ANY_JSON, max_size=5).map(lambda made: {"rolecall": KIND, **made})


@fuzz(60)
@given(TEXT, ARMOR)
def test_what_was_sealed_is_unsealed_to_the_byte(payload: str, signature: str) -> None:
    sealed = seal(payload.encode(), signature)
    assert unseal(sealed, "x") == Envelope(payload.encode(), signature)
    assert json.loads(sealed) == {"rolecall": KIND, "payload": payload, "signature": signature}, "as jq reads it"


@fuzz(60)
@given(TEXT)
def test_an_envelope_in_an_envelope_is_a_payload(payload: str) -> None:
    inner = seal(payload.encode(), "inner")
    assert unseal(seal(inner, "outer"), "x") == Envelope(inner, "outer")


def opened(raw: bytes) -> Envelope | None:
    """The envelope; None where it is refused, in words that can be shown. Anything else is an error."""
    try:
        found = unseal(raw, "the document")
    except ConfigFault as fault:
        f"{fault.message}{fault.hint}{fault.cause}".encode()
        return None
    found.signature.encode()
    return found


@fuzz(100)
@given(st.binary() | st.binary().map(lambda tail: b'{"rolecall"' + tail))
@example(b'{"rolecall": "signed document", "payload": "", "signature": "\\ud800"}')
def test_any_bytes_are_an_envelope_or_are_refused(raw: bytes) -> None:
    opened(raw)


@fuzz(100)
@given(NEARLY, st.booleans())
def test_an_envelope_has_three_texts_and_nothing_else(made: dict[str, Any], ascii_only: bool) -> None:
    try:
        raw = json.dumps(made, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:  # half characters can be written as escapes only
        raw = json.dumps(made).encode()
    found = opened(raw)
    if made["rolecall"] != KIND:
        assert found in (None, Envelope(raw))
    elif found is not None:
        assert made == {"rolecall": KIND, "payload": found.payload.decode(), "signature": found.signature}


@fuzz(100)
@given(TEXT, ARMOR, st.data())
def test_one_other_byte_makes_no_envelope_that_reads_the_same(
    payload: str, signature: str, data: st.DataObject
) -> None:
    sealed = seal(payload.encode(), signature)
    at = data.draw(st.integers(0, len(sealed) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != sealed[at]))
    found = opened(sealed[:at] + bytes([byte]) + sealed[at + 1 :])
    blank = bytes([byte]).isspace() and sealed[at : at + 1].isspace()
    assert found != Envelope(payload.encode(), signature) or blank


@pytest.mark.parametrize("raw", [b"", b"{}", b"null", b"\xff", FLEET, b'{"rolecall": 1}', b'{"rolecall": "other"}'])
def test_what_is_no_envelope_is_a_payload_without_a_signature(raw: bytes) -> None:
    assert unseal(raw, "x") == Envelope(raw, "")


@pytest.mark.parametrize("raw", [b'{"fleet": "rolecall", "fleet": "x"}', b'{"products": {"rolecall": {}}'])
def test_a_broken_document_that_speaks_of_rolecall_is_no_envelope(raw: bytes) -> None:
    assert unseal(raw, "x") == Envelope(raw, ""), "so that all its mistakes are told, with their places"


HOSTILE = {
    "as deep as may be": b'"x": ' + b"[" * 900 + b",".join([b"0"] * 20_000) + b"]" * 900 + b', "x": 0',
    "the same key again and again": b",".join([b'"x": 0'] * 20_000),
    "a key of many letters": b'"' + b"x" * 100_000 + b'": 0',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_small_envelope_that_nobody_has_signed_takes_little_memory_and_few_words(what: str) -> None:
    raw = b'{"rolecall": "signed document", ' + HOSTILE[what] + b"}"
    tracemalloc.start()
    try:
        with pytest.raises(ConfigFault) as caught:
            unseal(raw, "x")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 100 * len(raw)
    assert len(caught.value.message) < 10_000
