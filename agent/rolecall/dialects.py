"""The statements of the two servers, side by side: what one calls SLAVE, the other calls REPLICA.

MariaDB 10.11: its Knowledge Base, "CHANGE MASTER TO", "Semisynchronous Replication". MySQL 8.4: its Reference Manual,
"Replication Statements", "Semisynchronous Replication". Only MariaDB's have been run by us.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Columns(NamedTuple):
    """What the columns of the replication's status are called."""

    host: str
    port: str
    receiving: str
    applying: str
    lag: str


@dataclass(frozen=True)
class Dialect:
    """Statements; {…} are filled in with values that are quoted already."""

    status: str
    columns: Columns
    state: str  # one row: read_only, position, acked, acks, ackers
    close: str
    open: str
    acked: str
    unacked: str
    ack: str
    no_ack: str
    follow: str
    start: str
    stop: str
    stop_receiving: str
    forget: str
    wait: str  # for a position, in seconds: 0 is good
    received: str  # the column of `status` that says up to where has been received
    empty: str  # a position before everything


MARIADB = Dialect(
    status="SHOW SLAVE STATUS",
    columns=Columns("Master_Host", "Master_Port", "Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master"),
    state="SELECT @@global.read_only AS read_only, @@global.gtid_current_pos AS position, "
    "@@global.rpl_semi_sync_master_enabled AS acked, @@global.rpl_semi_sync_slave_enabled AS acks, "
    "(SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS "
    "WHERE VARIABLE_NAME = 'Rpl_semi_sync_master_clients') AS ackers",
    close="SET GLOBAL read_only = ON",
    open="SET GLOBAL read_only = OFF",
    acked="SET GLOBAL rpl_semi_sync_master_enabled = ON",
    unacked="SET GLOBAL rpl_semi_sync_master_enabled = OFF",
    ack="SET GLOBAL rpl_semi_sync_slave_enabled = ON",
    no_ack="SET GLOBAL rpl_semi_sync_slave_enabled = OFF",
    follow="STOP SLAVE; CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, "
    "MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, "
    "MASTER_HEARTBEAT_PERIOD = 1; START SLAVE",
    start="START SLAVE",
    stop="STOP SLAVE",
    stop_receiving="STOP SLAVE IO_THREAD",
    forget="STOP SLAVE; RESET SLAVE ALL",
    wait="SELECT MASTER_GTID_WAIT({position}, {seconds}) AS waited",
    received="Gtid_IO_Pos",
    empty="",
)
MYSQL = Dialect(
    status="SHOW REPLICA STATUS",
    columns=Columns("Source_Host", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source"),
    state="SELECT @@global.super_read_only AS read_only, @@global.gtid_executed AS position, "
    "@@global.rpl_semi_sync_source_enabled AS acked, @@global.rpl_semi_sync_replica_enabled AS acks, "
    "(SELECT VARIABLE_VALUE FROM performance_schema.global_status "
    "WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_clients') AS ackers",
    close="SET GLOBAL super_read_only = ON",
    open="SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
    acked="SET GLOBAL rpl_semi_sync_source_enabled = ON",
    unacked="SET GLOBAL rpl_semi_sync_source_enabled = OFF",
    ack="SET GLOBAL rpl_semi_sync_replica_enabled = ON",
    no_ack="SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
    follow="STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, "
    "SOURCE_USER = {user}, SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, "
    "SOURCE_CONNECT_RETRY = 1, SOURCE_HEARTBEAT_PERIOD = 1; START REPLICA",
    start="START REPLICA",
    stop="STOP REPLICA",
    stop_receiving="STOP REPLICA IO_THREAD",
    forget="STOP REPLICA; RESET REPLICA ALL",
    wait="SELECT WAIT_FOR_EXECUTED_GTID_SET({position}, {seconds}) AS waited",
    received="Retrieved_Gtid_Set",
    empty="",
)
DIALECTS = {"mariadb": MARIADB, "mysql": MYSQL}
