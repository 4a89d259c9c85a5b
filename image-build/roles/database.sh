# shellcheck shell=bash
# database: one MariaDB server. Whether it is a master or a replica, and of what, is for the fleet document to say.

packages <<'END'
# CentOS         Debian           why
mariadb-server   mariadb-server   the databases
mariadb          mariadb-client   the client, for the agent's self-tests and people
mariadb-backup   mariadb-backup   copies a running server: snapshots, and new replicas
END

enable  mariadb.service
