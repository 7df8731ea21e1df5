#!/bin/sh
# Makes a database cluster in /data, which is empty, and serves it. The superuser is postgres, with POSTGRES_PASSWORD.
set -eu

printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
initdb --pgdata=/data/cluster --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 --no-sync > /dev/null
rm /tmp/password
echo 'host all all all scram-sha-256' >> /data/cluster/pg_hba.conf
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
