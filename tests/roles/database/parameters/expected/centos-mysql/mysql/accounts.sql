-- Rendered by rolecall: changes are lost. Run on the master when it changes; replicas get it from there. An account that
-- is there already keeps its password here: the agent changes it, and for a while the one before is good as well.
ALTER USER 'root'@'localhost' IDENTIFIED WITH auth_socket;
CREATE USER IF NOT EXISTS 'rolecall_replication'@'10.0.0.21' IDENTIFIED BY <secret databases/blog.REPLICATION_PASSWORD>;
ALTER USER 'rolecall_replication'@'10.0.0.21' WITH MAX_USER_CONNECTIONS 1000 ACCOUNT UNLOCK;
GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, PROCESS, BACKUP_ADMIN ON *.* TO 'rolecall_replication'@'10.0.0.21';
CREATE USER IF NOT EXISTS 'rolecall_replication'@'10.0.0.22' IDENTIFIED BY <secret databases/blog.REPLICATION_PASSWORD>;
ALTER USER 'rolecall_replication'@'10.0.0.22' WITH MAX_USER_CONNECTIONS 1000 ACCOUNT UNLOCK;
GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, PROCESS, BACKUP_ADMIN ON *.* TO 'rolecall_replication'@'10.0.0.22';
SELECT 1
