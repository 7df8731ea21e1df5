"""What people and accidents do to a simulated world: events at moments, drawn from a seed or written down."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["KINDS", "Event", "Schedule", "draw"]


@dataclass(frozen=True)
class Event:
    """Something that happens.

    Attributes
    ----------
    at
        Seconds after the start.
    kind
        One of :data:`KINDS`.
    target
        Name of a deployment, or empty.
    value
        How much, how long, or which.
    """

    at: float
    kind: str
    target: str = ""
    value: float = 0.0

    def __str__(self) -> str:
        """Return it as Python, to be pasted into a scenario."""
        return f"Event({self.at:.1f}, {self.kind!r}, {self.target!r}, {self.value:g})"


@dataclass(frozen=True)
class Schedule:
    """One run: what exists at the start, and what happens."""

    seed: int
    events: tuple[Event, ...]
    replicas: tuple[int, int] = (1, 1)
    rented: bool = False
    """The second deployment runs on a cloud."""
    own_key: bool = False
    """Users keep a key in a Secret of their own."""
    nodes: int = 1
    """Nodes of each replica."""
    base: int | None = None
    """There it rents spot machines, but for so many replicas on demand. None: all of them are on demand."""
    listed: bool = False
    """It runs in the cluster where that has room, and on a cloud where not."""


_EDITS: Final = {
    "scale": 4,
    "edit": 5,
    "port": 2,
    "suspend": 2,
    "resume": 2,
    "delete": 2,
    "create": 2,
    "no-surge": 1,
    "cap": 2,
    "spot": 2,
    "require-approval": 2,
    "require-no-approval": 1,
    "approve": 3,
    "delete-service": 1,
    "delete-slice": 1,
    "edit-service": 1,
    "delete-proxy": 1,
    "delete-secret": 2,
    "delete-own-secret": 2,
    "proxy-evicted": 1,
    "proxy": 2,
}
_NODES: Final = {
    "engine-ends": 3,
    "engine-hangs": 2,
    "engine-recovers": 2,
    "nodes-go": 4,
    "address-taken": 2,
    "node-goes": 3,
    "reclaim": 1,
    "no-spot": 1,
    "cluster-full": 1,
    "cloud-full": 1,
    "sky-down": 1,
    "stuck": 1,
    "unstuck": 1,
    "crashing": 1,
    "not-crashing": 1,
}
_SKYPILOT: Final = {
    "skypilot-refuses": 3,
    "skypilot-hangs": 2,
    "skypilot-restarts": 3,
    "lose-database": 1,
    "launch-fails": 3,
    "launch-sticks": 2,
    "launch-hangs": 1,
    "machines-mute": 1,
    "credentials-go": 1,
    "teardown-fails": 3,
    "teardown-hangs": 1,
    "post-refused": 3,
    "post-late": 2,
    "answer-lost": 2,
}
_KUBERNETES: Final = {
    "api-away": 2,
    "slices-refused": 2,
    "status-refused": 1,
    "watch-gap": 2,
    "namespace-deleted": 1,
}
_OPERATOR: Final = {"kill": 6, "kill-in-calls": 10, "plan-refused": 2, "plan-accepted": 3, "clock": 1}
KINDS: Final = {**_EDITS, **_NODES, **_SKYPILOT, **_KUBERNETES, **_OPERATOR}
"""Every kind of event, with how often it is drawn."""

_VALUES: Final[dict[str, tuple[float, float]]] = {
    "edit": (1, 3),
    "cap": (0, 3),
    "delete-secret": (0, 2),
    "delete-own-secret": (5, 120),
    "spot": (0, 2),
    "node-goes": (0, 3),
    "address-taken": (0, 5),
    "no-spot": (5, 120),
    "cluster-full": (10, 200),
    "cloud-full": (5, 120),
    "skypilot-refuses": (1, 60),
    "skypilot-hangs": (5, 60),
    "skypilot-restarts": (0, 15),
    "lose-database": (0, 10),
    "credentials-go": (5, 120),
    "post-late": (5, 60),
    "api-away": (1, 30),
    "slices-refused": (5, 60),
    "status-refused": (5, 60),
    "watch-gap": (5, 40),
    "namespace-deleted": (5, 15),
    "kill": (0.5, 15),
    "kill-in-calls": (1, 12),
    "clock": (-3600, 3600),
}
_WHOLE: Final = frozenset({"edit", "spot", "delete-secret", "node-goes", "address-taken", "kill-in-calls"})


def draw(seed: int, *, kinds: Sequence[str] = tuple(KINDS)) -> Schedule:
    """Return the schedule of a seed: two to seven events, close enough together to meet each other's effects."""
    dice = random.Random(seed)
    weights = [KINDS[kind] for kind in kinds]
    moment, events = dice.uniform(0, 30), []
    for _ in range(dice.randint(2, 7)):
        kind = dice.choices(kinds, weights)[0]
        low, high = _VALUES.get(kind, (0, 0))
        value = dice.uniform(low, high)
        if kind == "scale":
            value = dice.choice((0, 1, 2, 2, 3))
        events.append(
            Event(round(moment, 1), kind, dice.choice("ab"), round(value) if kind in _WHOLE else round(value, 1))
        )
        moment += dice.choice((0.2, 1, 3, 10, 30)) * dice.uniform(0.5, 1.5)
    replicas, rented = (dice.randint(1, 2), dice.randint(1, 2)), dice.random() < 0.4
    base = dice.randint(0, 2) if rented and dice.random() < 0.4 else None
    own_key, nodes = dice.random() < 0.2, dice.choice((1, 1, 1, 2))
    listed = rented and base is None and dice.random() < 0.4
    return Schedule(seed, tuple(events), replicas, rented, own_key, nodes, base, listed)
