"""The ``run`` script of a task: starts the engine on each node and fails when it ends, whatever it ends with.

Everything that a user or the catalog wrote is one quoted word. Only :class:`~deepseek_operator.engines.Shell` words,
which are constants of this project, are left for bash to expand.
"""

import shlex
from collections.abc import Iterable, Mapping
from datetime import timedelta
from inspect import getsource
from typing import Final

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines import Engine, Rank, ServeOptions, Shell
from deepseek_operator.launch import key_guard

__all__ = ["CERTIFICATE_LIFETIME", "HEAD", "IN_CLUSTER_VARIABLE", "TLS_VARIABLE", "WORKER", "quote", "run_script"]

TLS_VARIABLE: Final = "DEEPSEEK_OPERATOR_TLS"
"""Secret of a task with the private key and the certificate of its engine, as base64."""
CERTIFICATE_LIFETIME: Final = timedelta(days=365)
"""How long that certificate is valid."""
IN_CLUSTER_VARIABLE: Final = "DEEPSEEK_OPERATOR_IN_CLUSTER"
"""Variable of pods, which tells them from rented machines where a task may run on either."""

HEAD = Rank(node_rank=Shell('"$SKYPILOT_NODE_RANK"'), head=Shell('"$HEAD_IP"'), is_head=True)
WORKER = Rank(node_rank=Shell('"$SKYPILOT_NODE_RANK"'), head=Shell('"$HEAD_IP"'), is_head=False)

_RUN = """\
# Runs the engine in the background so that a stop reaches it, and fails even when it ends with 0: an engine that
# ends by itself is a fault, and a job that fails on one node ends on all.
run_engine() {
  "$@" &
  engine=$!
  trap 'kill -TERM "$engine" 2>/dev/null' TERM INT HUP
  status=0
  while true; do
    wait "$engine" && status=0 || status=$?
    kill -0 "$engine" 2>/dev/null || break
  done
  echo "deepseek-operator: engine ended with status $status on node ${SKYPILOT_NODE_RANK:-0}" >&2
  [ "$status" -ne 0 ] || status=1
  exit "$status"
}
"""

_TLS = f"""\
# On a rented machine the engine answers over TLS or not at all. Its key comes as a secret of the task, goes into a file
# that nobody else may read, and leaves the environment, which programs hand on to others.
tls=()
if [ -n "${{{IN_CLUSTER_VARIABLE}:-}}" ]; then
  :KEY
elif [ "${{SKYPILOT_NODE_RANK:-0}}" -eq 0 ]; then
  identity="${{HOME:-/root}}/.deepseek-operator-tls.pem"
  rm -f "$identity"
  if ! (umask 077 && printf %s "${{{TLS_VARIABLE}:-}}" | base64 -d > "$identity") || [ ! -s "$identity" ]; then
    echo "deepseek-operator: no certificate came with the task, and without one this machine must not serve" >&2
    exit 1
  fi
  tls=(--ssl-certfile "$identity" --ssl-keyfile "$identity")
:GUARDfi
unset {TLS_VARIABLE}
"""
"""vLLM and SGLang have the same two flags."""

_GUARD: Final = f"""\
  # vLLM by itself asks for its key below some paths only.
  guard="${{HOME:-/root}}/.deepseek-operator"
  mkdir -p "$guard"
  cat > "$guard/key_guard.py" <<'END_OF_GUARD'
{getsource(key_guard)}END_OF_GUARD
  export PYTHONPATH="$guard${{PYTHONPATH:+:$PYTHONPATH}}"
  tls+=(--middleware key_guard.KeyGuard)
"""

_API_KEY: Final = """\
# A Secret that was made from a file often ends with a line break, which no request can bring.
if [ -n "${:KEY+given}" ]; then
  :KEY="$(printf %s "$:KEY" | tr -d '\\r\\n')"
  if [ -z "$:KEY" ]; then
    echo "deepseek-operator: the key that requests must bring is empty" >&2
    exit 1
  fi
fi
"""

_SEVERAL_NODES = """\
# Nodes in the order of their ranks; the first one is the head.
mapfile -t node_ips <<< "$SKYPILOT_NODE_IPS"
HEAD_IP="${node_ips[0]}"
export VLLM_HOST_IP="${node_ips[$SKYPILOT_NODE_RANK]}"
# Gloo looks up the host's own name, which many machines map to a loopback address: name the interface instead, that of
# the default route.
if [ -z "${GLOO_SOCKET_IFNAME:-}" ]; then
  while read -r interface destination _; do
    if [ "$destination" = 00000000 ]; then
      export GLOO_SOCKET_IFNAME="$interface"
      break
    fi
  done < /proc/net/route
fi
"""


def quote(words: Iterable[str]) -> str:
    """Return a command line on which bash sees exactly these words, :class:`Shell` ones expanded."""
    return " ".join(word if isinstance(word, Shell) else shlex.quote(word) for word in words)


def run_script(
    engine: Engine, serve: Mapping[int, ServeOptions], *, encrypted: bool = False, own_key: str | None = None
) -> str:
    """Return the script for every node.

    Parameters
    ----------
    serve
        What to serve by number of GPUs of a node. With several numbers the script looks at how many it got.
    encrypted
        The task may run on a rented machine.
    own_key
        The variable with the operator's own key, of which requests to a pod know nothing.
    """
    nodes = next(iter(serve.values())).nodes
    parts = [_RUN]
    if nodes > 1:
        parts.append(_SEVERAL_NODES)
    if encrypted:
        in_cluster = f"unset {own_key}" if own_key is not None else ":"
        guard = _GUARD if engine.name is EngineName.VLLM else ""
        parts.append(_TLS.replace(":KEY", in_cluster).replace(":GUARD", guard))
    if any(options.api_key for options in serve.values()):
        parts.append(_API_KEY.replace(":KEY", engine.api_key_variable))
    more = ' "${tls[@]}"' if encrypted else ""
    if len(serve) == 1:
        parts.append(_start(engine, next(iter(serve.values())), "", more))
    else:
        parts.append(_by_count(engine, serve, more))
    return "\n".join(parts)


def _by_count(engine: Engine, serve: Mapping[int, ServeOptions], more: str) -> str:
    lines = ['case "$SKYPILOT_NUM_GPUS_PER_NODE" in']
    for count, options in sorted(serve.items()):
        lines += [f"{count})", _start(engine, options, "  ", more).rstrip("\n"), "  ;;"]
    lines += [
        "*)",
        '  echo "deepseek-operator: no plan for $SKYPILOT_NUM_GPUS_PER_NODE GPUs" >&2',
        "  exit 1",
        "  ;;",
        "esac",
    ]
    return "\n".join(lines) + "\n"


def _start(engine: Engine, options: ServeOptions, indent: str, more: str) -> str:
    head = quote(engine.command(options, HEAD))
    worker = quote(engine.command(options, WORKER))
    if head == worker:
        return f"{indent}run_engine {head}{more}\n"
    return (
        f'{indent}if [ "$SKYPILOT_NODE_RANK" -eq 0 ]; then\n{indent}  run_engine {head}{more}\n'
        f"{indent}else\n{indent}  run_engine {worker}{more}\n{indent}fi\n"
    )
