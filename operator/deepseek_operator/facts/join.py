"""The join: what SkyPilot, Kubernetes and answers to questions say of each replica of one deployment."""

from collections.abc import Mapping
from operator import attrgetter

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.answers import Answers
from deepseek_operator.facts.deployments import Key
from deepseek_operator.facts.names import ClusterName, belongs_to, parse_cluster_name, uid_prefix
from deepseek_operator.facts.owned import Owned
from deepseek_operator.facts.snapshots import Snapshots
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, ReplicaFacts

__all__ = ["join_replicas", "seen_names"]


def join_replicas(
    deployment: DeepSeekDeployment, owned: Owned, skypilot: Snapshots[Key], answers: Answers
) -> Mapping[ClusterName, ReplicaFacts]:
    """Return every replica that the status, SkyPilot or Kubernetes knows, in the order of their names."""
    return {name: _replica(name, owned, skypilot, answers) for name in _names(deployment, owned, skypilot)}


def seen_names(deployment: DeepSeekDeployment, skypilot: Snapshots[Key]) -> tuple[ClusterName, ...]:
    """Return the names of a deployment that the last snapshot of SkyPilot shows."""
    names = skypilot.names(uid_prefix(deployment.metadata.uid))
    return tuple(name for name in names if belongs_to(name, deployment))


def _names(deployment: DeepSeekDeployment, owned: Owned, skypilot: Snapshots[Key]) -> list[ClusterName]:
    found = {instance.name for instance in deployment.status.instances}
    found.update(pod.cluster_name for pod in owned.pods.values())
    found.update(service.cluster_name for service in owned.services.values())
    found.update(skypilot.acted_names(deployment.key))
    names = {name for text in found if (name := parse_cluster_name(text)) and belongs_to(name, deployment)}
    return sorted(names.union(seen_names(deployment, skypilot)), key=attrgetter("text"))


def _replica(name: ClusterName, owned: Owned, skypilot: Snapshots[Key], answers: Answers) -> ReplicaFacts:
    text = str(name)
    known = answers.of(text)
    return ReplicaFacts(
        name=name,
        skypilot=skypilot.of(text),
        last_seen=skypilot.last(text),
        outcome=known.get(QuestionKind.OUTCOME, NOT_ASKED),
        job=known.get(QuestionKind.JOB, NOT_ASKED),
        endpoint=known.get(QuestionKind.ENDPOINT, NOT_ASKED),
        terminated=known.get(QuestionKind.HISTORY, NOT_ASKED),
        price=known.get(QuestionKind.PRICE, NOT_ASKED),
        pods=tuple(pod for pod in owned.pods.values() if pod.cluster_name == text),
        services=tuple(service for service in owned.services.values() if service.cluster_name == text),
    )
