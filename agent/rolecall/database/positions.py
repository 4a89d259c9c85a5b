"""GTID positions of MariaDB, which have an order within each domain. MySQL's are sets, and its server compares them."""


def is_behind(position: str, other: str) -> bool:
    """Whether a GTID position of MariaDB lacks a transaction of another.

    A position names the last transaction of each domain, as in `0-1-42,1-1-7`: domain, server, sequence number. The
    sequence number counts up within its domain (MariaDB Knowledge Base, "Global Transaction ID").
    """
    sequences = _sequences(position)
    return any(sequences.get(domain, 0) < sequence for domain, sequence in _sequences(other).items())


def _sequences(position: str) -> dict[str, int]:
    """Domain → sequence number."""
    gtids = (gtid.split("-") for gtid in position.split(","))
    return {gtid[0]: int(gtid[2]) for gtid in gtids if len(gtid) == 3}
