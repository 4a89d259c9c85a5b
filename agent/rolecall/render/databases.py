"""How a role's database server is talked to, filled in for a node."""

from collections.abc import Collection

from rolecall.fleet.topology import NodeDatabase
from rolecall.render.contents import Replication
from rolecall.render.evaluation import Evaluator


def replication(evaluator: Evaluator, databases: Collection[NodeDatabase]) -> Replication | None:
    """The role's [replication], and what the node is in each of `databases`; None where the role has no such server."""
    spec = evaluator.role.table.replication
    if spec is None:
        return None
    return Replication(
        dialect=evaluator.text(spec.dialect),
        client=evaluator.texts(spec.client),
        remote=evaluator.texts(spec.remote),
        dump=evaluator.texts(spec.dump),
        user=evaluator.text(spec.user),
        accounts=spec.accounts,
        socket=evaluator.text(spec.socket),
        pidfile=evaluator.text(spec.pidfile),
        max_lag=evaluator.number(str(spec.max_lag)),
        max_ack_wait=evaluator.number(str(spec.max_ack_wait)),
        duties={database.name: f"{database.duty}, epoch {database.epoch}" for database in databases},
        address=next((_own_address(database) for database in databases if database.tls), ""),
        account=evaluator.text(spec.account),
    )


def _own_address(database: NodeDatabase) -> str:
    """The node's own, as the other servers of the database know it."""
    return next(member.address for member in database.members if member.server == database.server)
