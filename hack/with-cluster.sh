#!/usr/bin/env bash
# Run a command with the test cluster up, and take everything down afterwards, also after a failure or a signal.
# KEEP_CLUSTER=1 leaves it running for a look.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster() { .venv/bin/uv run --frozen --no-sync python -m tests.cluster "$@"; }

finish() {
  status=$?
  trap - EXIT INT TERM
  if [ "${KEEP_CLUSTER:-}" = 1 ]; then
    echo "the test cluster is left running; take it down with: make clean-cluster"
  else
    cluster down || status=$?
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Images first: what takes minutes shows its progress here, and no test waits for it.
cluster build
cluster up
"$@"
