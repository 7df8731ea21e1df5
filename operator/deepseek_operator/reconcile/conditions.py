"""Conditions: one function per type, each a pure reading of the assessments.

Ready, Reconciling and Stalled follow kstatus: ``helm install --wait``, Argo CD and ``kubectl wait`` understand them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from deepseek_operator.api.reasons import ConditionType, Reason
from deepseek_operator.api.status import Condition, Phase, Verdict
from deepseek_operator.reconcile.clock import format_time
from deepseek_operator.reconcile.naming import ClusterName
from deepseek_operator.reconcile.view import Assessment
from deepseek_operator.reconcile.world import Failure, World

__all__ = ["Replica", "Verdicts", "conditions", "service_conflict"]


@dataclass(frozen=True)
class Replica:
    """A replica with what was said of it."""

    name: ClusterName
    current: bool
    assessment: Assessment

    @property
    def ready(self) -> bool:
        """Whether its engine answers and it is not on its way out."""
        return self.assessment.phase is Phase.READY


@dataclass(frozen=True)
class Verdicts:
    """What all conditions are read from."""

    world: World
    replicas: tuple[Replica, ...]
    blocked: Failure | None
    reachable_endpoint: bool
    endpoint_detail: str = ""

    @property
    def wanted(self) -> int:
        """Number of replicas that the spec asks for now."""
        deployment = self.world.deployment
        return 0 if deployment.spec.suspend or deployment.deleting else deployment.spec.replicas

    @property
    def ready(self) -> int:
        """Number of replicas that answer."""
        return sum(replica.ready for replica in self.replicas)

    @property
    def updated(self) -> int:
        """Number of replicas of the current revision that answer."""
        return sum(replica.ready and replica.current for replica in self.replicas)


def service_conflict(world: World) -> Failure | None:
    """Return the failure of a Service of our name that belongs to somebody else, if there is one."""
    if not world.service.foreign:
        return None
    name = world.deployment.metadata.name
    return Failure(Reason.SERVICE_CONFLICT, f"a Service {name} exists and was not made for this deployment")


_Said = tuple[str, Reason, str]


def conditions(verdicts: Verdicts) -> tuple[Condition, ...]:
    """Return all conditions; the time of one changes only when its status does."""
    deployment = verdicts.world.deployment
    before = {condition.type: condition for condition in deployment.status.conditions}
    said: dict[ConditionType, _Said] = {
        ConditionType.READY: _ready(verdicts),
        ConditionType.RECONCILING: _reconciling(verdicts),
        ConditionType.STALLED: _stalled(verdicts),
        ConditionType.PLANNED: _planned(verdicts),
        ConditionType.ENDPOINT_PUBLISHED: _endpoint(verdicts),
    }
    return tuple(
        _condition(kind, words, before.get(kind), deployment.metadata.generation, verdicts.world.now)
        for kind, words in said.items()
    )


def _condition(kind: ConditionType, said: _Said, before: Condition | None, generation: int, now: datetime) -> Condition:
    status, reason, message = said
    same = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and same else format_time(now),
    )


def _ready(verdicts: Verdicts) -> _Said:
    spec, wanted, ready = verdicts.world.deployment.spec, verdicts.wanted, verdicts.ready
    if verdicts.world.deployment.deleting:
        return "False", Reason.TERMINATING, _worst_message(verdicts) or "everything rented is being given back"
    if spec.suspend:
        return (
            "False",
            Reason.SUSPENDED,
            "spec.suspend is true"
            + ("; nothing is rented" if not verdicts.replicas else "; everything rented is being given back"),
        )
    if wanted == 0:
        return "False", Reason.SCALED_TO_ZERO, "spec.replicas is 0"
    if ready >= wanted and verdicts.reachable_endpoint:
        return "True", Reason.READY, f"{ready} of {wanted} replicas answer" if wanted > 1 else "the model answers"
    if ready >= wanted:
        return "False", Reason.PUBLISHING_ENDPOINT, verdicts.endpoint_detail or "the Service does not answer yet"
    worst = _worst(verdicts)
    count = f"{ready} of {wanted} replicas answer; " if wanted > 1 else ""
    if worst is not None:
        who = f"{worst.name}: " if wanted > 1 else ""
        return "False", worst.assessment.reason, f"{count}{who}{_with_retry(worst.assessment)}"
    if verdicts.blocked is not None:
        return "False", verdicts.blocked.reason, verdicts.blocked.message
    return "False", Reason.PLANNING, f"{count}replicas are about to be launched"


def _reconciling(verdicts: Verdicts) -> _Said:
    if _stalled(verdicts)[0] == "True":
        return "False", Reason.PLANNED if verdicts.blocked is None else verdicts.blocked.reason, "see Stalled"
    status, reason, message = _ready(verdicts)
    if reason in (Reason.SUSPENDED, Reason.SCALED_TO_ZERO):
        busy = bool(verdicts.replicas)
        return ("True", Reason.TERMINATING, "replicas are being given back") if busy else ("False", reason, message)
    if status == "False":
        return "True", reason, message
    leaving = [replica for replica in verdicts.replicas if not replica.ready or not replica.current]
    if verdicts.updated < verdicts.wanted or leaving:
        text = f"{verdicts.updated} of {verdicts.wanted} replicas run the current spec"
        return "True", Reason.ROLLING_OUT, text + (f"; {len(leaving)} of an older one remain" if leaving else "")
    return "False", Reason.READY, "nothing is left to do"


def _stalled(verdicts: Verdicts) -> _Said:
    """True: nothing more happens until somebody changes something."""
    failure = verdicts.world.plan_failure
    if failure is not None and not verdicts.world.deployment.deleting:
        return "True", failure.reason, failure.message
    final = next((replica for replica in verdicts.replicas if replica.assessment.final), None)
    if final is not None:
        text = f"{final.assessment.message}; it is not tried again because resources.retryUntilUp is false"
        return "True", final.assessment.reason, text
    return "False", Reason.PLANNED, "nothing stands in the way that only a person can move"


def _planned(verdicts: Verdicts) -> _Said:
    failure, plan = verdicts.world.plan_failure, verdicts.world.plan
    if failure is not None:
        return "False", failure.reason, failure.message
    if plan is None:
        return "Unknown", Reason.PLANNING, "no plan yet"
    return "True", Reason.PLANNED, plan.reason or f"verdict {Verdict(plan.verdict)}"


def _endpoint(verdicts: Verdicts) -> _Said:
    if (conflict := service_conflict(verdicts.world)) is not None:
        return "False", conflict.reason, conflict.message
    if not verdicts.ready:
        return "False", Reason.NO_READY_REPLICAS, "no replica answers"
    if not verdicts.reachable_endpoint:
        return "False", Reason.ENDPOINT_UNREACHABLE, verdicts.endpoint_detail or "the Service does not answer yet"
    return "True", Reason.ENDPOINT_PUBLISHED, "the Service leads to the replicas that answer"


_WORST_FIRST = (Phase.FAILED, Phase.STARTING, Phase.LAUNCHING, Phase.PENDING, Phase.TERMINATING)


def _worst(verdicts: Verdicts) -> Replica | None:
    """Return the replica whose words say best why the deployment is not ready."""
    candidates: Iterable[Replica] = [replica for replica in verdicts.replicas if not replica.ready]
    return min(
        candidates,
        key=lambda replica: (not replica.current, _WORST_FIRST.index(replica.assessment.phase), replica.name.ordinal),
        default=None,
    )


def _worst_message(verdicts: Verdicts) -> str:
    worst = _worst(verdicts)
    return worst.assessment.message if worst is not None else ""


def _with_retry(assessment: Assessment) -> str:
    if assessment.retry_after is None or assessment.attempts < 1 or assessment.phase is not Phase.FAILED:
        return assessment.message
    moment = format_time(assessment.retry_after)
    return f"{assessment.message} (attempt {assessment.attempts} failed; next at {moment})"
