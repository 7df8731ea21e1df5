"""The tree of ``status``: deployment, replicas, nodes; a line each, in columns, with what is wrong below it. Pure."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from deepseek_operator.api.reasons import ADVICE, Reason
from deepseek_operator.plugin.lines import Line, Segment, columns
from deepseek_operator.plugin.objects import Deployment, Node, Replica, age

__all__ = ["draw"]


_HEADINGS: Final = ("NAME", "STATE", "REASON", "SINCE", "$/H", "WHERE")
_STYLES: Final = {
    "Ready": "good",
    "Running": "good",
    "Failed": "bad",
    "Stalled": "bad",
    "Unseen": "bad",
    "Idle": "faint",
    "Terminating": "faint",
    "Succeeded": "faint",
}
_NO_ADVICE: Final = frozenset({"Wait.", "Nothing."})
_UNSEEN: Final = "No operator has looked at it yet. If it stays so: kubectl deepseek doctor"
_NARROWEST: Final = 40
"""Columns that a message keeps however narrow the terminal is."""


class _Row(NamedTuple):
    """One line of the tree and what stands below it."""

    trunk: str
    name: str
    state: str
    style: str
    reason: str
    since: str
    cost: str
    where: str
    below: str
    """What goes on below the row, before its notes."""
    notes: tuple[tuple[str, str], ...] = ()
    """Text and style."""


def draw(deployments: Sequence[Deployment], now: datetime, width: int | None = None) -> list[Line]:
    """Return the lines of a tree.

    Parameters
    ----------
    width
        Columns into which messages are broken. None: never broken, so that a line can be searched.
    """
    rows = [row for deployment in deployments for row in _deployment(deployment, now)]
    heading, *drawn = columns(_HEADINGS, [_cells(row) for row in rows], right=frozenset({"$/H"}))
    lines = [heading]
    for row, line in zip(rows, drawn, strict=True):
        lines.append(line)
        lines += _notes(row, width)
    if len(deployments) > 1:
        lines.append((Segment(_total(deployments), "faint"),))
    return lines


def _cells(row: _Row) -> Line:
    name = "head" if not row.trunk else "faint" if row.state in ("Running", "Terminating") else ""
    return (
        Segment(row.trunk + row.name, name),
        Segment(row.state, row.style),
        Segment(row.reason, row.style),
        Segment(row.since),
        Segment(row.cost),
        Segment(row.where, "faint"),
    )


def _notes(row: _Row, width: int | None) -> Iterable[Line]:
    guide = row.below + "  "
    room = max(_NARROWEST, width - len(guide)) if width is not None else None
    for text, style in row.notes:
        for paragraph in text.splitlines():
            broken = textwrap.wrap(paragraph, room) if room is not None else [paragraph]
            yield from ((Segment(guide, "faint"), Segment(piece, style)) for piece in broken)


def _deployment(deployment: Deployment, now: datetime) -> list[_Row]:
    style = _STYLES.get(deployment.state, "busy")
    row = _Row(
        trunk="",
        name=f"{deployment.namespace}/{deployment.name}",
        state=f"{deployment.state} {deployment.ready}/{deployment.wanted}",
        style=style,
        reason=deployment.reason or "-",
        since=age(deployment.since, now),
        cost=deployment.hourly_cost or "-",
        where=deployment.endpoint or "-",
        below="│" if deployment.replicas else " ",
        notes=_about(deployment, style),
    )
    rows = [row]
    for index, replica in enumerate(deployment.replicas):
        last = index == len(deployment.replicas) - 1
        rows += _replica(replica, now, last=last, said=deployment.message)
    return rows


def _about(deployment: Deployment, style: str) -> tuple[tuple[str, str], ...]:
    if deployment.state == "Unseen":
        return ((_UNSEEN, "bad"),)
    ready = deployment.state == "Ready"
    notes = [(deployment.message, style)] if deployment.message and not ready else []
    # What the replicas do themselves is said of the first that does it, not of each.
    reasons = dict.fromkeys((deployment.reason, *(replica.reason for replica in deployment.replicas)))
    if deployment.state == "Stalled" and any(replica.reason == deployment.reason for replica in deployment.replicas):
        reasons = {}  # a failure that is not retried: its message says so, and the advice speaks of those that are
    advice = {reason: ADVICE[Reason(reason)][1] for reason in reasons if reason in ADVICE}
    notes += [(f"{reason}: {what}", "faint") for reason, what in advice.items() if what not in _NO_ADVICE]
    return tuple(notes)


def _replica(replica: Replica, now: datetime, *, last: bool, said: str) -> list[_Row]:
    below = "   " if last else "│  "
    notes: list[tuple[str, str]] = []
    style = _STYLES.get(replica.phase, "busy")
    if not replica.ready and not _told(replica.message, said):
        notes.append((replica.message, style))
    if figures := _figures(replica.engine):
        notes.append((figures, "faint"))
    counts = []
    if replica.attempts:
        counts.append(_times(replica.attempts, "failure", "failures in a row"))
    if replica.restarts:
        counts.append("engine started again " + _times(replica.restarts, "time", "times"))
    if counts:
        notes.append((", ".join(counts), "faint"))
    if replica.rented:
        notes.append(
            (_times(replica.node_count, "rented machine", "rented machines") + ", which kubectl cannot see", "faint")
        )
    row = _Row(
        trunk="└─ " if last else "├─ ",
        name=replica.name,
        state=replica.phase,
        style=style,
        reason=replica.reason or "-",
        since=age(replica.since, now),
        cost=replica.hourly_cost or "-",
        where=replica.where or "-",
        below=below + ("│" if replica.nodes else " "),
        notes=tuple(notes),
    )
    return [
        row,
        *(_node(node, below, now, last=node is replica.nodes[-1], said=replica.message) for node in replica.nodes),
    ]


def _told(message: str, said: str) -> bool:
    """Return whether every line of a message has been shown above, where notes may stand behind a line."""
    return all(line in said for line in message.splitlines())


def _figures(engine: Mapping[str, Any]) -> str:
    """Return what an engine reports of itself in a line; empty where nothing is known."""
    parts = []
    if "tokensPerSecond" in engine:
        parts.append(f"{engine['tokensPerSecond']:,g} tokens/s")
        parts += [f"{engine[key]:,} {key}" for key in ("running", "waiting") if key in engine]
    measured, planned = engine.get("kvCacheTokens"), engine.get("plannedKVCacheTokens")
    if measured is not None:
        usage = f"{engine['kvCacheUsage']:.0%} of " if "kvCacheUsage" in engine else ""
        beside = f", planned {planned:,}" if planned is not None else ""
        parts.append(f"KV cache {usage}{measured:,} tokens{beside}")
    return ", ".join(parts)


def _times(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _node(node: Node, below: str, now: datetime, *, last: bool, said: str) -> _Row:
    style = _STYLES.get(node.phase, "busy")
    if node.reason and not node.running:
        style = "bad"
    return _Row(
        trunk=below + ("└─ " if last else "├─ "),
        name=node.role,
        state=node.phase,
        style=style,
        reason=node.reason or "-",
        since=age(node.since, now),
        cost="",
        where=f"{node.machine or '-'} {node.name}",
        below=below + ("   " if last else "│  "),
        notes=() if _told(node.message, said) else ((node.message, style),),
    )


def _total(deployments: Sequence[Deployment]) -> str:
    ready = sum(deployment.state == "Ready" for deployment in deployments)
    cost = sum((_decimal(deployment.hourly_cost) for deployment in deployments), Decimal(0))
    return f"{len(deployments)} deployments, {ready} ready, {cost:.2f} $/h"


def _decimal(text: str | None) -> Decimal:
    try:
        return Decimal(text or 0)
    except InvalidOperation:
        return Decimal(0)
