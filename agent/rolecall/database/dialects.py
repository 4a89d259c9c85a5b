"""The statements of the two servers, side by side: what one calls SLAVE, the other calls REPLICA.

MariaDB 10.11: its Knowledge Base, "CHANGE MASTER TO", "Semisynchronous Replication". MySQL 8.4: its Reference Manual,
"Replication Statements", "Semisynchronous Replication", "mysqldump". Only MariaDB's have been run by us; tests hold
both against a text that people can read, tests/roles/database/statements.txt.
"""

from dataclasses import dataclass
from typing import NamedTuple


class Columns(NamedTuple):
    """What the columns of the replication's status are called; those of errors have the same names in both."""

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
    stop_receiving: str
    forget: str
    received: str  # the column of `status` that says up to where has been received
    wait: str  # for a position, in seconds: 0 is good
    restore: str  # before a dump is loaded: nothing of it goes into this server's own log
    restored: str  # after it
    blind: bool  # it follows an upstream that lacks some of what it has: ask that one first, by `wait`
    diverged: tuple[int, ...]  # errors of replication that only a person can judge


# A row that is not there, or is there already, and the like: the data is not what the upstream's was.
_BROKEN = (1007, 1008, 1032, 1050, 1051, 1062, 1146, 1396)

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
    # What a former master has written itself, and what a crash has cut off right behind a DDL, is in the binary log
    # only: it would ask for what it has.
    follow="STOP SLAVE; SET GLOBAL gtid_slave_pos = IF(SUBSTRING_INDEX(@@global.gtid_binlog_pos, '-', -1) + 0 > "
    "SUBSTRING_INDEX(@@global.gtid_current_pos, '-', -1) + 0, @@global.gtid_binlog_pos, @@global.gtid_current_pos); "
    "CHANGE MASTER TO "
    "MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, MASTER_PASSWORD = {password}, "
    "MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE",
    start="START SLAVE",
    stop_receiving="STOP SLAVE IO_THREAD",
    forget="STOP SLAVE; RESET SLAVE ALL",
    received="Gtid_IO_Pos",
    wait="SELECT MASTER_GTID_WAIT({position}, {seconds}) AS waited",
    restore="SET SESSION sql_log_bin = 0",
    restored="FLUSH LOCAL PRIVILEGES",
    blind=False,  # in strict mode it refuses by itself
    # Server has diverged; a transaction that the upstream does not have, or has thrown away; strict mode.
    diverged=(1236, 1943, 1945, 1947, 1950, *_BROKEN),
)
MYSQL = Dialect(
    status="SHOW REPLICA STATUS",
    columns=Columns("Source_Host", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running", "Seconds_Behind_Source"),
    state="SELECT @@global.super_read_only AS read_only, @@global.gtid_executed AS position, "
    "@@global.rpl_semi_sync_source_enabled AS acked, @@global.rpl_semi_sync_replica_enabled AS acks, "
    "(SELECT VARIABLE_VALUE FROM performance_schema.global_status "
    "WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_clients') AS ackers",
    close="SET GLOBAL super_read_only = ON",  # and read_only with it
    open="SET GLOBAL read_only = OFF",  # and super_read_only with it
    acked="SET GLOBAL rpl_semi_sync_source_enabled = ON",
    unacked="SET GLOBAL rpl_semi_sync_source_enabled = OFF",
    ack="SET GLOBAL rpl_semi_sync_replica_enabled = ON",
    no_ack="SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
    # The key is for the password, which is never sent in the clear. The count is a day: 8.4 gives up after 10 tries.
    follow="STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, "
    "SOURCE_USER = {user}, SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, "
    "SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 1; START REPLICA",
    start="START REPLICA",
    stop_receiving="STOP REPLICA IO_THREAD",
    forget="STOP REPLICA; RESET REPLICA ALL",
    received="Retrieved_Gtid_Set",
    # The server breaks a set of several servers into lines, and its client writes a line's end as \n. 0 is forever.
    wait="SELECT WAIT_FOR_EXECUTED_GTID_SET(REPLACE({position}, '\\\\n', ''), GREATEST({seconds}, 1)) AS waited",
    # A server that has a position refuses a dump's, as one does whose restore was cut off. And super_read_only stops
    # even the administrator; read_only stays on meanwhile.
    restore="SET GLOBAL super_read_only = OFF; RESET BINARY LOGS AND GTIDS; SET SESSION sql_log_bin = 0",
    restored="FLUSH LOCAL PRIVILEGES; SET GLOBAL super_read_only = ON",
    blind=True,  # sets have no order, and it would stay different without a word
    diverged=(1236, 13114, *_BROKEN),  # 13114: error 1236 of the upstream, as the replica tells it
)
DIALECTS = {"mariadb": MARIADB, "mysql": MYSQL}
