"""The two database servers, one body of tests: `ROLECALL_DATABASE=mysql` runs them on MySQL, as `make test-mysql` does.

Here is all in which the two differ for a test; the statements of the agent itself are in its own table, `dialect`.
"""

import getpass
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rolecall.database.dialect import Dialect
from rolecall.database.dialects import MARIADB, MYSQL

MYSQL_PROGRAMS = Path(__file__).parents[2] / ".setup/mysql/bin"  # requirements/mysql lays them there


@dataclass(frozen=True)
class Server:
    """A database server as tests know it: its programs, and statements; `{…}` stands for a value."""

    name: str
    dialect: Dialect
    platform: str  # of its node
    names: dict[str, str]  # of that platform, which are others in a folder
    daemon: str
    client: str
    print_defaults: tuple[str, ...]
    options: tuple[str, ...]  # of a daemon without a configuration
    group: str  # of the daemon, in a configuration
    position: str
    wait_for_position: str  # 0 is good
    foreign_position: str  # one that another server would have
    late: str  # what it answers if a position has not arrived in time
    password: str  # what it keeps of an account's password, where that is the same each time
    logins: str  # with what it follows its upstream, where a table tells: host, user, password, port
    acknowledgements: str  # whether it waits for them, and whether it gives them
    oldest_log: str  # throw away all binary logs but that of {log}
    numbers: str  # a table expression with the columns seq: 1 to {count}
    restoring: str  # how much of the table blog.big, or of all, has arrived
    forget: str  # it follows nobody, and has never had a position
    without_tls: tuple[str, ...]  # options of a daemon that offers none

    @property
    def admin(self) -> tuple[str, ...]:
        """Its client, as the administrator."""
        return self.client, "--no-defaults", "--user=root", "--batch", "--skip-column-names", "--unbuffered"

    def make_data(self, folder: Path) -> None:
        """An empty data folder, as the distribution's package makes it."""
        subprocess.run([*self._initialize(), f"--datadir={folder}", f"--user={getpass.getuser()}"],
                       check=True, capture_output=True)  # fmt: skip
        (folder / "auto.cnf").unlink(missing_ok=True)  # the name that a MySQL server gives itself: no two have the same

    def _initialize(self) -> tuple[str, ...]:
        if self.dialect is MYSQL:
            return self.daemon, "--no-defaults", "--initialize-insecure"
        options = ("--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve")
        return "mariadb-install-db", "--no-defaults", *options


_MARIADB = Server(
    name="mariadb",
    dialect=MARIADB,
    platform="debian",
    names={},
    daemon="mariadbd",
    client="mariadb",
    print_defaults=("my_print_defaults",),
    options=("--skip-slave-start",),
    group="mariadbd",
    position="SELECT @@gtid_current_pos",
    wait_for_position="SELECT MASTER_GTID_WAIT('{position}', {seconds})",
    foreign_position="0-1-1",
    late="-1",
    password="authentication_string",
    logins="",
    acknowledgements="SELECT @@rpl_semi_sync_master_enabled, @@rpl_semi_sync_slave_enabled",
    oldest_log="PURGE BINARY LOGS TO '{log}'",
    numbers="(SELECT seq FROM blog.seq_1_to_{count}) AS numbers",
    restoring="SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'blog' AND TABLE_NAME = 'big'",
    forget="STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos = ''",
    without_tls=(),
)
_MYSQL = Server(
    name="mysql",
    dialect=MYSQL,
    platform="centos-mysql",
    names={
        "mysql_client": f"{MYSQL_PROGRAMS}/mysql",
        "mysql_dump": f"{MYSQL_PROGRAMS}/mysqldump",
        "mysql_server": f"{MYSQL_PROGRAMS}/mysqld",
        "mysql_socket": "{{ paths.root }}/run/mysqld/mysqld.sock",
    },
    daemon=f"{MYSQL_PROGRAMS}/mysqld",
    client=f"{MYSQL_PROGRAMS}/mysql",
    print_defaults=(f"{MYSQL_PROGRAMS}/my_print_defaults", "--show"),
    options=(
        "--skip-replica-start",
        "--mysqlx=OFF",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--plugin-load-add=auth_socket.so",
        "--plugin-load-add=semisync_source.so",
        "--plugin-load-add=semisync_replica.so",
    ),
    group="mysqld",
    position="SELECT @@gtid_executed",
    wait_for_position="SELECT WAIT_FOR_EXECUTED_GTID_SET(REPLACE('{position}', '\\\\n', ''), {seconds})",
    foreign_position="3e11fa47-71ca-11e1-9e33-c80aa9429562:1",
    late="1",
    password="''",
    logins="SELECT HEX(Host), HEX(User_name), HEX(User_password), HEX(CONCAT(Port)) FROM mysql.slave_master_info",
    acknowledgements="SELECT @@rpl_semi_sync_source_enabled, @@rpl_semi_sync_replica_enabled",
    oldest_log="PURGE BINARY LOGS TO '{log}'",
    numbers="(WITH RECURSIVE numbers (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM numbers WHERE seq < {count}) "
    "SELECT /*+ SET_VAR(cte_max_recursion_depth = 1M) */ seq FROM numbers) AS numbers",
    restoring="SELECT COALESCE(SUM(DATA), 0) FROM performance_schema.clone_progress WHERE STATE = 'In Progress'",
    forget="STOP REPLICA; RESET REPLICA ALL; SET GLOBAL super_read_only = OFF; RESET BINARY LOGS AND GTIDS",
    without_tls=("--tls-version=",),
)
SERVERS = {server.name: server for server in (_MARIADB, _MYSQL)}
SERVER = SERVERS[os.environ.get("ROLECALL_DATABASE", "mariadb")]
