"""How many connections each account of a database may have, so that products never take those of replication.

Writes that wait for an acknowledgement keep their connections. If they could take all there are, the candidate whose
acknowledgement they wait for would find none left to come back by (error 1040), and they would wait for ever.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from rolecall.fleet.databases import Database
from rolecall.fleet.schema import Fleet, Product

RESERVED = 50  # connections of a server that no product gets: for replication, the agent, monitoring, administrators
_BESIDE_PAGES = 4  # connections of a product on one web server beside its workers and cron jobs: deployments, people
Account: TypeAlias = tuple[str, str]  # of a database server: user and address


def wanted_connections(product: Product) -> int:
    """What a product may need at one of its web servers.

    Two for each worker: it may keep one to read by and one to write by, and after a reload of php-fpm old workers end
    while new ones begin.
    """
    workers = product.workers if product.runtime == "php" else 0
    return 2 * workers + len(product.cron) + _BESIDE_PAGES


def wanted_by_account(name: str, fleet: Fleet) -> Mapping[Account, int]:
    """What each account of a database may need; products that share an account share its connections."""
    wanted: Counter[Account] = Counter()
    for product_name, product in fleet.products.items():
        if name in product.databases:
            addresses = (server.address for server in fleet.servers.values() if product_name in server.products)
            wanted.update({(product.database_user, address): wanted_connections(product) for address in addresses})
    return wanted


def limit_by_account(name: str, fleet: Fleet) -> Mapping[Account, int]:
    """How many connections each account of a database may have: what it may need, or its share where that is too much.

    At least one each.
    """
    wanted = wanted_by_account(name, fleet)
    total, room = sum(wanted.values()), available_connections(fleet.databases[name])
    return {account: max(1, count * min(room, total) // total) for account, count in wanted.items()}


def available_connections(database: Database) -> int:
    """What the products of a database have together at each of its servers."""
    return database.max_connections - RESERVED
