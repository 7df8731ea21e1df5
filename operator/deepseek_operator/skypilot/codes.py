"""Codes of AWS, Google Cloud and Azure: what of a failed launch passes with time, and what somebody has to mend.

The order of :data:`CODES` is that of hope: where zones of one place, or several places, failed for different reasons,
the first one in the table decides, because a launch that finds capacity again needs nobody's help.

Sources: SkyPilot 0.14.1 (``FailoverCloudErrorHandlerV2`` in ``backends/cloud_vm_ray_backend.py``,
``provision/aws/utils.py``, ``provision/gcp/instance_utils.py``), the EC2 API's list of error codes, Google's
"troubleshooting VM creation" and Azure's "common deployment errors". Only the codes of AWS were seen to arrive.
"""

import re
from typing import Final

from deepseek_operator.api.reasons import Reason

__all__ = ["CODES", "TEXTS", "WAYS_OUT", "WORDS", "more_hopeful", "reason_of"]

CODES: Final[tuple[tuple[Reason, re.Pattern[str]], ...]] = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        (
            Reason.NO_CAPACITY,
            # AWS
            r"^(Insufficient(Instance|Host|ReservedInstance|Address)?Capacity\w*|SpotMaxPriceTooLow|ServerInternal"
            r"|(Service)?Unavailable|InternalError|RequestLimitExceeded"
            # Google Cloud; SkyPilot takes UNSUPPORTED_OPERATION and RESOURCE_NOT_FOUND for lost races of a full zone
            r"|ZONE_RESOURCE_POOL_EXHAUSTED\w*|insufficientCapacity|VM_MIN_COUNT_NOT_REACHED|UNSUPPORTED_OPERATION"
            r"|RESOURCE_NOT_(FOUND|READY)|RESOURCE_OPERATION_RATE_EXCEEDED|CapacityExceeded|[389]"
            # Azure
            r"|(Zonal)?AllocationFailed|Overconstrained(Zonal)?AllocationRequest)$",
        ),
        (
            Reason.QUOTA_EXCEEDED,
            r"^((?!RequestLimit)\w*LimitExceeded|MaxSpotInstanceCountExceeded|QUOTA_EXCEEDED|quotaExceeded"
            r"|RESOURCE_EXHAUSTED|[\w./]*QuotaFailure|QuotaExceeded)$",
        ),
        (
            Reason.CREDENTIALS_INVALID,
            r"^(AuthFailure|InvalidClientToken(Id)?|InvalidAccessKeyId|UnrecognizedClient\w*|ExpiredToken\w*"
            r"|RequestExpired|SignatureDoesNotMatch|IncompleteSignature|MissingAuthenticationToken"
            r"|authError|invalid_grant|InvalidAuthenticationToken\w*|ExpiredAuthenticationToken"
            r"|AuthenticationFailed|SubscriptionNotFound)$",
        ),
        (
            Reason.NOT_AUTHORIZED,
            r"^(UnauthorizedOperation|AccessDenied\w*|OptInRequired|PendingVerification|Blocked"
            r"|IAM_PERMISSION_DENIED|PERMISSION_DENIED|forbidden|accessNotConfigured|SERVICE_DISABLED"
            r"|(Linked)?AuthorizationFailed|RequestDisallowedByPolicy|ReadOnlyDisabledSubscription"
            r"|(Missing)?Subscription(Not)?Registr\w+)$",
        ),
        (
            Reason.NOT_OFFERED,
            r"^(Unsupported(Operation)?|InvalidInstanceType|InvalidAMIID\.\w+|SkuNotAvailable"
            r"|NotAvailableForSubscription)$",
        ),
        (
            # SkyPilot's own race for a security group, and what is wrong with its settings rather than the account
            Reason.LAUNCH_FAILED,
            r"^(InvalidPermission\.Duplicate|VPC_NOT_FOUND|SUBNET_NOT_FOUND_FOR_VPC|VPCIdNotSpecified)$",
        ),
    )
)
"""What each code of a provider means; first the reasons that pass by themselves."""

WORDS: Final[tuple[tuple[Reason, re.Pattern[str]], ...]] = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        (Reason.NO_CAPACITY, r"capacity restrictions|no more capacity|insufficient (reserved )?capacity"),
        (Reason.QUOTA_EXCEEDED, r"found no quota for|quota '?\w+'? exceeded|exceeding approved .{0,80}quota"),
        (
            Reason.CREDENTIALS_INVALID,
            r"unable to locate credentials|NoCredentialsError|DefaultCredentialsError|RefreshError|invalid_grant"
            r"|ClientAuthenticationError|CredentialUnavailableError|AADSTS\d+|invalid cloud credentials"
            r"|credentials? (have|has|are|is) (expired|invalid|not valid)"
            r"|Cloud access is not set up|requires [\w, ]+ which (is|are) not enabled",
        ),
        (Reason.NOT_AUTHORIZED, r"Policy update access denied|do(es)? not have the required permissions"),
        (
            Reason.NOT_OFFERED,
            r"is not found or access is unauthorized|machine ?type .{0,80}does not exist"
            r"|instance type .{0,60}is not supported in",
        ),
    )
)
"""Sentences that decide where no code does, or where one code stands for several things (``SkuNotAvailable``)."""

TEXTS: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), reason)
    for pattern, reason in (
        (r"ErrImage(NeverPull|Pull)|ImagePullBackOff|InvalidImageName|pull(ing)? image", Reason.IMAGE_PULL_FAILED),
        (r"CreateContainerConfigError|admission webhook|violates PodSecurity|exceeded quota", Reason.POD_REJECTED),
        (
            r"NoCloudAccess|Cloud access is not set up|requires [\w, ]+ which (is|are) not enabled|credential",
            Reason.CREDENTIALS_INVALID,
        ),
        (r"\(403\)|forbidden|not authorized", Reason.NOT_AUTHORIZED),
        (r"Failed to SSH to|Timed out waiting for \w+ instances to be running", Reason.LAUNCH_TIMED_OUT),
        (r"Invalid (region|zone) '|is not a valid cloud", Reason.INVALID_SPEC),
        (
            r"does not contain any instances satisfying|No launchable resource|Catalog .*does not contain"
            r"|is not available in|not supported in",
            Reason.NO_MATCHING_RESOURCES,
        ),
        (
            r"nodes are available|Timed out while waiting for nodes to start|Insufficient |FailedScheduling"
            r"|out of .* capacity in context",
            Reason.UNSCHEDULABLE,
        ),
        (r"quota", Reason.QUOTA_EXCEEDED),
        (r"Failed to acquire resources in all zones|no capacity|capacity", Reason.NO_CAPACITY),
    )
)
"""Sentences of SkyPilot and Kubernetes, most telling first; the first match wins."""

WAYS_OUT: Final[dict[Reason, str]] = {
    Reason.NO_CAPACITY: (
        "it is tried again; more entries in resources.infra or resources.accelerators leave more to choose from"
    ),
    Reason.QUOTA_EXCEEDED: (
        "ask the provider for more quota, or put another region into resources.infra or another GPU into "
        "resources.accelerators"
    ),
    Reason.CREDENTIALS_INVALID: (
        "renew the credentials of the SkyPilot server, or take this cloud out of resources.infra"
    ),
    Reason.NOT_AUTHORIZED: (
        "grant the SkyPilot server's account what is named, or take this cloud out of resources.infra"
    ),
    Reason.NOT_OFFERED: "put another region into resources.infra, or another GPU into resources.accelerators",
    Reason.NO_MATCHING_RESOURCES: (
        "name other resources.accelerators or another place in resources.infra, raise resources.maxHourlyCost, or take "
        "capacityType Spot back; deepseek-operator plan --skypilot shows what there is"
    ),
}
"""What to do, with the fields of the spec that help; for reasons that a provider gives, and what nobody offers."""

_HOPE: Final = (Reason.NO_CAPACITY, Reason.UNSCHEDULABLE, *(reason for reason, _ in CODES[1:]))


def more_hopeful(reason: Reason) -> int:
    """Return the rank of a reason: the lower, the likelier it passes without anybody's help."""
    return _HOPE.index(reason) if reason in _HOPE else len(_HOPE)


def reason_of(text: str) -> Reason | None:
    """Return what a sentence of SkyPilot or Kubernetes means; None for one that is not known."""
    return next((reason for pattern, reason in TEXTS if pattern.search(text)), None)
