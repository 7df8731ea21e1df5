"""What there may still be of a replica that SkyPilot no longer shows, and what has to be done about it."""

from collections.abc import Iterable

from deepseek_operator.api.base import read_amount
from deepseek_operator.api.v1alpha1 import ANNOTATION_ABANDON
from deepseek_operator.facts.names import ClusterName
from deepseek_operator.planning.result import dollars
from deepseek_operator.reconcile.replica.view import View

__all__ = ["going_on_costing", "launches_to_cancel", "names_on_cloud", "unaccounted_words"]


def names_on_cloud(view: View) -> tuple[str, ...]:
    """Return the names under which pods and Services of the replica are labelled."""
    pods = (pod.cluster_name_on_cloud for pod in view.facts.pods)
    services = (service.cluster_name_on_cloud for service in view.facts.services)
    return tuple(sorted({*pods, *services} - {""}))


def unaccounted_words(view: View, names: Iterable[ClusterName]) -> str:
    """Return what somebody has to do about machines of a lost record.

    Parameters
    ----------
    names
        All replicas of the deployment of which that is so: an annotation that names only some forgets the others.
    """
    return (
        f"SkyPilot has lost its record of {view.name} on {view.infra} without terminating it, so machines may "
        f"still run and cost {_cost_words(view)}. Terminate the instances tagged skypilot-cluster-name={view.name}-*, "
        f"then say so: kubectl annotate dsd {view.owner} --overwrite {ANNOTATION_ABANDON}={','.join(map(str, names))}"
    )


def _cost_words(view: View) -> str:
    """Return what machines of the replica cost for as long as they run: ``0.81 $/h``, or ``money``."""
    price = read_amount(view.ledger.price) or view.shown_cost
    return f"{dollars(price)} $/h" if price else "money"


def going_on_costing(view: View) -> str:
    """Return that rented nodes which are not torn down may go on costing money; empty where they are not rented."""
    return f", and they may go on costing {_cost_words(view)}" if view.rented else ""


def launches_to_cancel(view: View) -> tuple[str, ...]:
    """Return launches of which SkyPilot lists nothing yet: it tears down what it lists, so a cancellation ends them.

    A teardown in flight is none of them: rules before those that ask for this have a finding then.
    """
    if view.cluster is not None:
        return ()
    return tuple(request.id for request in view.requests)
