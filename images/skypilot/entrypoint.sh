#!/bin/sh
# Starts the SkyPilot API server. HOME is a volume that may hold an earlier server's state; the root may be read-only.
set -eu

# The catalog of GPU names, which SkyPilot would otherwise fetch before it accepts any task with accelerators. -n keeps
# what an earlier start or an administrator put there.
cp -rn /opt/skypilot/share/seed/. "$HOME/"
mkdir -p "$HOME/.ssh"
chmod 0700 "$HOME/.ssh"

# sky/utils/kubernetes/rsync_helper.sh is a link to this place, because SkyPilot makes it executable before each use.
install -m 0755 /opt/skypilot/share/rsync_helper.sh /tmp/skypilot-rsync-helper.sh

# Only a process that calls itself the server takes the URI of a database; any other one uses a file in HOME instead,
# without a word. `sky api start` sets this for the server that it starts.
if [ -n "${SKYPILOT_DB_CONNECTION_URI:-}" ]; then
  export IS_SKYPILOT_SERVER=true
fi

# Loopback by default: requests from there need no token, so whatever may reach the port may do everything.
exec python -m sky.server.server --deploy \
    --host="${SKYPILOT_SERVER_HOST:-127.0.0.1}" --port="${SKYPILOT_SERVER_PORT:-46580}" "$@"
