"""What whoever reads a node's report should know of the connections to its databases."""

from collections.abc import Iterator

from rolecall.fleet.assignment import Assignment


def encryption_remarks(assignment: Assignment) -> Iterator[str]:
    """A sentence for each database whose connections are not encrypted, or whose servers could be anybody.

    The latter is said on the servers, and not on every web server too.
    """
    used = {database.name: database.tls for product in assignment.products for database in product.databases}
    used |= {database.name: database.tls for database in assignment.databases}
    for name, encrypted in used.items():
        if not encrypted:
            yield f"nothing that goes to or from servers of {name} is encrypted: databases.{name}.tls is 'off'"
    for database in assignment.databases:
        unknown = ", ".join(member.server for member in database.members if not member.certificate)
        if database.tls and unknown:
            yield (
                f"whoever answers in the place of a server of {database.name} is believed: the document has no "
                f"certificate of {unknown} (`rolecall fleet certificates` adds what servers report)"
            )
