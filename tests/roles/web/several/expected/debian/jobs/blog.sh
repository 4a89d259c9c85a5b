#!/bin/sh
# Rendered by rolecall: changes are lost. The jobs of blog, with the environment of its requests.
set -eu
cd /var/lib/rolecall/releases/blog/0000000000000000000000000000000000000000000000000000000000000000-bf4ac989
export APP_ENV=production
export CACHE_SESSIONS_SERVERS=10.0.0.32:11211,10.0.0.31:11211
export DATABASE_BLOG_MASTER=10.0.0.21:3306
export DATABASE_BLOG_MASTER_NAME=db1
export DATABASE_BLOG_REPLICAS=10.0.0.23:3306
export DATABASE_STATS_MASTER=10.0.0.26:3307
export DATABASE_STATS_MASTER_NAME=db6
export DATABASE_STATS_REPLICAS='[fd00::25]:3307,10.0.0.28:3307,10.0.0.27:3307'
export DB_PASSWORD=<secret blog.DB_PASSWORD>
export DB_USER=blog_app
export QUOTES='it'"'"'s "quoted" \ ${HOME} 100% #1; ü'
export ROLECALL_PRODUCT=blog
export ROLECALL_RELEASE=2026.11.21
export ROLECALL_ZONE=us-east-1b
export ROLECALL_MY_CNF=/var/lib/rolecall/current/mysql/blog.cnf
case "${1-}" in
"digest")
  exec php bin/digest.php --limit=100%
  ;;
"clean-up")
  exec sh -c 'echo "it'"'"'s $1"' x 'a b'
  ;;
*)
  echo 'blog has no such job' >&2
  exit 64
  ;;
esac
