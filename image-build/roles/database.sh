# shellcheck shell=bash
# database: one MariaDB server, or MySQL with --platform centos-mysql. Whether it is a master or a replica, and of what, is
# for the fleet document to say.

if [[ $PLATFORM == *-mysql ]]; then
  packages <<'END'
# CentOS         Debian           why
mysql8.4-server  -                the databases
mysql8.4         -                its client and mysqldump: the agent talks to the server by them
openssl          -                makes the server's certificate
END
  enable mysqld.service
else
  packages <<'END'
# CentOS         Debian           why
mariadb-server   mariadb-server   the databases
mariadb          mariadb-client   the client and mariadb-dump: the agent talks to the server by them
mariadb-backup   mariadb-backup   copies a running server, for people and backups
openssl          openssl          makes the server's certificate
END
  enable mariadb.service
fi
