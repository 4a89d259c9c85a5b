# shellcheck shell=bash
# memcached: memcached, and barely anything else. The memory is for the caches.

packages <<'END'
# CentOS         Debian           why
memcached        memcached        the caches
END

# Each cache has an instance of its own, memcached@NAME, which the agent enables.
setting any 'not the one that the distribution starts: it would have the port' systemctl disable memcached.service
