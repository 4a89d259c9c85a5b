"""The statements of the two servers, side by side: what one calls SLAVE, the other calls REPLICA.

MariaDB 10.11: its Knowledge Base, "CHANGE MASTER TO", "Semisynchronous Replication". MySQL 8.4: its Reference Manual,
"Replication Statements", "Semisynchronous Replication", "mysqldump". The same tests run both on real
servers, and compare them with a text that people can read, tests/roles/database/statements.txt.
"""

from rolecall.database.dialect import Channel, Clone, Dialect, StatusColumns

# A row that does not exist, or exists already, and the like: the data is not what the upstream's was.
_DATA_DIFFERS = (1007, 1008, 1032, 1050, 1051, 1062, 1146, 1396)

# The new password, the one before, and the first that was good beside that; nothing where it has the new one already.
_MARIADB_ROTATE = (
    "SET @statement = (SELECT IF(JSON_VALUE(Priv, '$.authentication_string') = PASSWORD({password}), 'DO 0', "
    "CONCAT('ALTER USER ', QUOTE(User), '@', QUOTE(Host), "
    "' IDENTIFIED VIA mysql_native_password USING ', QUOTE(PASSWORD({password})), "
    "IFNULL(CONCAT(' OR ', JSON_VALUE(Priv, '$.plugin'), "
    "' USING ''', JSON_VALUE(Priv, '$.authentication_string'), ''''), ''), "
    "IFNULL(CONCAT(' OR ', JSON_VALUE(Priv, '$.auth_or[1].plugin'), "
    "' USING ''', JSON_VALUE(Priv, '$.auth_or[1].authentication_string'), ''''), ''))) "
    "FROM mysql.global_priv WHERE User = {user} AND Host = {host}); EXECUTE IMMEDIATE @statement"
)

MARIADB = Dialect(
    replica_status="SHOW SLAVE STATUS",
    status_columns=StatusColumns(
        host="Master_Host",
        port="Master_Port",
        receiver="Slave_IO_Running",
        applier="Slave_SQL_Running",
        lag="Seconds_Behind_Master",
        received="Gtid_IO_Pos",
        encrypted="Master_SSL_Allowed",
        authority="Master_SSL_CA_File",
        verified="Master_SSL_Verify_Server_Cert",
    ),
    server_state="SELECT @@global.read_only AS read_only, @@global.gtid_current_pos AS position, "
    "@@global.rpl_semi_sync_master_enabled AS waits_for_acks, @@global.rpl_semi_sync_slave_enabled AS acknowledges, "
    "(SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS "
    "WHERE VARIABLE_NAME = 'Rpl_semi_sync_master_clients') AS acknowledging_replicas, "
    "CONCAT(',', @@global.gtid_binlog_state) REGEXP CONCAT(',[0-9]+-', @@global.server_id, '-') AS has_written",
    look="SELECT CONCAT_WS(' ', @@global.read_only, (SELECT GROUP_CONCAT(VARIABLE_VALUE ORDER BY VARIABLE_NAME) "
    "FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('Rpl_semi_sync_master_clients', 'Slave_running')), "
    "(SELECT MAX(TIME) FROM information_schema.PROCESSLIST WHERE TIME > {seconds} AND "
    "(STATE LIKE 'Waiting for semi-sync ACK%' OR "
    "STATE IN ('Waiting for someone to free space', 'Waiting for backup lock'))))",
    set_read_only="SET GLOBAL read_only = ON",
    set_writable="SET GLOBAL read_only = OFF",
    wait_for_acks="SET GLOBAL rpl_semi_sync_master_enabled = ON",
    stop_waiting_for_acks="SET GLOBAL rpl_semi_sync_master_enabled = OFF",
    acknowledge="SET GLOBAL rpl_semi_sync_slave_enabled = ON",
    stop_acknowledging="SET GLOBAL rpl_semi_sync_slave_enabled = OFF",
    # What a former master has written itself stands in its binary log only, and so does a DDL statement right behind
    # which it crashed. gtid_current_pos may lack both: the server would ask its upstream for what it has already.
    follow="STOP SLAVE; SET GLOBAL gtid_slave_pos = IF(SUBSTRING_INDEX(@@global.gtid_binlog_pos, '-', -1) + 0 > "
    "SUBSTRING_INDEX(@@global.gtid_current_pos, '-', -1) + 0, @@global.gtid_binlog_pos, @@global.gtid_current_pos); "
    "CHANGE MASTER TO "
    "MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, MASTER_PASSWORD = {password}, "
    "MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1, {channel}; START SLAVE",
    resume="START SLAVE",
    stop_receiver="STOP SLAVE IO_THREAD",
    reset_replica="STOP SLAVE; RESET SLAVE ALL",
    # Several authentication methods of one account (Knowledge Base, "CREATE USER"). The server keeps its passwords as
    # hashes, and takes them so. EXECUTE IMMEDIATE reads no table itself.
    accounts="SELECT HEX(CONCAT(User, '@', Host)) AS account, "
    "IFNULL(JSON_LENGTH(Priv, '$.auth_or'), 0) > 1 AS rotating, "
    "UNIX_TIMESTAMP() - JSON_VALUE(Priv, '$.password_last_changed') AS age FROM mysql.global_priv",
    rotate=_MARIADB_ROTATE,
    rotate_again=_MARIADB_ROTATE,
    end_rotation="SET @statement = (SELECT CONCAT('ALTER USER ', QUOTE(User), '@', QUOTE(Host), "
    "' IDENTIFIED VIA mysql_native_password USING ', QUOTE(JSON_VALUE(Priv, '$.authentication_string'))) "
    "FROM mysql.global_priv WHERE User = {user} AND Host = {host}); EXECUTE IMMEDIATE @statement",
    wait_for_position="SELECT MASTER_GTID_WAIT({position}, {seconds}) AS waited",
    # The server's own tables, in the schema mysql, are of other engines than products' have to be.
    before_restore="SET SESSION sql_log_bin = 0, enforce_storage_engine = NULL",
    after_restore="FLUSH LOCAL PRIVILEGES",
    clone=None,
    refuses_lagging_upstream=True,  # in strict mode: gtid_strict_mode
    # The server has diverged; a transaction that the upstream does not have, or no longer has; strict mode.
    divergence_errors=(1236, 1943, 1945, 1947, 1950, *_DATA_DIFFERS),
    plain=Channel(
        ("--skip-ssl",),
        "MASTER_SSL = 0, MASTER_SSL_CA = '', MASTER_SSL_VERIFY_SERVER_CERT = 0",
        ("No", "", "No"),
    ),
    # Client and replica go on without TLS where a server offers none, as long as they do not verify.
    encrypted=Channel(
        ("--ssl",), "MASTER_SSL = 1, MASTER_SSL_CA = '', MASTER_SSL_VERIFY_SERVER_CERT = 0", ("Yes", "", "No")
    ),
    verified=Channel(
        ("--ssl-ca={authority}", "--ssl-verify-server-cert"),
        "MASTER_SSL = 1, MASTER_SSL_CA = {authority}, MASTER_SSL_VERIFY_SERVER_CERT = 1",
        ("Yes", "", "Yes"),
    ),
    shows_certificate="SELECT @@global.have_ssl = 'YES' AND @@global.ssl_cert = {certificate} AS shown",
    reload_certificate="FLUSH LOCAL SSL",
)
MYSQL = Dialect(
    replica_status="SHOW REPLICA STATUS",
    status_columns=StatusColumns(
        host="Source_Host",
        port="Source_Port",
        receiver="Replica_IO_Running",
        applier="Replica_SQL_Running",
        lag="Seconds_Behind_Source",
        received="Retrieved_Gtid_Set",
        encrypted="Source_SSL_Allowed",
        authority="Source_SSL_CA_File",
        verified="Source_SSL_Verify_Server_Cert",
    ),
    # While SET GLOBAL super_read_only waits for writes that are under way, the server shows that as ON already (seen on
    # 9.7), and read_only as OFF.
    server_state="SELECT @@global.read_only AND @@global.super_read_only AS read_only, "
    "@@global.gtid_executed AS position, "
    "@@global.rpl_semi_sync_source_enabled AS waits_for_acks, @@global.rpl_semi_sync_replica_enabled AS acknowledges, "
    "(SELECT VARIABLE_VALUE FROM performance_schema.global_status "
    "WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_clients') AS acknowledging_replicas, "
    "INSTR(@@global.gtid_executed, @@global.server_uuid) > 0 AS has_written",
    look="SELECT CONCAT_WS(' ', @@global.super_read_only, (SELECT GROUP_CONCAT(VARIABLE_VALUE) "
    "FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Rpl_semi_sync_source_clients'), "
    "(SELECT GROUP_CONCAT(SERVICE_STATE) FROM performance_schema.replication_connection_status), "
    "(SELECT GROUP_CONCAT(SERVICE_STATE) FROM performance_schema.replication_applier_status), "
    "(SELECT MAX(TIME) FROM performance_schema.processlist WHERE TIME > {seconds} AND "
    "(STATE LIKE 'Waiting for semi-sync ACK%' OR "
    "STATE IN ('Waiting for disk space', 'Waiting for global read lock', 'Waiting for commit lock'))))",
    set_read_only="SET GLOBAL super_read_only = ON",  # and read_only with it
    set_writable="SET GLOBAL read_only = OFF",  # and super_read_only with it
    wait_for_acks="SET GLOBAL rpl_semi_sync_source_enabled = ON",
    stop_waiting_for_acks="SET GLOBAL rpl_semi_sync_source_enabled = OFF",
    acknowledge="SET GLOBAL rpl_semi_sync_replica_enabled = ON",
    stop_acknowledging="SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
    # Without TLS the public key encrypts the password, which is never sent in the clear. 8.4 gives up after 10 tries;
    # 86400 tries, one a second, are a day.
    follow="STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, "
    "SOURCE_USER = {user}, SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, "
    "SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 1, {channel}; START REPLICA",
    resume="START REPLICA",
    stop_receiver="STOP REPLICA IO_THREAD",
    reset_replica="STOP REPLICA; RESET REPLICA ALL",
    # Dual passwords (Reference Manual, "Password Management"): an account has two at most.
    accounts="SELECT HEX(CONCAT(User, '@', Host)) AS account, "
    "IFNULL(JSON_CONTAINS_PATH(User_attributes, 'one', '$.additional_password'), 0) AS rotating, "
    "TIMESTAMPDIFF(SECOND, password_last_changed, NOW()) AS age FROM mysql.user",
    rotate="ALTER USER {user}@{host} IDENTIFIED BY {password} RETAIN CURRENT PASSWORD",
    rotate_again="ALTER USER {user}@{host} IDENTIFIED BY {password}",
    end_rotation="ALTER USER {user}@{host} DISCARD OLD PASSWORD",
    # The server breaks a GTID set of several servers into lines, and its client writes the line breaks as \n. A limit
    # of 0 seconds would mean to wait for ever.
    wait_for_position="SELECT WAIT_FOR_EXECUTED_GTID_SET("
    "REPLACE({position}, '\\\\n', ''), GREATEST({seconds}, 1)) AS waited",
    # A server that has a GTID position, such as one whose restore was cut off, refuses that of a dump: it is reset
    # first. And super_read_only stops even the administrator; read_only stays on meanwhile.
    before_restore="SET GLOBAL super_read_only = OFF; RESET BINARY LOGS AND GTIDS; SET SESSION sql_log_bin = 0",
    after_restore="FLUSH LOCAL PRIVILEGES; SET GLOBAL super_read_only = ON",
    clone=Clone(
        statement="SET GLOBAL clone_valid_donor_list = CONCAT({host}, ':', {port}), GLOBAL clone_ssl_ca = {authority}; "
        "CLONE INSTANCE FROM {user}@{host}:{port} IDENTIFIED BY {password} REQUIRE {negation} SSL",
        progress="SELECT COALESCE(SUM(DATA), 0) AS moved, COALESCE(SUM(ESTIMATE), 0) AS total "
        "FROM performance_schema.clone_progress",
        outcome="SELECT STATE AS state, ERROR_MESSAGE AS error FROM performance_schema.clone_status",
        ends_with=(2013, 3707),
    ),
    # GTID sets have no order: it would follow, and stay different from its upstream without an error.
    refuses_lagging_upstream=False,
    divergence_errors=(1236, 13114, *_DATA_DIFFERS),  # 13114: error 1236 of the upstream, as the replica tells it
    plain=Channel(
        ("--ssl-mode=DISABLED",),
        "SOURCE_SSL = 0, SOURCE_SSL_CA = '', SOURCE_SSL_VERIFY_SERVER_CERT = 0",
        ("No", "", "No"),
    ),
    encrypted=Channel(
        ("--ssl-mode=REQUIRED",),
        "SOURCE_SSL = 1, SOURCE_SSL_CA = '', SOURCE_SSL_VERIFY_SERVER_CERT = 0",
        ("Yes", "", "No"),
    ),
    verified=Channel(
        ("--ssl-mode=VERIFY_IDENTITY", "--ssl-ca={authority}"),
        "SOURCE_SSL = 1, SOURCE_SSL_CA = {authority}, SOURCE_SSL_VERIFY_SERVER_CERT = 1",
        ("Yes", "", "Yes"),
    ),
    shows_certificate="SELECT @@global.ssl_cert = {certificate} AND EXISTS (SELECT * FROM "
    "performance_schema.tls_channel_status WHERE CHANNEL = 'mysql_main' AND PROPERTY = 'Enabled' AND VALUE = 'Yes') "
    "AS shown",
    reload_certificate="SET SESSION sql_log_bin = 0; ALTER INSTANCE RELOAD TLS",
)
DIALECTS = {"mariadb": MARIADB, "mysql": MYSQL}
