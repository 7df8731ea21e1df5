"""The world of one deployment: everything that is known about it at one moment, joined from the facts of all feeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from pydantic import SecretStr

from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Fact, Failure, Known, Probe, Unknown
from deepseek_operator.facts.engine import EngineReading
from deepseek_operator.facts.kubernetes import Endpoints, LaunchedService, Pod, ProxyPod, PublishedService
from deepseek_operator.facts.names import ClusterName, members_service, proxy_name
from deepseek_operator.facts.skypilot import Job, Outcome, SkyPilotCluster, SkyPilotRequest

__all__ = [
    "NOT_ASKED",
    "Question",
    "QuestionKind",
    "ReplicaFacts",
    "Seen",
    "World",
    "api_key_question",
    "authority_question",
]

NOT_ASKED = Unknown("not asked yet")


class QuestionKind(StrEnum):
    """What can be asked about one thing, besides what the feeds report unasked."""

    OUTCOME = "outcome"
    """How the last request for a SkyPilot cluster ended."""
    JOB = "job"
    """What the newest job on a SkyPilot cluster does."""
    ENDPOINT = "endpoint"
    """Where a rented head node answers."""
    HISTORY = "history"
    """When SkyPilot last terminated a cluster of this name, as far as it remembers."""
    PRICE = "price"
    """What the nodes of a rented cluster cost."""
    SECRET = "secret"
    """Whether a Secret and its key exist."""
    CLOUD = "cloud"
    """Whether the SkyPilot server has working credentials for a cloud."""
    AUTHORITY = "authority"
    """The certificate of the authority that signs for the engines of a deployment."""
    API_KEY = "api-key"
    """The key that the operator made for the engines of a deployment."""


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes
    ----------
    subject
        A cluster name, ``NAMESPACE/NAME/KEY`` of a Secret, the name of a cloud, or ``NAMESPACE/NAME/UID`` of a
        deployment.
    """

    kind: QuestionKind
    subject: str
    port: int = 0


def authority_question(deployment: DeepSeekDeployment) -> Question:
    """Return the question of the authority of a deployment; another one of its name has another authority."""
    metadata = deployment.metadata
    return Question(QuestionKind.AUTHORITY, f"{metadata.namespace}/{metadata.name}/{metadata.uid}")


def api_key_question(deployment: DeepSeekDeployment) -> Question:
    """Return the question of the key of a deployment's engines."""
    return Question(QuestionKind.API_KEY, authority_question(deployment).subject)


@dataclass(frozen=True)
class Seen:
    """What SkyPilot's snapshot shows of one cluster name."""

    cluster: SkyPilotCluster | None = None
    requests: tuple[SkyPilotRequest, ...] = ()


@dataclass(frozen=True)
class ReplicaFacts:
    """What is known of one replica.

    Attributes
    ----------
    skypilot
        Unknown while SkyPilot cannot be asked, and between a request of ours and the first snapshot after it.
    last_seen
        What the last good snapshot showed, however old it is. It tells where a replica is while nobody can be asked;
        that it still exists, only ``skypilot`` tells.
    """

    name: ClusterName
    skypilot: Fact[Seen] = NOT_ASKED
    last_seen: Seen = Seen()
    outcome: Fact[Outcome | None] = NOT_ASKED
    job: Fact[Job] = NOT_ASKED
    endpoint: Fact[Address | None] = NOT_ASKED
    terminated: Fact[datetime | None] = NOT_ASKED
    price: Fact[Decimal | None] = NOT_ASKED
    pods: tuple[Pod, ...] = ()
    services: tuple[LaunchedService, ...] = ()


@dataclass(frozen=True)
class World:
    """Everything that one decision is made from, besides the plan.

    Attributes
    ----------
    revision
        What the spec asks for; see :func:`~deepseek_operator.facts.names.revision_of`.
    unreadable
        What is wrong with a spec that this version cannot read; empty if nothing is.
    namespace_terminating
        The namespace is being deleted, and the object will be.
    skypilot
        Whether SkyPilot can be asked. Known: the last snapshot succeeded.
    replicas
        Every name that the status, SkyPilot or Kubernetes knows.
    service
        None: there is no Service of ours.
    service_conflict
        A Service of the deployment's name exists and belongs to someone else.
    services
        Names of all Services that were made for the deployment by the operator.
    proxies
        Pods of its proxy.
    secrets
        Per reference: a sentence that says what is missing, or an empty string.
    clouds
        Per cloud that was asked about: why the SkyPilot server cannot use it, or None.
    authority
        The certificate of the deployment's own authority, as PEM, followed by those of earlier ones; empty where its
        Secret was gone when it was read.
    api_key
        The key that the operator made for its engines; empty where its Secret was gone when it was read. No decision
        depends on what it is.
    probes
        Per address; an address that has not been asked yet is absent.
    readings
        What engines report of themselves, per address; one that has not been read yet is absent.
    """

    now: datetime
    deployment: DeepSeekDeployment
    revision: str
    unreadable: str = ""
    namespace_terminating: bool = False
    skypilot: Fact[None] = NOT_ASKED
    replicas: Mapping[ClusterName, ReplicaFacts] = field(default_factory=dict)
    service: PublishedService | None = None
    service_conflict: bool = False
    services: frozenset[str] = frozenset()
    proxies: tuple[ProxyPod, ...] = ()
    endpoints: tuple[Endpoints, ...] = ()
    secrets: Mapping[SecretKeyRef, Fact[str]] = field(default_factory=dict)
    clouds: Mapping[str, Fact[Failure | None]] = field(default_factory=dict)
    authority: Fact[str] = NOT_ASKED
    api_key: Fact[SecretStr] = NOT_ASKED
    probes: Mapping[Address, Probe] = field(default_factory=dict)
    readings: Mapping[Address, Fact[EngineReading]] = field(default_factory=dict)

    @property
    def authority_question(self) -> Question:
        """The question of which ``authority`` is the answer."""
        return authority_question(self.deployment)

    @property
    def certificate_authority(self) -> str:
        """The certificate of the deployment's own authority; empty while it is unknown or gone."""
        return self.authority.value if isinstance(self.authority, Known) else ""

    @cached_property
    def direct(self) -> tuple[Endpoints, ...]:
        """Slices by which the Service leads to engines itself."""
        taken = {self.proxy_slice, *self.members_services}
        return tuple(piece for piece in self.endpoints if piece.name not in taken and piece.service not in taken)

    @cached_property
    def members(self) -> tuple[Endpoints, ...]:
        """Slices by which the proxy finds engines."""
        return tuple(piece for piece in self.endpoints if piece.service in self.members_services)

    @cached_property
    def fronts(self) -> frozenset[Address]:
        """Proxies to which the Service leads now."""
        return frozenset(a for piece in self.endpoints if piece.name == self.proxy_slice for a in piece.addresses)

    @cached_property
    def proxy_slice(self) -> str:
        """Name of the slice by which the Service leads to the proxies."""
        return proxy_name(self.deployment.metadata.name)

    @cached_property
    def members_services(self) -> tuple[str, str]:
        """Names of the Services by which the proxy finds engines: those without TLS, and those with it."""
        name = self.deployment.metadata.name
        return members_service(name, encrypted=False), members_service(name, encrypted=True)

    @cached_property
    def published(self) -> frozenset[Address]:
        """Engines to which the Service leads now, itself or by its proxy."""
        pieces = self.direct + (self.members if self.fronts else ())
        return frozenset(address for piece in pieces for address in piece.addresses)
