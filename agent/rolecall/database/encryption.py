"""How the connections of a database's servers are encrypted, and whom they believe.

Why, and what holds until the document has a server's certificate:
docs/decisions/0055-each-server-is-its-own-authority.md.
"""

from dataclasses import dataclass

from rolecall.database.client import Client
from rolecall.database.dialect import Channel
from rolecall.database.dialects import DIALECTS
from rolecall.database.states import Address
from rolecall.fleet.topology import Endpoint, NodeDatabase
from rolecall.forms.quoting import sql
from rolecall.host.certificates import Certificates


@dataclass(frozen=True)
class Encryption:
    """Of connections from this server to the other ones of its database."""

    dialect: str
    target: NodeDatabase
    certificates: Certificates

    def channel(self, address: Address) -> Channel:
        """How to connect to an address. Another certificate than the document's is refused there, and none at all."""
        dialect = DIALECTS[self.dialect]
        if not self.target.tls:
            return dialect.plain
        members = (member for member in self.target.members if (member.address, member.port) == address)
        member = next(members, Endpoint("", *address))
        if not member.certificate:
            return dialect.encrypted
        authority = str(self.certificates.trust(member.server, member.certificate))
        return dialect.verified.trusting(authority, sql(authority))


def shown_certificate(client: Client, certificates: Certificates) -> str:
    """The certificate of the authority of what this server shows its clients; '' while it shows nothing of ours.

    What is on the disk is read again, so that a run which was killed before that owes nothing. Raises HostFault.
    """
    statement = client.dialect.shows_certificate.format(certificate=sql(str(certificates.server)))
    if client.rows(statement)[0]["shown"] != "1":
        return ""
    client.run(client.dialect.reload_certificate)
    return certificates.public()
