"""The commands of an operator who works on the fleet document, on any machine."""

import argparse
import sys
from typing import Any

from rolecall.cli import fleet_views
from rolecall.cli.command import Command
from rolecall.cli.fleet_history import print_history
from rolecall.cli.parser import parser
from rolecall.cli.terminal import print_json
from rolecall.fleet.overview import Selection
from rolecall.fleet.schema import parse_fleet
from rolecall.fleet.succession import succession_mistakes
from rolecall.fleet.warnings import warnings
from rolecall.operator import answers, offline
from rolecall.operator.certificates import FleetCertificates, take_certificates
from rolecall.operator.history import past_payload
from rolecall.operator.lineage import FleetHistory, read_history
from rolecall.operator.publish import Signing, publish_file
from rolecall.operator.roles import document_schema, parse_document
from rolecall.store import DOCUMENT


def check_document(arguments: argparse.Namespace) -> answers.FleetCheck:
    """`fleet check`."""
    source = str(arguments.file)
    payload = offline.read_payload(arguments.file)
    fleet = parse_document(payload, source, arguments.templates)
    return answers.fleet_check(fleet, source, warnings(fleet, payload))


def show_fleet(arguments: argparse.Namespace) -> answers.FleetOverview:
    """`fleet show`: a document on disk, or the store's; all of it, or a part."""
    if bool(arguments.file) == bool(arguments.store):
        parser().error("a document, or --store URL: rolecall fleet show fleet.json")
    if arguments.store:
        store = offline.store_at(arguments.store, arguments.config)
        payload, source = offline.live_payload(store), store.location(DOCUMENT)
    else:
        payload, source = offline.read_payload(arguments.file), str(arguments.file)
    fleet = parse_fleet(payload, source)
    selection = Selection(arguments.role, arguments.product, arguments.zone)
    return answers.fleet_overview(fleet, source, warnings(fleet, payload), selection)


def compare_documents(arguments: argparse.Namespace) -> answers.FleetDiff:
    """`fleet diff`: the blast radius of a new document, and whether `fleet publish` would take it."""
    if (len(arguments.files) == 2) == bool(arguments.store):
        parser().error("two documents, or one and --store URL: rolecall fleet diff --store s3://bucket/prod fleet.json")
    payload, source = offline.read_payload(arguments.files[-1]), str(arguments.files[-1])
    after = parse_fleet(payload, source)
    if arguments.store:
        before = offline.live_fleet(offline.store_at(arguments.store, arguments.config))
    else:
        before = offline.read_fleet(arguments.files[0])
    plans = offline.compare(before, after, arguments.platform, arguments.templates)
    return answers.fleet_diff(plans, source, succession_mistakes(before.model_dump(), after, payload.decode()))


def publish_document(arguments: argparse.Namespace) -> answers.Publication:
    """`fleet publish`: sign, raise the serial, write in place of the last one."""
    if bool(arguments.key) == arguments.unsigned:
        parser().error("either --key FILE, an OpenSSH key, or --unsigned")
    store = offline.store_at(arguments.store, arguments.config)
    signing = Signing(arguments.key, arguments.signers, arguments.valid)
    published = publish_file(arguments.file, (), store, signing, templates=arguments.templates, alone=arguments.alone)
    fleet = published.fleet
    return answers.Publication(
        url=published.url,
        serial=fleet.serial,
        before=published.before,
        signer=published.signer,
        not_after=fleet.not_after,
        source=str(arguments.file),
        warnings=tuple(warnings(fleet, published.payload)),
        notes=published.notes,
    )


def fetch_document(arguments: argparse.Namespace) -> answers.FetchedDocument:
    """`fleet fetch`: the store's document, or one that it had before, as its author wrote it."""
    store = offline.store_at(arguments.store, arguments.config)
    if arguments.serial is None:
        return answers.FetchedDocument(offline.live_payload(store))
    return answers.FetchedDocument(past_payload(store, arguments.serial))


def show_history(arguments: argparse.Namespace) -> FleetHistory:
    """`fleet history`: who published what, and when."""
    store = offline.store_at(arguments.store, arguments.config)
    return read_history(store, arguments.signers, arguments.n)


def take_reported_certificates(arguments: argparse.Namespace) -> FleetCertificates:
    """`fleet certificates`: what servers report, into the file."""
    store = offline.store_at(arguments.store, arguments.config)
    return take_certificates(arguments.file, store, arguments.servers)


def show_schema(arguments: argparse.Namespace) -> answers.DocumentSchema:
    """`fleet schema`."""
    return answers.DocumentSchema(document_schema(arguments.templates))


def _write_document(answer: answers.FetchedDocument) -> None:
    sys.stdout.buffer.write(answer.text)


COMMANDS: dict[str, Command[Any]] = {
    "check": Command(check_document, fleet_views.show_check),
    "show": Command(show_fleet, fleet_views.show_overview),
    "diff": Command(compare_documents, fleet_views.show_diff),
    "publish": Command(publish_document, fleet_views.show_publication),
    "history": Command(show_history, print_history),
    "fetch": Command(fetch_document, _write_document),
    "certificates": Command(take_reported_certificates, fleet_views.show_certificates),
    "schema": Command(show_schema, print_json),
}
