"""Forms of strings that the API server checks with CEL, for plans that are made without one."""

import re

from deepseek_operator.api.places import WITHOUT_SPOT, Place
from deepseek_operator.api.spec import ACCELERATOR_PATTERN, CapacityType, DeepSeekDeploymentSpec, Resources
from deepseek_operator.planning.errors import PlanInputError

__all__ = ["check_capacity", "check_forms"]

_INFRA = r"[a-z0-9]+(/[A-Za-z0-9._*:@-]+){0,2}"
_SIZE = r"[0-9]{1,6}([.][0-9]{1,3})?[+]?"
_COUNT = r"([0-9]|[1-9][0-9]|100)%?"
_DOLLARS = r"[0-9]{1,7}([.][0-9]{1,4})?"


def check_forms(spec: DeepSeekDeploymentSpec) -> None:
    """Check strings of ``resources`` that have a form of their own.

    Raises
    ------
    PlanInputError
        One does not have it.
    """
    resources = spec.resources
    for text in resources.accelerators or ():
        _check(
            "accelerators", text, ACCELERATOR_PATTERN, 'must be NAME or NAME:COUNT with a count from 1, such as "L4:1"'
        )
    for text in resources.infra:
        _check("infra", text, _INFRA, 'must be CLOUD, CLOUD/REGION or kubernetes/CONTEXT, such as "aws/us-east-1"')
    size = 'must be a number, or a number with "+" for "at least", such as 8 or "32+"'
    _check("cpus", resources.cpus, _SIZE, size)
    _check("memory", resources.memory, _SIZE, size)
    dollars = 'must be an amount of US dollars an hour above 0, such as "40" or "12.50"'
    _check("maxHourlyCost", resources.max_hourly_cost, _DOLLARS, dollars)
    for field, amount in (("cpus", resources.cpus), ("memory", resources.memory)):
        if amount is not None and float(amount.rstrip("+")) == 0:
            raise PlanInputError(f"resources.{field}", amount, "must be above 0")
    _check_strategy(spec)
    if spec.model.path is not None and ".." in spec.model.path.split("/"):
        raise PlanInputError("model.path", spec.model.path, "must not contain ..")
    if resources.max_hourly_cost is not None and float(resources.max_hourly_cost) == 0:
        raise PlanInputError("resources.maxHourlyCost", resources.max_hourly_cost, dollars)


def check_capacity(resources: Resources, places: list[Place]) -> None:
    """Check how machines are to be paid.

    Raises
    ------
    PlanInputError
        It contradicts itself, or no place has such machines.
    """
    base, kind = resources.capacity.on_demand_base, resources.capacity_type
    if base and kind is CapacityType.ON_DEMAND:
        raise PlanInputError(
            "resources.capacity.onDemandBase",
            base,
            "is of no use with capacityType OnDemand, where all replicas are on demand; set capacityType to Spot or "
            "SpotThenOnDemand, or remove it",
        )
    clouds = list(dict.fromkeys(place.cloud for place in places))
    if kind is CapacityType.SPOT and clouds and all(cloud in WITHOUT_SPOT for cloud in clouds):
        has = f"{clouds[0]} has" if len(clouds) == 1 else f"{' and '.join(clouds)} have"
        raise PlanInputError(
            "resources.capacityType",
            kind.value,
            f"{has} no spot machines that SkyPilot rents; use OnDemand or SpotThenOnDemand, or another cloud in "
            "resources.infra",
        )


def _check_strategy(spec: DeepSeekDeploymentSpec) -> None:
    strategy = spec.update_strategy
    for field, amount in (("maxSurge", strategy.max_surge), ("maxUnavailable", strategy.max_unavailable)):
        if re.fullmatch(_COUNT, amount) is None:
            words = 'must be a number of replicas from 0 to 100 or a percentage, such as 1 or "25%"'
            raise PlanInputError(f"updateStrategy.{field}", amount, words)
    if {strategy.max_surge, strategy.max_unavailable} <= {"0", "0%"}:
        raise PlanInputError(
            "updateStrategy.maxSurge",
            strategy.max_surge,
            f"must not be 0 together with maxUnavailable {strategy.max_unavailable}: nothing could ever change; "
            "set one of them to 1 or more",
        )


def _check(field: str, text: str | None, pattern: str, message: str) -> None:
    if text is not None and re.fullmatch(pattern.strip("^$"), text) is None:
        raise PlanInputError(f"resources.{field}", text, message)
