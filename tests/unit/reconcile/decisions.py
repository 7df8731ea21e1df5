"""What a pass decides and says, in a few words, and the world after it."""

from dataclasses import replace
from typing import Any

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.world import QuestionKind, World
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.decide import Decision, decide
from tests.unit.reconcile import builders as b

AT = Address(b.host(), b.PORT)
NO_PLAN = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB; 8xL4 offer 162 GiB")


def conditions(status: DeepSeekDeploymentStatus) -> dict[str, tuple[str, str]]:
    """What each condition says, without its words."""
    return {c.type: (c.status, c.reason) for c in status.conditions}


def message(status: DeepSeekDeploymentStatus, kind: str = "Ready") -> str:
    """The words of one condition."""
    return next(c.message for c in status.conditions if c.type == kind)


def actions(decision: Decision) -> tuple[Any, ...]:
    """What is done to replicas."""
    return tuple(action for _, action in decision.actions)


def settled(world: World) -> World:
    """The world after the pass that has nothing to do but to write the status."""
    _, status = b.step(world)
    return replace(world, deployment=world.deployment.model_copy(update={"status": status}))


def changed(world: World, **spec: Any) -> World:
    """The world after an edit of the spec."""
    status, deleting = world.deployment.status, spec.pop("deleting", False)
    return replace(world, deployment=b.deployment(status=status, deleting=deleting, **spec))


def decided(world: World, plan: Refused | None = None, **options: Any) -> Decision:
    """What is decided, with the plan of its spec unless another one is given."""
    return decide(world, plan or b.planned(world.deployment), **options)


def asked(decision: Decision) -> list[QuestionKind]:
    """The kinds of the questions of a pass."""
    return [question.kind for question in decision.asks]
