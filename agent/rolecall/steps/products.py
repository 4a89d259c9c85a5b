"""The products of a node as far as they can be had: what one of them lacks keeps no other from what the document says.

One that is live goes on with its release, its account, and the values of its secrets that its files have. One that is
not has nothing to go on with, and is left out.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import replace

from rolecall.errors import Fault, FetchFault
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.fleet.secrets import Secret
from rolecall.fleet.topology import NodeDatabase
from rolecall.host import accounts, files
from rolecall.node.node import Node
from rolecall.render.accounts import account_requests
from rolecall.render.contents import DeployedRelease, deployed_release
from rolecall.render.generation import Generation
from rolecall.steps.deployment import is_same
from rolecall.steps.shortcomings import joined


def without_refused(node: Node, assignment: Assignment, refused: Mapping[str, Fault]) -> Assignment:
    """The assignment without the releases of some products."""
    live = live_generation(node)
    products, left_out = [], list(assignment.left_out)
    for product in assignment.products:
        fault, earlier = refused.get(product.name), _live_release(node, live, product.name)
        if fault is None:
            products.append(product)
        elif earlier and (isinstance(fault, FetchFault) or not is_same(earlier, deployed_release(product, ""))):
            products.append(_with_release(product, earlier))
        else:  # what is live is the one that is refused: it is damaged, and cannot be had whole
            left_out.append(product)
    return replace(assignment, products=tuple(products), left_out=tuple(left_out))


def without_accounts(node: Node, assignment: Assignment, faults: Mapping[str, Fault]) -> Assignment:
    """The assignment without the accounts of some products, which clash with what this machine has.

    One that is live goes on with the account that it has. Where even that is not the product's any more, somebody has
    changed the machine below what serves: then it stays in, and no run changes anything.
    """
    live = live_generation(node)
    products, left_out = [], list(assignment.left_out)
    for product in assignment.products:
        earlier = _live_release(node, live, product.name) if product.name in faults else None
        if product.name in faults and not earlier:
            left_out.append(product)
        elif earlier and _has_account(node, earlier):
            products.append(replace(_with_release(product, earlier), user=earlier.user, keeps_account=True))
        else:
            products.append(product)
    return replace(assignment, products=tuple(products), left_out=tuple(left_out))


def without_secrets(
    node: Node, assignment: Assignment, faults: Mapping[str, Fault]
) -> tuple[Assignment, dict[str, str], dict[str, Fault]]:
    """The assignment without some secrets, by their keys; the values that live files have of them; whose they were.

    Raises the fault of a secret that no single product has: without it this is not the node that the document asks for.
    """
    if not faults:
        return assignment, {}, {}
    if shared := [faults[secret.key] for secret in _shared_secrets(assignment.databases) if secret.key in faults]:
        raise joined(shared)
    live = live_generation(node)
    recovered = {key: value for key, value in live_values(node, live).items() if key in faults}
    products, left_out, lacking = [], list(assignment.left_out), {}
    for product in assignment.products:
        if not (its := [faults[secret.key] for secret in product.secrets if secret.key in faults]):
            products.append(product)
            continue
        lacking[product.name] = joined(its)
        if earlier := _live_release(node, live, product.name):
            products.append(_without_variables(_with_release(product, earlier), faults.keys() - recovered.keys()))
        else:
            left_out.append(product)
    databases = tuple(_withholding(database, faults, lacking) for database in assignment.databases)
    possible = replace(assignment, products=tuple(products), left_out=tuple(left_out), databases=databases)
    return possible, recovered, lacking


def as_in(generation: Generation, assignment: Assignment, names: Container[str]) -> Assignment:
    """The assignment with some of its products as a generation has them, whatever of them could not be had then."""
    releases = {release.product: release for release in generation.releases}
    has_account = {request.product for request in account_requests(generation)}
    products, left_out = [], list(assignment.left_out)
    for product in assignment.products:
        release = releases.get(product.name)
        if product.name not in names:
            products.append(product)
        elif release is None:
            left_out.append(product)
        else:
            absent = {secret.key for secret in product.secrets} - generation.secrets.keys()
            earlier = _without_variables(_with_release(product, release), absent)
            if release.user and product.name not in has_account:
                earlier = replace(earlier, user=release.user, keeps_account=True)
            products.append(earlier)
    return replace(assignment, products=tuple(products), left_out=tuple(left_out))


def live_generation(node: Node) -> Generation | None:
    """What daemons read; where its manifest is lost, what was last ready."""
    return node.generations.load(node.generations.current()) or node.generations.load(node.generations.ready())


def live_values(node: Node, live: Generation | None) -> dict[str, str]:
    """The values of secrets that the live files have, where root reads them whatever became of their source."""
    values: dict[str, str] = {}
    for file in live.staged_files if live else ():
        if live and file.secrets and (content := files.read(node.generations.folder / live.id / file.path)):
            values |= live.secret_values(file, content.decode("utf-8", "replace"))
    return values


def _live_release(node: Node, live: Generation | None, product: str) -> DeployedRelease | None:
    """The release that a product has now, if it is on disk."""
    releases = {release.product: release for release in live.releases} if live else {}
    release = releases.get(product)
    return release if release and (node.settings.state / release.folder).is_dir() else None


def _has_account(node: Node, release: DeployedRelease) -> bool:
    account = accounts.account_of(release.product, node.settings.paths.root)
    return account is not None and account.name == release.user


def _with_release(product: AssignedProduct, earlier: DeployedRelease) -> AssignedProduct:
    release = product.release.model_copy(
        update={
            "version": earlier.version,
            "artifact": earlier.artifact,
            "sha256": earlier.sha256,
            "size": earlier.size,
        }
    )
    return replace(product, release=release, document_root=earlier.document_root, writable=earlier.writable)


def _without_variables(product: AssignedProduct, keys: Iterable[str]) -> AssignedProduct:
    """Without the secrets that it never had a value of: its release has done without."""
    environment = tuple(
        (name, value) for name, value in product.environment if not (isinstance(value, Secret) and value.key in keys)
    )
    return replace(product, environment=environment)


def _shared_secrets(databases: Iterable[NodeDatabase]) -> Iterator[Secret]:
    """Those that are no product's."""
    yield from (database.replication_password for database in databases if database.replication_password)


def _withholding(database: NodeDatabase, faults: Mapping[str, Fault], lacking: dict[str, Fault]) -> NodeDatabase:
    """The database with the accounts of some products left as the server has them; `lacking` grows by these."""
    database_accounts = list(database.accounts)
    for number, account in enumerate(database.accounts):
        if account.password and account.password.key in faults:
            lacking[account.product] = faults[account.password.key]
            database_accounts[number] = replace(account, password=None, withheld=True)
    return replace(database, accounts=tuple(database_accounts))
