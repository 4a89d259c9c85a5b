"""Have this machine's database server be what the document says. Data is never overwritten, and never rolled back."""

from contextlib import suppress

from rolecall.database.client import Client, UnansweredFault
from rolecall.database.encryption import Encryption, shown_certificate
from rolecall.database.membership import leave_databases
from rolecall.database.restore import Helpers
from rolecall.database.server import DatabaseServer
from rolecall.host.certificates import Certificates
from rolecall.node.node import Node
from rolecall.report import Report
from rolecall.steps.activation import activate
from rolecall.steps.planning import Prospect
from rolecall.steps.rotation import end_rotations


def replicate(node: Node, prospect: Prospect, report: Report) -> str:
    """Make the server master, candidate or replica of each database; returns a note of what was done."""
    target, secrets = prospect.plan.new, prospect.secrets
    if (use := target.replication) is None:
        return ""
    file = target.file(use.accounts)
    accounts, mark = (target.text_of(file, secrets), target.mark_of(file)) if file else ("", "")
    databases, certificates = prospect.assignment.databases, Certificates(node.settings.state)
    helpers = Helpers(start=lambda: activate(node, target), watch=report.progress)
    servers = [
        DatabaseServer(
            Client(use, secrets.values(), Encryption(use.dialect, database, certificates).channel),
            database,
            secrets,
            target.secrets,
            node.notes,
            helpers=helpers,
        )
        for database in databases
    ]
    if use.address:
        with suppress(UnansweredFault):  # a server that hangs is dealt with below
            report.certificate = shown_certificate(servers[0].client, certificates)
            if not report.certificate:
                report.warn("what this server sends and is sent is not encrypted until somebody restarts it")
    notes = [leave_databases(use, [server.target.name for server in servers], node.notes)]
    for server in servers:
        try:
            notes.append(server.converge(accounts, mark))
        finally:
            if server.oldest_wait is not None:
                report.waits[server.target.name] = server.oldest_wait
            report.databases[server.target.name] = server.status
        if server.pending:
            report.owe(server.pending)
        notes.append(end_rotations(node, server, prospect, report))
    return "; ".join(filter(None, notes))
