"""What keeps anything from being launched for a deployment in this pass. What serves goes on."""

from typing import Final

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.facts.base import Fact, Failure, Known, Unknown
from deepseek_operator.facts.clock import young
from deepseek_operator.facts.world import NOT_ASKED, Question, QuestionKind, World
from deepseek_operator.planning import Planned, Refused

__all__ = ["why_blocked"]

CLOUD_ENABLED_S: Final = 600
"""Seconds for which it is believed that the SkyPilot server has credentials for a cloud."""
CLOUD_REFUSED_S: Final = 20
"""Seconds after which a cloud without credentials is asked about again: somebody may be mending it just now."""


def why_blocked(
    world: World, plan: Planned | Refused, *, complete: bool
) -> tuple[Failure | None, tuple[Question, ...]]:
    """Return why nothing may be launched in this pass, and what has to be asked to know better.

    Parameters
    ----------
    complete
        All wanted replicas serve, so nothing is going to be launched and no Secret is read.
    """
    deployment = world.deployment
    if isinstance(plan, Refused):  # also where the spec cannot be read
        return Failure(plan.reason, plan.message), ()
    if world.namespace_terminating:
        message = f"namespace {deployment.metadata.namespace} is being deleted; nothing is launched in it"
        return Failure(Reason.NAMESPACE_TERMINATING, message), ()
    if world.service_conflict:
        name = deployment.metadata.name
        return Failure(Reason.SERVICE_CONFLICT, f"a Service {name} exists and was not made for this deployment"), ()
    access, cloud_asks = (None, ()) if complete else _no_access(world, plan)
    if access is not None and access.reason is not Reason.PLANNING:
        return access, cloud_asks
    answers = {ref: world.secrets.get(ref) for ref in (() if complete else plan.secrets.values())}
    namespace = deployment.metadata.namespace
    asks = tuple(
        Question(QuestionKind.SECRET, f"{namespace}/{ref.name}/{ref.key}")
        for ref, answer in answers.items()
        if not (isinstance(answer, Known) and answer.value == "")
    )
    missing = [answer.value for answer in answers.values() if isinstance(answer, Known) and answer.value]
    if missing:
        return Failure(Reason.SECRET_NOT_FOUND, "; ".join(missing)), asks
    if asks:
        return Failure(Reason.PLANNING, "checking that the Secrets of the spec exist"), (*asks, *cloud_asks)
    if FINALIZER not in deployment.metadata.finalizers:
        return Failure(Reason.PLANNING, "planned; SkyPilot is asked for nodes next"), cloud_asks
    return access, cloud_asks


def _no_access(world: World, plan: Planned) -> tuple[Failure | None, tuple[Question, ...]]:
    """Return why the SkyPilot server cannot use any cloud of the spec, and what has to be asked to know better.

    A launch would say the same, but only after SkyPilot has looked into catalogs that it may have to download. Where
    one place of several will do, SkyPilot itself leaves out the others.
    """
    if any(place.is_kubernetes for place in plan.places):
        return None, ()
    answers = {place.cloud: world.clouds.get(place.cloud, NOT_ASKED) for place in plan.places}
    asks = tuple(Question(QuestionKind.CLOUD, cloud) for cloud, answer in answers.items() if _stale(world, answer))
    refused = [answer.value for answer in answers.values() if isinstance(answer, Known) and answer.value is not None]
    wrong = next((one for one in refused if one.reason is Reason.INVALID_SPEC), None)
    if wrong is not None or len(refused) == len(answers):
        return wrong or refused[0], asks
    if any(isinstance(answer, Unknown) and answer.since is None for answer in answers.values()):
        words = f"asking the SkyPilot server whether it has credentials for {', '.join(answers)}"
        return Failure(Reason.PLANNING, words), asks
    return None, asks


def _stale(world: World, answer: Fact[Failure | None]) -> bool:
    """Return whether to ask about a cloud again; the answer is used meanwhile."""
    if not isinstance(answer, Known):
        return True
    limit_s = CLOUD_ENABLED_S if answer.value is None else CLOUD_REFUSED_S
    return not young(world.now, answer.at, limit_s)
