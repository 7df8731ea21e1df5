"""Schedules with names: each is a sequence of events that once broke a promise, or that a reader would ask about."""

from typing import Final

from tests.simulation.schedule import Event, Schedule

__all__ = ["SCENARIOS", "schedule"]

_SETTLED: Final = 60.0
"""Seconds after which everything of the start serves, whatever the dice say."""


_TWO_NODES: Final = frozenset({"one of two nodes goes", "one of two nodes goes during a rolling update"})
"""Scenarios whose replicas have two nodes."""
_LISTED: Final = frozenset(
    {"the cluster is full when machines are lost", "the cluster and the cloud are full, one after the other"}
)
"""Scenarios whose second deployment runs in the cluster where that has room, and on a cloud where not."""


def schedule(name: str, seed: int = 0) -> Schedule:
    """Return a scenario by name, with the dice of a seed."""
    replicas, rented, events = SCENARIOS[name]
    moved = tuple(Event(_SETTLED + event.at, event.kind, event.target, event.value) for event in events)
    nodes = 2 if name in _TWO_NODES else 1
    return Schedule(seed, moved, replicas, rented, nodes=nodes, listed=name in _LISTED)


SCENARIOS: Final[dict[str, tuple[tuple[int, int], bool, tuple[Event, ...]]]] = {
    "nothing happens": ((2, 1), True, ()),
    "restart of a settled operator": ((2, 2), True, (Event(0, "kill", value=2),)),
    "restart in mid-rollout": (
        (2, 2),
        False,
        (Event(0, "edit", "a", 2), Event(0.6, "edit", "b", 2), Event(3, "kill", value=1)),
    ),
    "restart in mid-rollout without surge": (
        (2, 2),
        False,
        (Event(0, "no-surge", "a"), Event(0.2, "edit", "a", 2), Event(4, "kill", value=1)),
    ),
    "a rolling update of two replicas": ((2, 2), True, (Event(0, "edit", "a", 2), Event(0, "edit", "b", 2))),
    "scaled down while the operator is away and an engine hangs": (
        (2, 2),
        False,
        (
            Event(0, "engine-hangs", "a", 0),
            Event(0, "engine-hangs", "b", 1),
            Event(0.2, "kill", value=3),
            Event(0.4, "scale", "a", 1),
            Event(0.4, "scale", "b", 1),
        ),
    ),
    "an update is taken back before it ends": (
        (2, 2),
        True,
        (Event(0, "edit", "a", 2), Event(0, "edit", "b", 2), Event(8, "edit", "a", 1), Event(8, "edit", "b", 1)),
    ),
    "an update whose engine ends at once": (
        (2, 1),
        False,
        (Event(0, "crashing", "a"), Event(0.1, "edit", "a", 2), Event(200, "edit", "a", 1)),
    ),
    "a teardown fails once while the engine answers": (
        (2, 2),
        True,
        (Event(0, "teardown-fails"), Event(0, "teardown-fails"), Event(1, "scale", "a", 1), Event(1, "scale", "b", 1)),
    ),
    "a teardown does not end": (
        (2, 2),
        True,
        (
            Event(0, "teardown-hangs"),
            Event(0, "teardown-hangs"),
            Event(1, "scale", "a", 1),
            Event(1, "scale", "b", 1),
            Event(300, "kill", value=2),
        ),
    ),
    "a teardown of a deleted deployment does not end, and SkyPilot restarts": (
        (1, 1),
        True,
        (
            Event(0, "teardown-hangs"),
            Event(0, "teardown-hangs"),
            Event(1, "delete", "a"),
            Event(1, "delete", "b"),
            Event(400, "skypilot-restarts", value=8),
        ),
    ),
    "slices are refused while a machine is lost, and its successor takes long": (
        (1, 1),
        True,
        (Event(0, "slices-refused", value=40), Event(1, "machines-mute", "b"), Event(2, "nodes-go", "b")),
    ),
    "SkyPilot is away while machines are rented": ((2, 2), True, (Event(0, "skypilot-refuses", value=60),)),
    "SkyPilot is away in mid-rollout": (
        (2, 2),
        True,
        (Event(0, "edit", "b", 2), Event(4, "skypilot-refuses", value=45)),
    ),
    "operator and SkyPilot restart in mid-rollout": (
        (2, 2),
        True,
        (
            Event(0, "edit", "a", 2),
            Event(0, "edit", "b", 2),
            Event(4, "skypilot-restarts", value=12),
            Event(4, "kill", value=1),
        ),
    ),
    "the database is lost with the operator": (
        (2, 2),
        False,
        (Event(0, "lose-database", value=5), Event(1, "kill", value=2), Event(60, "kill", value=2)),
    ),
    "suspended while the plan fails": (
        (1, 2),
        True,
        (Event(0, "plan-refused"), Event(5, "suspend", "b"), Event(60, "plan-accepted")),
    ),
    "scaled to zero while the plan fails": ((2, 2), True, (Event(0, "plan-refused"), Event(5, "scale", "b", 0))),
    "an engine ends while the plan fails": ((1, 2), True, (Event(0, "plan-refused"), Event(5, "engine-ends", "b"))),
    "SkyPilot hangs while a replica dies": (
        (2, 2),
        False,
        (Event(0, "skypilot-hangs", value=60), Event(5, "nodes-go", "a")),
    ),
    "a launch is refused while another replica is dead": (
        (2, 2),
        False,
        (*(Event(0, "post-refused") for _ in range(5)), Event(1, "nodes-go", "a"), Event(20, "engine-ends", "a", 1)),
    ),
    "slices cannot be written while it scales down": (
        (2, 2),
        True,
        (Event(0, "slices-refused", value=60), Event(1, "scale", "a", 1), Event(1, "scale", "b", 1)),
    ),
    "another port": ((2, 2), True, (Event(0, "port", "a"), Event(0, "port", "b"))),
    "another port and back again": (
        (2, 2),
        True,
        (Event(0, "port", "a"), Event(0, "port", "b"), Event(9, "port", "a"), Event(15, "port", "b")),
    ),
    "a launch is heard after the client gave up": (
        (1, 1),
        True,
        (
            Event(0, "post-late", value=40),
            Event(0, "post-late", value=40),
            Event(1, "edit", "a", 2),
            Event(1, "edit", "b", 2),
        ),
    ),
    "a launch is heard after its deployment was deleted": (
        (1, 1),
        True,
        (
            Event(0, "post-late", value=40),
            Event(0, "post-late", value=40),
            Event(1, "edit", "a", 2),
            Event(1, "edit", "b", 2),
            Event(24, "delete", "a"),
            Event(24, "delete", "b"),
        ),
    ),
    "a teardown is heard after it was taken back": (
        (2, 1),
        False,
        (Event(0, "suspend", "a"), Event(2, "post-late", value=30), Event(12, "resume", "a")),
    ),
    "a teardown without an answer is heard long after the replica was wanted again": (
        (1, 1),
        True,
        (
            Event(0, "post-late", value=50),
            Event(0, "post-late", value=50),
            Event(1, "suspend", "a"),
            Event(1, "suspend", "b"),
            Event(45, "resume", "a"),
            Event(55, "resume", "b"),
        ),
    ),
    "the database is lost and the rented deployment deleted": (
        (1, 2),
        True,
        (Event(0, "lose-database", value=3), Event(20, "delete", "b")),
    ),
    "a preemption during a rolling update": (
        (2, 2),
        True,
        (Event(0, "edit", "a", 2), Event(0, "edit", "b", 2), Event(5, "nodes-go", "a"), Event(5, "nodes-go", "b")),
    ),
    "every engine hangs": ((2, 1), True, (Event(0, "engine-hangs", "a"), Event(0, "engine-hangs", "b"))),
    "three crashes in a row": (
        (1, 1),
        False,
        (Event(0, "engine-ends", "a"), Event(60, "engine-ends", "a"), Event(150, "engine-ends", "a")),
    ),
    "the clock is set back in a drain": ((2, 1), False, (Event(0, "scale", "a", 1), Event(1, "clock", value=-3600))),
    "deleted and created again at once": ((1, 1), True, (Event(0, "delete", "a"), Event(0.5, "create", "a"))),
    "deleted in mid-launch": ((1, 1), True, (Event(-58, "delete", "a"), Event(-58, "delete", "b"))),
    "deleted while SkyPilot is away": (
        (1, 1),
        True,
        (Event(0, "skypilot-refuses", value=60), Event(5, "delete", "a"), Event(5, "delete", "b")),
    ),
    "its namespace is deleted while it serves": ((1, 2), False, (Event(0, "namespace-deleted", value=12),)),
    "its namespace is deleted while machines are rented": ((1, 2), True, (Event(0, "namespace-deleted", value=12),)),
    "somebody deletes the Service": ((1, 1), True, (Event(0, "delete-service", "a"), Event(0, "delete-service", "b"))),
    "somebody deletes the slices": ((1, 1), True, (Event(0, "delete-slice", "a"), Event(0, "delete-slice", "b"))),
    "somebody deletes the Secrets, then a machine and a proxy go": (
        (1, 2),
        True,
        (
            Event(0, "delete-secret", "b", 2),
            Event(1, "proxy-evicted", "b"),
            Event(2, "nodes-go", "b"),
        ),
    ),
    "somebody deletes the key of the engines, and the operator restarts before the next launch": (
        (1, 2),
        True,
        (Event(0, "delete-secret", "b"), Event(10, "kill", value=2), Event(30, "edit", "b", 2)),
    ),
    "one of two nodes goes": (
        (2, 2),
        True,
        (
            Event(0, "node-goes", "a", 1),
            Event(0, "node-goes", "b", 1),
            Event(100, "node-goes", "a"),
            Event(100, "node-goes", "b"),
        ),
    ),
    "one of two nodes goes during a rolling update": (
        (2, 2),
        True,
        (
            Event(0, "edit", "a", 2),
            Event(0, "edit", "b", 2),
            Event(8, "node-goes", "a", 1),
            Event(8, "node-goes", "b", 3),
            Event(40, "kill", value=2),
        ),
    ),
    "somebody edits the Service": ((1, 1), True, (Event(0, "edit-service", "a"), Event(0, "edit-service", "b"))),
    "somebody runs sky down": ((2, 2), True, (Event(0, "sky-down", "a"), Event(0, "sky-down", "b"))),
    "edited fifty times in a second": (
        (1, 1),
        False,
        tuple(Event(step / 50, "edit", "a", 1 + step % 3) for step in range(50)),
    ),
    "the API server is away while an engine ends": (
        (2, 2),
        False,
        (Event(0, "api-away", value=20), Event(5, "engine-ends", "a")),
    ),
    "a watch loses a deletion": ((2, 1), False, (Event(0, "watch-gap", value=30), Event(5, "nodes-go", "a"))),
    "the status cannot be written while a replica is replaced": (
        (2, 2),
        True,
        (Event(0, "status-refused", value=50), Event(5, "nodes-go", "a"), Event(5, "nodes-go", "b")),
    ),
    "credentials come after the object": ((1, 1), True, (Event(-60, "credentials-go", value=90),)),
    "credentials expire while a rented machine is lost": (
        (1, 2),
        True,
        (Event(0, "credentials-go", value=100), Event(2, "nodes-go", "b"), Event(30, "edit", "b", 2)),
    ),
    "a cap that leaves no room for a surge": (
        (1, 2),
        True,
        (Event(0, "cap", "b", 2), Event(1, "edit", "b", 2), Event(60, "nodes-go", "b")),
    ),
    "a cap below what runs": ((1, 2), True, (Event(0, "cap", "b", 1), Event(20, "kill", value=3))),
    "spot machines are taken back while there are none": (
        (1, 2),
        True,
        (
            Event(-60, "spot", "b", 1),
            Event(0, "no-spot", "b", 120),
            Event(1, "reclaim", "b"),
            Event(30, "kill", value=2),
            Event(60, "spot", "b", 2),
            Event(200, "nodes-go", "b"),
            Event(300, "scale", "b", 1),
        ),
    ),
    "approved after the first change": (
        (1, 2),
        True,
        (Event(-60, "require-approval", "b"), Event(-30, "cap", "b", 3), Event(0, "approve", "b"), Event(40, "kill")),
    ),
    "a status of yesterday is approved": (
        (1, 1),
        True,
        (
            Event(0, "require-approval", "b"),
            Event(1, "cap", "b", 2),
            Event(1.01, "approve", "b"),
            Event(3, "nodes-go", "b"),
        ),
    ),
    "scaled up without approval while a replica dies": (
        (1, 2),
        True,
        (
            Event(0, "require-approval", "b"),
            Event(5, "approve", "b"),
            Event(10, "scale", "b", 3),
            Event(20, "nodes-go", "b"),
            Event(25, "kill", value=2),
            Event(120, "approve", "b"),
        ),
    ),
    "a dearer plan without surge waits": (
        (1, 2),
        True,
        (
            Event(0, "require-approval", "b"),
            Event(1, "approve", "b"),
            Event(2, "no-surge", "b"),
            Event(3, "cap", "b", 3),
            Event(4, "edit", "b", 2),
            Event(60, "kill", value=2),
            Event(90, "approve", "b"),
        ),
    ),
    "machines do not come up during a rolling update": (
        (1, 1),
        True,
        (Event(0, "machines-mute", "b"), Event(0.1, "edit", "b", 2), Event(900, "kill", value=3)),
    ),
    "the cluster is full when machines are lost": (
        (1, 2),
        True,
        (Event(0, "cluster-full", "b", 200), Event(1, "nodes-go", "b"), Event(60, "cap", "b", 1), Event(90, "kill")),
    ),
    "the cluster and the cloud are full, one after the other": (
        (1, 2),
        True,
        (
            Event(-60, "cluster-full", "b", 100),
            Event(-60, "cloud-full", "b", 40),
            Event(60, "scale", "b", 3),
            Event(70, "cloud-full", "b", 120),
            Event(71, "nodes-go", "b"),
        ),
    ),
    "the address of a lost machine is given to its successor": (
        (1, 2),
        True,
        (Event(0, "edit", "b", 2), Event(0.1, "address-taken", "b", 0), Event(40, "address-taken", "b", 3)),
    ),
    "the address of a lost machine is given to strangers": (
        (1, 2),
        True,
        (Event(0, "address-taken", "b", 1), Event(0, "edit", "b", 2), Event(30, "address-taken", "b", 2)),
    ),
    "a worker of SkyPilot hangs before it has begun": (
        (1, 2),
        True,
        (
            Event(-60, "launch-hangs"),
            Event(-60, "launch-hangs"),
            Event(200, "launch-hangs"),
            Event(201, "edit", "b", 2),
            Event(220, "edit", "b", 1),
        ),
    ),
    "a deployment goes while a worker of SkyPilot hangs with its launch": (
        (1, 1),
        False,
        (
            Event(-60, "launch-hangs"),
            Event(-60, "launch-hangs"),
            Event(-20, "delete", "a"),
            Event(-10, "scale", "b", 0),
        ),
    ),
    "pods find no node": ((1, 1), False, (Event(-59, "stuck", "a"), Event(60, "unstuck", "a"))),
}
"""Replicas of the two deployments, whether the second is rented, and events in seconds after everything serves."""
