"""Identity from a JSON file: physical machines, containers, the demo."""

from pathlib import Path

from pydantic import ValidationError

from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity
from rolecall.forms.mistakes import Mistakes, locate, mistakes_of
from rolecall.forms.positions import json_positions, parse_json


def identify(where: str) -> Identity | None:
    """The identity in the file; None if there is no such file. Raises Mistakes (a ConfigFault) if it is wrong."""
    try:
        text = Path(where).read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise FetchFault(f"cannot read the identity in {where}: {error}") from None
    parse_json(text, where)
    try:
        return Identity.model_validate_json(text)
    except ValidationError as error:
        raise Mistakes(where, locate(mistakes_of(error, Identity), json_positions(text))) from None
