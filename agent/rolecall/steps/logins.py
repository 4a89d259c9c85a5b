"""Which passwords servers log in to databases with, as their reports tell it.

A new password is learned of by each server in its own time. Until all have it nobody may be refused: the master goes on
taking the one before (`rotation.py`), and no product uses a new one that its master has not heard of.
"""

import hashlib
from collections.abc import Mapping

from rolecall.errors import FetchFault
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.fleet.secrets import Secret
from rolecall.forms.stored import json_object
from rolecall.host.secrets import fingerprints
from rolecall.node.node import Node
from rolecall.report import Report
from rolecall.steps.products import live_generation, live_values

_MOST = 4 * 1024 * 1024  # bytes of a report


def login_mark(fleet: str, key: str, value: str) -> str:
    """What reports tell of a password: enough to tell a new one from the one before, and no more.

    16 bits: of all guesses at a password every 65,536th fits, so that nobody learns it from them.
    """
    return hashlib.sha256(f"{fleet}\0{key}\0{value}".encode()).hexdigest()[:4]


def reported_mark(node: Node, server: str, key: str) -> str:
    """The mark of a password in a server's last report; '' where that cannot be had, or does not tell."""
    try:
        report = json_object(node.store.get(f"reports/{server}.json", _MOST).data)
    except (FetchFault, ValueError):
        return ""
    logins = report.get("logins")
    return str(logins.get(key, "")) if isinstance(logins, dict) else ""


def login_of(product: AssignedProduct) -> Secret | None:
    """The password that a product logs in to its databases with."""
    password = product.variable("DB_PASSWORD")
    return password if product.databases and isinstance(password, Secret) else None


def passwords_held_back(
    node: Node, assignment: Assignment, values: Mapping[str, str], report: Report
) -> dict[str, str]:
    """The passwords that products have now and are to keep, by key, for a master would refuse their new ones yet.

    A master whose report cannot be read, or does not tell, is taken to know the new one. Raises HostFault.
    """
    live = live_generation(node)
    new = fingerprints(dict(values), node.settings.state)
    held_back: dict[str, str] = {}
    for product in assignment.products:
        password = login_of(product)
        earlier = live.secrets.get(password.key) if live and password else None
        if not password or password.key not in values or earlier in (None, new[password.key]):
            continue
        mark = login_mark(assignment.fleet, password.key, values[password.key])
        masters = [database.master.server for database in product.databases]
        late = [name for name in masters if reported_mark(node, name, password.key) not in ("", mark)]
        current = live_values(node, live).get(password.key)
        if late and current is not None:
            held_back[password.key] = current
            report.owe(f"{password.key} has a new value that {', '.join(late)} has not heard of: the old one stays")
    return held_back
