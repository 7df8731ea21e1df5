"""One pass over replicas that are rented and serve."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from deepseek_operator.api.status import DeepSeekDeploymentStatus
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import ClusterName
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
