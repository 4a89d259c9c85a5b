"""Who a node is: plain words only, wherever they were learnt."""

import contextlib
import json

import pytest
from hypothesis import given
from pydantic import ValidationError

from rolecall.fleet.identity import Identity
from samples import ANY_JSON, fuzz


def test_everything_is_optional_and_an_address_has_one_spelling() -> None:
    assert Identity() == Identity(instance=None, server=None, address=None, tags={})
    assert Identity(address="FD00:0::11").address == "fd00::11"


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance": ""}, {"instance": "i 1"}, {"instance": "i-1\n"}, {"instance": 1}, {"server": "Web1"},
        {"server": "../x"},
        {"address": "10.0.0"}, {"address": "fe80::1%eth0"}, {"zone": "a\n"}, {"region": "$x"}, {"tags": {"a": "b\n"}},
        {"tags": {"a\n": "b"}}, {"tags": {"a": 1}}, {"tags": []}, {"instancex": "i-1"},
    ],
)  # fmt: skip
def test_what_is_no_plain_word_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Identity.model_validate_json(json.dumps(wrong))


@fuzz(30)
@given(ANY_JSON)
def test_any_json_is_an_identity_or_refused(data: object) -> None:
    with contextlib.suppress(ValidationError):
        assert isinstance(Identity.model_validate_json(json.dumps(data)), Identity)
