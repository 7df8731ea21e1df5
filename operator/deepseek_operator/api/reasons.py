"""Every Reason that a condition or an instance can carry, with what it means and what to do.

``docs/reasons.md`` is printed from this table by a test, and ``kubectl deepseek status`` shows what to do. Programs may
rely on the names.
"""

from enum import StrEnum
from typing import Final

__all__ = ["ADVICE", "REPLICA_FAILURES", "ConditionType", "Reason"]


class ConditionType(StrEnum):
    """Types of conditions. Ready, Reconciling and Stalled follow kstatus, so Flux and Helm 4 understand them."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    PLANNED = "Planned"
    ENDPOINT_PUBLISHED = "EndpointPublished"


class Reason(StrEnum):
    """Why something is as it is."""

    # on the way up
    STARTING = "Starting"
    PLANNING = "Planning"
    QUEUED = "Queued"
    LAUNCHING = "Launching"
    ENGINE_STARTING = "EngineStarting"
    PUBLISHING_ENDPOINT = "PublishingEndpoint"
    READY = "Ready"
    ROLLING_OUT = "RollingOut"
    # on the way down
    TERMINATING = "Terminating"
    SUSPENDED = "Suspended"
    SCALED_TO_ZERO = "ScaledToZero"
    # the spec
    PLANNED = "Planned"
    INVALID_SPEC = "InvalidSpec"
    DOES_NOT_FIT = "DoesNotFit"
    SECRET_NOT_FOUND = "SecretNotFound"
    SERVICE_CONFLICT = "ServiceConflict"
    NAME_CONFLICT = "NameConflict"
    # capacity and the provider
    UNSCHEDULABLE = "Unschedulable"
    NO_CAPACITY = "NoCapacity"
    NO_MATCHING_RESOURCES = "NoMatchingResources"
    QUOTA_EXCEEDED = "QuotaExceeded"
    CREDENTIALS_INVALID = "CredentialsInvalid"
    NOT_AUTHORIZED = "NotAuthorized"
    NOT_OFFERED = "NotOffered"
    AWAITING_APPROVAL = "AwaitingApproval"
    MAX_HOURLY_COST_REACHED = "MaxHourlyCostReached"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_REJECTED = "PodRejected"
    LAUNCH_FAILED = "LaunchFailed"
    LAUNCH_TIMED_OUT = "LaunchTimedOut"
    LAUNCH_INTERRUPTED = "LaunchInterrupted"
    # the engine and its machines
    PLAN_TOO_OPTIMISTIC = "PlanTooOptimistic"
    ENGINE_EXITED = "EngineExited"
    ENGINE_CRASH_LOOP = "EngineCrashLoop"
    ENGINE_UNRESPONSIVE = "EngineUnresponsive"
    ENGINE_START_TIMED_OUT = "EngineStartTimedOut"
    ENGINE_PORT_BLOCKED = "EnginePortBlocked"
    INSTANCE_LOST = "InstanceLost"
    PREEMPTED = "Preempted"
    # SkyPilot and teardown
    SKYPILOT_UNAVAILABLE = "SkyPilotUnavailable"
    KUBERNETES_REFUSED = "KubernetesRefused"
    KUBERNETES_UNAVAILABLE = "KubernetesUnavailable"
    TEARDOWN_FAILED = "TeardownFailed"
    MACHINES_UNACCOUNTED = "MachinesUnaccounted"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    # endpoint
    NO_READY_REPLICAS = "NoReadyReplicas"
    ENDPOINT_PUBLISHED = "EndpointPublished"
    ENDPOINT_UNREACHABLE = "EndpointUnreachable"
    PROXY_REFUSED = "ProxyRefused"


ADVICE: Final[dict[Reason, tuple[str, str]]] = {
    Reason.STARTING: ("The operator has just started and has not asked the SkyPilot API server yet.", "Wait."),
    Reason.PLANNING: ("The spec is being turned into a plan.", "Wait."),
    Reason.QUEUED: (
        "The launch waits for a launch slot of the operator, or for a free launch worker of SkyPilot.",
        "Wait; if it is always so, give the SkyPilot server more memory, which gives it more workers, and the operator "
        "as many launch slots (docs/operate/sizing.md).",
    ),
    Reason.LAUNCHING: ("SkyPilot is bringing up the nodes; the message is its own.", "Wait."),
    Reason.ENGINE_STARTING: ("The nodes are up and the engine loads the model.", "Wait."),
    Reason.PUBLISHING_ENDPOINT: (
        "A replica answers; the Service does not lead to it yet.",
        "Wait some seconds. If it stays so, the message says what is in the way, such as an image of the proxy that "
        "cannot be pulled.",
    ),
    Reason.READY: ("Every wanted replica answers at the endpoint.", "Nothing."),
    Reason.ROLLING_OUT: ("A change of the spec is rolling out.", "Wait."),
    Reason.TERMINATING: ("Nodes are being torn down.", "Wait."),
    Reason.SUSPENDED: ("spec.suspend is true and nothing is rented.", "Set spec.suspend to false to bring it back."),
    Reason.SCALED_TO_ZERO: ("spec.replicas is 0.", "Scale it up: kubectl scale dsd NAME --replicas=1."),
    Reason.PLANNED: ("The plan is in status.plan.", "Nothing."),
    Reason.INVALID_SPEC: (
        "The spec contradicts itself or asks for what does not exist.",
        "Fix the field that the message names.",
    ),
    Reason.DOES_NOT_FIT: (
        "The model does not fit the accelerators; nothing was launched.",
        "Take accelerators that the message names, a shorter context, or leave resources.accelerators unset.",
    ),
    Reason.SECRET_NOT_FOUND: (
        "A Secret or key that the spec refers to does not exist, or is empty.",
        "Create it; the deployment goes on by itself within seconds.",
    ),
    Reason.SERVICE_CONFLICT: (
        "A Service of the deployment's name exists and belongs to something else.",
        "Rename the deployment or remove that Service.",
    ),
    Reason.NAME_CONFLICT: (
        "Something of a name that a launch needs, such as the Secret NAME-ca, exists and belongs to something else.",
        "Rename the deployment or remove what the message names; it is launched within seconds.",
    ),
    Reason.UNSCHEDULABLE: (
        "No node of the cluster has room for the pods; the message is the scheduler's.",
        "Free or add nodes, or ask for less. The operator retries.",
    ),
    Reason.NO_CAPACITY: (
        "The provider has no machine of this kind now.",
        "Wait: the operator retries after 10 s, then less often, at least every 2 minutes. More entries in "
        "resources.infra or resources.accelerators leave more to choose from.",
    ),
    Reason.NO_MATCHING_RESOURCES: (
        "Nothing that SkyPilot may use offers such resources at all; no provider was asked.",
        "Check resources.accelerators, infra and maxHourlyCost against what the message says is offered.",
    ),
    Reason.QUOTA_EXCEEDED: (
        "The account's quota is used up.",
        "Ask the provider for more quota, or use another region. The operator retries after 30 s, then less often, "
        "at least every 10 minutes.",
    ),
    Reason.CREDENTIALS_INVALID: (
        "The SkyPilot server has no credentials for the cloud, or the provider does not accept them.",
        "Give the SkyPilot server valid credentials (docs/clouds.md), or take the cloud out of resources.infra. The "
        "operator notices new ones within half a minute; after a launch that failed it retries at least every 10 "
        "minutes.",
    ),
    Reason.NOT_AUTHORIZED: (
        "The SkyPilot server's account lacks a right, at the provider or in the cluster; the message names it.",
        "Grant it. The operator retries after 30 s, then less often, at least every 10 minutes.",
    ),
    Reason.NOT_OFFERED: (
        "The provider does not offer this kind of machine there, or not to this account.",
        "Put another region into resources.infra or another GPU into resources.accelerators. The operator retries "
        "after a minute, then less often, at least every 30 minutes.",
    ),
    Reason.AWAITING_APPROVAL: (
        "spec.approval is Required and nobody has approved the plan; nothing of it is launched, and what runs goes on.",
        "Look at the plan and its price in the message, then run the command that it ends with, or kubectl deepseek "
        "approve NAME.",
    ),
    Reason.MAX_HOURLY_COST_REACHED: (
        "One more replica would cost more than spec.resources.maxHourlyCost leaves; what runs is left alone.",
        "Raise maxHourlyCost. Where only a change of the spec waits, updateStrategy.maxUnavailable: 1 lets an old "
        "replica make room for its successor.",
    ),
    Reason.IMAGE_PULL_FAILED: (
        "A node cannot get the engine's image.",
        "Check engine.image and podTemplate.imagePullSecrets. The operator retries.",
    ),
    Reason.POD_REJECTED: (
        "A pod of the replica was refused or cannot be configured.",
        "Check what the message names: admission policies, Secrets, volumes.",
    ),
    Reason.LAUNCH_FAILED: (
        "SkyPilot's launch failed; the message is its own.",
        "Read the message; the operator retries.",
    ),
    Reason.LAUNCH_TIMED_OUT: (
        "The launch took too long and was taken down.",
        "The operator retries, elsewhere where it may; raise resources.provisionTimeoutSeconds if nodes need longer to "
        "come.",
    ),
    Reason.LAUNCH_INTERRUPTED: ("The SkyPilot server was restarted during the launch.", "Wait; it is launched again."),
    Reason.PLAN_TOO_OPTIMISTIC: (
        "An Event only: the engine's KV cache holds over 5 % fewer tokens than planned. It serves, with fewer or "
        "shorter requests at once.",
        "Let deepseek-operator calibrate make a catalog row of status.instances[].engine, and tell the project.",
    ),
    Reason.ENGINE_EXITED: (
        "The engine ended; the message has its first errors and its last lines.",
        "The errors in the message say why; it is started again on the same nodes, after 10 s and then less often.",
    ),
    Reason.ENGINE_CRASH_LOOP: (
        "The engine ended three times or more in a row; the message has its first errors and its last lines.",
        "Fix what the errors in the message name: usually engine.args, maxModelLen or the model's files. The operator "
        "keeps retrying, at least every 2 minutes.",
    ),
    Reason.ENGINE_UNRESPONSIVE: (
        "The engine answered and no longer does.",
        "Wait; it is replaced after 3 minutes of silence. Until then kubectl deepseek logs NAME shows what it says.",
    ),
    Reason.ENGINE_START_TIMED_OUT: (
        "The engine did not answer within the time its model should need; its nodes are torn down.",
        "It is launched again. Follow the log of its pods then: kubectl deepseek logs NAME -f. A slow download of the "
        "weights is the usual cause; model.path on a volume that has them spares it.",
    ),
    Reason.ENGINE_PORT_BLOCKED: (
        "Connections to the engine's port are dropped, neither accepted nor refused.",
        "Let the operator's pods, and the proxies if there are any, reach the port: in the NetworkPolicies of the "
        "namespace, or on the cloud. Remove aws.security_group_name from the chart's skypilot.config, or open the port "
        "in that group yourself: SkyPilot opens none in a group that it did not make.",
    ),
    Reason.INSTANCE_LOST: ("The nodes of the replica vanished.", "Wait; it is launched again."),
    Reason.PREEMPTED: (
        "The provider took spot machines of the replica back.",
        "Wait; it is launched again, elsewhere if there is no capacity. Use capacityType OnDemand to avoid this.",
    ),
    Reason.SKYPILOT_UNAVAILABLE: (
        "The SkyPilot API server does not answer.",
        "Look at the container skypilot of the operator's pod, at SkyPilot's pod where it has one of its own, or at "
        "the external server that the chart names. Running replicas go on serving; nothing is launched or torn down "
        "until it answers.",
    ),
    Reason.KUBERNETES_REFUSED: (
        "The Kubernetes API server has not made or removed what a replica needs.",
        "Change what the message names: a quota, an admission policy, a right that was taken away. It is tried again.",
    ),
    Reason.KUBERNETES_UNAVAILABLE: (
        "What a replica needs could not be made or removed: the API server, etcd or a webhook did not answer.",
        "Nothing; it is tried again. If it lasts, look at what the message names.",
    ),
    Reason.TEARDOWN_FAILED: (
        "SkyPilot could not tear the nodes down; they may go on costing money.",
        "Read the message; the operator retries. If it stays so, look in the provider's console for instances with the "
        "tag skypilot-cluster-name=NAME-*, where NAME is that of the replica in status.instances.",
    ),
    Reason.MACHINES_UNACCOUNTED: (
        "SkyPilot has lost its record of rented machines that may still run and cost money.",
        "Terminate the instances that the message names at the provider, then set the annotation that it names.",
    ),
    Reason.NAMESPACE_TERMINATING: (
        "The namespace is being deleted, so nothing is launched in it.",
        "Nothing; everything is torn down when the object is deleted with its namespace.",
    ),
    Reason.NO_READY_REPLICAS: (
        "No replica answers.",
        "Run kubectl describe dsd NAME: each replica under status.instances says why.",
    ),
    Reason.ENDPOINT_PUBLISHED: ("The Service leads to the replicas that answer.", "Nothing."),
    Reason.ENDPOINT_UNREACHABLE: (
        "Replicas answer, but not yet through the Service.",
        "Wait some seconds; if it stays so, check kube-proxy and network policies.",
    ),
    Reason.PROXY_REFUSED: (
        "The namespace does not admit the pods of the proxy that stands in front of rented machines.",
        "Change what the message names: a quota, a LimitRange, an admission policy. The pods then come by themselves.",
    ),
}
"""Per reason: what it means, and what to do."""

REPLICA_FAILURES: Final = (
    Reason.UNSCHEDULABLE,
    Reason.NO_CAPACITY,
    Reason.NO_MATCHING_RESOURCES,
    Reason.QUOTA_EXCEEDED,
    Reason.CREDENTIALS_INVALID,
    Reason.NOT_AUTHORIZED,
    Reason.NOT_OFFERED,
    Reason.INVALID_SPEC,
    Reason.IMAGE_PULL_FAILED,
    Reason.POD_REJECTED,
    Reason.LAUNCH_FAILED,
    Reason.LAUNCH_TIMED_OUT,
    Reason.LAUNCH_INTERRUPTED,
    Reason.ENGINE_EXITED,
    Reason.ENGINE_CRASH_LOOP,
    Reason.ENGINE_UNRESPONSIVE,
    Reason.ENGINE_START_TIMED_OUT,
    Reason.ENGINE_PORT_BLOCKED,
    Reason.INSTANCE_LOST,
    Reason.PREEMPTED,
    Reason.TEARDOWN_FAILED,
)
"""Why a replica can fail."""
