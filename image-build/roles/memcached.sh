# shellcheck shell=bash
# memcached: memcached, and barely anything else. The memory is for the caches.

packages <<'END'
# CentOS         Debian           why
memcached        memcached        the caches
END

enable  memcached.service
