"""The commands of an operator who works on the fleet document, on any machine. Each returns an exit code."""

import argparse
import json
import sys

from rolecall.cli import fleet_views, views
from rolecall.cli.parser import parser


def check(arguments: argparse.Namespace) -> int:
    """`fleet check`."""
    from rolecall.fleet.overview import warnings
    from rolecall.fleet.schema import parse_fleet
    from rolecall.operator import offline

    source = str(arguments.file)
    payload = offline.read_payload(arguments.file)
    fleet = parse_fleet(payload, source)
    return fleet_views.checked(fleet, source, warnings(fleet, payload), as_json=arguments.json)


def overview(arguments: argparse.Namespace) -> int:
    """`fleet show`: a document on disk, or the store's."""
    from rolecall.fleet.overview import warnings
    from rolecall.fleet.schema import parse_fleet
    from rolecall.operator import offline
    from rolecall.store import DOCUMENT

    if bool(arguments.file) == bool(arguments.store):
        parser().error("a document, or --store URL: rolecall fleet show fleet.json")
    if arguments.store:
        store = offline.store_at(arguments.store, arguments.config)
        payload, source = offline.live_payload(store), store.place(DOCUMENT)
    else:
        payload, source = offline.read_payload(arguments.file), str(arguments.file)
    fleet = parse_fleet(payload, source)
    return fleet_views.overview(fleet, source, warnings(fleet, payload), as_json=arguments.json)


def diff(arguments: argparse.Namespace) -> int:
    """`fleet diff`: the blast radius of a new document, and whether `fleet publish` would take it."""
    from rolecall.fleet.schema import parse_fleet
    from rolecall.operator import offline
    from rolecall.operator.publish import old_epochs

    if (len(arguments.files) == 2) == bool(arguments.store):
        parser().error("two documents, or one and --store URL: rolecall fleet diff --store s3://bucket/prod fleet.json")
    payload, source = offline.read_payload(arguments.files[-1]), str(arguments.files[-1])
    after = parse_fleet(payload, source)
    if arguments.store:
        before = offline.live_fleet(offline.store_at(arguments.store, arguments.config))
    else:
        before = offline.read_fleet(arguments.files[0])
    plans = offline.compare(before, after, arguments.platform, arguments.templates)
    code = views.fleet_diff(plans, as_json=arguments.json)
    if not arguments.json:
        fleet_views.warn(source, old_epochs(before.model_dump(), after, payload.decode()))
    return code


def publish(arguments: argparse.Namespace) -> int:
    """`fleet publish`: sign, raise the serial, write in place of the last one."""
    from rolecall.fleet.overview import warnings
    from rolecall.operator import offline
    from rolecall.operator.publish import publish

    if bool(arguments.key) == arguments.unsigned:
        parser().error("either --key FILE, an OpenSSH key, or --unsigned")
    store = offline.store_at(arguments.store, arguments.config)
    done = publish(arguments.file, store, key=arguments.key, signers=arguments.signers, valid=arguments.valid)
    found = warnings(done.fleet, done.payload)
    return fleet_views.published(done, str(arguments.file), found, as_json=arguments.json)


def fetch(arguments: argparse.Namespace) -> int:
    """`fleet fetch`: the store's document as its author wrote it."""
    from rolecall.operator import offline

    sys.stdout.buffer.write(offline.live_payload(offline.store_at(arguments.store, arguments.config)))
    return 0


def schema(_: argparse.Namespace) -> int:
    """`fleet schema`."""
    from rolecall.fleet.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0
