"""``kubectl deepseek logs``: what the engines write, from every node of every replica."""

import argparse
import os
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deepseek_operator.plugin.kubectl import Kubectl, KubectlError
from deepseek_operator.plugin.objects import CONTAINER, Deployment, Node, Replica
from deepseek_operator.plugin.options import NAME, Command, Options, kubectl_of, output_option, whole
from deepseek_operator.plugin.screen import is_terminal, print_json, say
from deepseek_operator.plugin.status import read

__all__ = ["COMMAND", "SCRIPT"]

DEFAULT_LINES: Final = 200
PROBES: Final = r'"GET /(health|metrics) HTTP/1\.[01]" 200'
"""Lines in which an engine notes a probe that it has answered; ERE. The operator asks every second."""
NOTHING: Final = "a^"
"""Matches no line."""
SCRIPT: Final = r"""
lines=$1 follow=$2 hidden=$3
# The log that SkyPilot writes on this node for its newest job: run.log on a single node, RANK-NAME.log on several.
# Before the engine has started, what SkyPilot itself writes on the head.
newest() {
  local best=-1 file id
  found=
  shopt -s nullglob
  for file in "$HOME"/sky_logs/*/run.log "$HOME"/sky_logs/*/tasks/*.log; do
    id=${file#"$HOME"/sky_logs/}
    id=${id%%-*}
    if [[ $id =~ ^[0-9]+$ && $file != */setup.log ]] && (( 10#$id >= best )); then
      best=$((10#$id)) found=$file
    fi
  done
}
newest
if [ "$follow" != yes ]; then
  [ -n "$found" ] || { echo "no engine has written a log on this node yet" >&2; exit 3; }
  grep -avE -e "$hidden" -- "$found" | tail -n "$lines"
  exit "${PIPESTATUS[1]}"
fi
current= tailer=
trap '[ -z "$tailer" ] || kill "$tailer" 2>/dev/null' EXIT
while true; do
  if [ "$found" != "$current" ]; then
    [ -z "$tailer" ] || kill "$tailer" 2>/dev/null
    # First the last lines of those that are there and not hidden, then what is written from there on.
    there=$(wc -l < "$found")
    head -n "$there" -- "$found" | grep -avE -e "$hidden" | tail -n "$lines"
    tail -n "+$((there + 1))" -f -- "$found" > >(grep -avE --line-buffered -e "$hidden") &
    # An engine that is started again writes another file, which is shown from its beginning.
    tailer=$! current=$found lines=+1
  fi
  # Standard input ends when nobody reads any more: nothing of this is left on the node then.
  read -r -t 1 _ && continue
  [ $? -gt 128 ] || break
  newest
done
"""
"""What runs in the container: bash, grep, head, tail, wc, and no other program."""
_COLOURS: Final = (36, 33, 35, 32, 34)


@dataclass(frozen=True)
class _Source:
    """A node whose log is wanted."""

    replica: Replica
    node: Node
    number: int

    @property
    def title(self) -> str:
        """Short name of the node among those of its deployment."""
        return f"{self.replica.ordinal}/{self.node.role}"


class _Printer:
    """Writes lines of several nodes, one at a time, each with its node before it if there are several."""

    def __init__(self, sources: Sequence[_Source], *, as_json: bool) -> None:
        self._json, self._several = as_json, len(sources) > 1
        self._width = max((len(source.title) for source in sources), default=0)
        self._colour = is_terminal() and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def write(self, source: _Source, line: str) -> None:
        with self._lock:
            if self._json:
                print_json(_document(source, line), line=True)
            else:
                print(f"{self._prefix(source)}{line}", flush=True)

    def _prefix(self, source: _Source) -> str:
        if not self._several:
            return ""
        title = f"[{source.title}]".ljust(self._width + 2)
        if self._colour:
            title = f"\x1b[{_COLOURS[source.number % len(_COLOURS)]}m{title}\x1b[0m"
        return f"{title} "


def _document(source: _Source, line: str) -> dict[str, Any]:
    return {"replica": source.replica.name, "node": source.node.role, "pod": source.node.name, "line": line}


def _run(options: Options) -> int:
    kubectl = kubectl_of(options)
    (deployment,) = read(kubectl, options.name)
    chosen = list(_choose(deployment, options.replica, options.node))
    for replica in dict.fromkeys(replica for replica, _ in chosen):
        if replica.rented:
            say(
                f"{replica.name} is on {replica.where}, where kubectl does not reach. SkyPilot has its log: "
                "kubectl exec -n OPERATOR_NAMESPACE deploy/OPERATOR -c skypilot -- "
                f"sky logs --tail {DEFAULT_LINES} {replica.name}"
            )
    pairs = [(replica, node) for replica, node in chosen if node is not None]
    sources = [_Source(replica, node, number) for number, (replica, node) in enumerate(pairs) if node.running]
    for replica, node in pairs:
        if not node.running:
            say(f"{replica.ordinal}/{node.role} is {node.phase} {node.reason}: {node.message}".rstrip(": "))
    if not sources:
        if not pairs and not any(replica.rented for replica, _ in chosen):
            say(f"{deployment.name} has no nodes: {deployment.reason}: {deployment.message}")
        return 1
    printer = _Printer(sources, as_json=options.output == "json")
    here = kubectl.within(deployment.namespace)
    lines = "+1" if options.tail < 0 else str(options.tail)
    hidden = NOTHING if options.probes else PROBES
    return (_follow if options.follow else _show)(here, sources, printer, lines, hidden)


def _choose(deployment: Deployment, replica: str | None, node: str | None) -> Iterable[tuple[Replica, Node | None]]:
    """Yield the nodes that were asked for; None for a replica without any.

    Raises
    ------
    KubectlError
        If there is no such replica or node.
    """
    replicas = [one for one in deployment.replicas if replica in (None, str(one.ordinal), one.name)]
    if replica is not None and not replicas:
        known = ", ".join(f"{one.ordinal} ({one.name})" for one in deployment.replicas) or "none"
        raise KubectlError(f"{deployment.name} has no replica {replica}; there is: {known}")
    for one in replicas:
        nodes = [each for each in one.nodes if node in (None, str(each.rank), each.role)]
        if node is not None and one.nodes and not nodes:
            known = ", ".join(f"{each.rank} ({each.role})" for each in one.nodes)
            raise KubectlError(f"replica {one.ordinal} of {deployment.name} has no node {node}; there is: {known}")
        yield from ((one, each) for each in nodes) if nodes else ((one, None),)


def _start(kubectl: Kubectl, source: _Source, lines: str, hidden: str, *, follow: bool) -> "subprocess.Popen[str]":
    words = ["exec", source.node.name, "--container", CONTAINER, *(("--stdin",) if follow else ())]
    words += ["--", "bash", "-c", SCRIPT, "bash", lines, "yes" if follow else "no", hidden]
    return kubectl.spawn(*words, stdin=subprocess.PIPE if follow else subprocess.DEVNULL)


def _show(kubectl: Kubectl, sources: Sequence[_Source], printer: _Printer, lines: str, hidden: str) -> int:
    """Write the logs node by node; all are fetched at once."""
    running = [(source, _start(kubectl, source, lines, hidden, follow=False)) for source in sources]
    shown = False
    for source, process in running:
        out, err = process.communicate()
        for line in out.splitlines():
            printer.write(source, line)
        if process.returncode != 0:
            say(f"{source.title}: {_why(err)}")
        shown = shown or process.returncode == 0
    return 0 if shown else 1


def _follow(kubectl: Kubectl, sources: Sequence[_Source], printer: _Printer, lines: str, hidden: str) -> int:
    """Write lines as they come, until interrupted or until no node is left."""
    processes = [_start(kubectl, source, lines, hidden, follow=True) for source in sources]

    def copy(source: _Source, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                printer.write(source, line.rstrip("\n"))
        except BrokenPipeError:
            process.kill()
            return
        if process.wait() > 0:
            say(f"{source.title}: {_why(process.stderr.read())}")

    threads = [threading.Thread(target=copy, args=pair, daemon=True) for pair in zip(sources, processes, strict=True)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for process in processes:
            if process.stdin is not None:
                process.stdin.close()
            process.terminate()
    return 1


def _why(err: str) -> str:
    """Return what was written on standard error, without kubectl's line about the exit status if there is another."""
    lines = [line for line in err.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith("command terminated with exit code")]
    return "; ".join(said or lines) or "kubectl exec ended"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar=NAME, help="the deployment")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    parser.add_argument("--replica", metavar="N", help="only this replica: its number or its name (default: all)")
    parser.add_argument("--node", metavar="N", help="only this node: 0 or head, 1 or worker1 ... (default: all)")
    parser.add_argument(
        "--tail",
        type=whole(-1, 10_000_000),
        default=DEFAULT_LINES,
        metavar="LINES",
        help=f"last lines of each node to begin with; -1 for all (default: {DEFAULT_LINES})",
    )
    parser.add_argument("--probes", action="store_true", help="show the operator's probes that were answered, too")
    output_option(parser)


COMMAND: Final = Command(
    name="logs",
    description="""
Shows the log of the engine, vLLM or SGLang, of every node of every replica. SkyPilot runs the engine as a job and keeps
what it writes in a file on each node, which is read with kubectl exec; kubectl logs shows the output of the pod, which
is SkyPilot's own. With several nodes each line begins with [REPLICA/NODE].

The operator asks each engine every second how it is, and engines note that; such lines are left out unless --probes is
given. With --follow an engine that is started again on its nodes is followed into its new log. Nodes that do not run
are named on standard error, with why. Rented machines cannot be reached with kubectl; how to ask SkyPilot is said
instead.
""",
    examples=(
        ("kubectl deepseek logs r1 -f", "all nodes of all replicas, as they write"),
        ("kubectl deepseek logs r1 --replica 0 --node head --tail -1 | less", "one node, from the beginning"),
        ("kubectl deepseek logs r1 -o json | jq -r 'select(.line | test(\"ERROR\")) | .pod'", "who had errors"),
    ),
    arguments=_arguments,
    run=_run,
    exits=("0  the log of at least one node was shown", "1  of none, or kubectl failed", "2  wrong command line"),
)
