"""Deployments with a price limit, and one pass over replicas that are rented and serve."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.planning import Planned
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.reconcile.decide import Decision
from tests.unit.reconcile import builders as b

PRICE: Final = Decimal("0.8048")


def passes(
    of: DeepSeekDeployment, *running: ClusterName, price: Decimal | str = PRICE, **fields: Any
) -> tuple[Decision, DeepSeekDeploymentStatus]:
    """One pass in which these replicas are rented, at a known price, and serve.

    Parameters
    ----------
    fields
        Of the world, in place of those of a world in which nothing else happens.
    """
    places = {name: Address(f"54.0.0.{number}", 8000) for number, name in enumerate(running, 1)}
    ledgers = {
        name: b.ledger(infra="aws", renting=True, price=str(price), ready_since=b.ago(60), address=str(at))
        for name, at in places.items()
    }
    known = [b.facts(name, skypilot=b.seen(b.row(name, cloud="AWS", region="us-east-1"))) for name in running]
    world = b.world(
        b.remembering(of, ledgers), *known, secrets=b.API_KEY_EXISTS, clouds=b.CLOUDS_ENABLED,
        probes=b.answering(*places.values()), endpoints=tuple([b.endpoints(*places.values())] if places else []),
    )  # fmt: skip
    return b.step(replace(world, **fields))


def capped(
    cap: str | None, replicas: int = 2, *, infra: tuple[str, ...] = ("aws",), **fields: Any
) -> DeepSeekDeployment:
    """A deployment with this limit."""
    resources = {} if cap is None else {"maxHourlyCost": cap}
    return b.rented_deployment(*infra, resources=resources, replicas=replicas, **fields)


def launches(decision: Decision) -> list[Decimal | None]:
    """What each launch of a decision may cost."""
    return [action.cost_limit for _, action in decision.actions if isinstance(action, Launch)]


def priced(plan_cost: str | None, *candidates: str | None) -> Planned:
    """A plan that costs so much, with candidates that do."""
    known = b.planned(capped("4"))
    first = known.candidates[0]
    costs = [None if cost is None else Decimal(cost) for cost in (plan_cost, *candidates)]
    others = tuple(replace(first, hourly_cost=cost) for cost in costs[1:])
    return replace(known, candidates=others, hourly_cost=costs[0])
