"""The table of conditions: what is known, and what a condition says of it."""

from dataclasses import dataclass, replace
from typing import Any

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.facts.world import ReplicaFacts, World
from deepseek_operator.planning import Planned, Refused
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import AT

TWO = b.deployment(replicas=2)
FIRST, SECOND = b.name(TWO, 0), b.name(TWO, 1)


def condition(status: DeepSeekDeploymentStatus, kind: str = "Ready") -> tuple[str, str, str]:
    """What one condition says."""
    found = next(one for one in status.conditions if one.type == kind)
    return found.status, str(found.reason), found.message


def after(world: World, plan: Planned | Refused | None = None) -> DeepSeekDeploymentStatus:
    """The status after one pass."""
    return b.step(world, plan)[1]


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    says: str
    world: World
    kind: str
    expected: tuple[str, str]
    words: str = ""
    plan: Any = None


def dead(world: World, address: Address = AT) -> World:
    """The world in which an engine has stopped answering."""
    return replace(world, probes={**world.probes, **b.silent(address)})


def stuck(of: DeepSeekDeployment, name: ClusterName | None = None) -> DeepSeekDeployment:
    """The deployment as it remembers that the teardown of one replica was asked for."""
    return b.remembering(of, {name or b.name(of): b.ledger(teardown_at=b.ago(60), unpublished_since=b.ago(90))})


def failed_teardown(of: DeepSeekDeployment, name: ClusterName | None = None) -> ReplicaFacts:
    """A replica that SkyPilot could not tear down."""
    which = name or b.name(of)
    return b.facts(which, skypilot=b.seen(b.row(which)), outcome=b.failed_teardown())


def with_a_failed_teardown(world: World, name: ClusterName | None = None) -> World:
    """The world with a replica besides, of an older revision unless it is named, which SkyPilot could not tear down."""
    of, name = world.deployment, name or b.older(world.deployment)
    one = stuck(of, name).status.instances
    status = of.status.model_copy(update={"instances": (*of.status.instances, *one)})
    known = {**world.replicas, name: failed_teardown(of, name)}
    return replace(world, deployment=of.model_copy(update={"status": status}), replicas=known)


BOTH = b.serving(TWO, FIRST, SECOND)
ONE_OLD = b.serving(TWO, b.older(TWO, 0), SECOND)
LAUNCHING = b.world(b.deployment(), b.facts(b.name(b.deployment()), skypilot=b.seen(b.request(b.name(b.deployment())))))


def check(case: Case) -> None:
    """Expect that a condition says so."""
    status, reason, message = condition(after(case.world, case.plan), case.kind)
    assert (status, reason) == case.expected
    assert case.words in message
