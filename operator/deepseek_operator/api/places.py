"""A place: one entry of ``spec.resources.infra``, taken apart."""

from dataclasses import dataclass
from typing import Final

from deepseek_operator.api.similar import closest, did_you_mean

__all__ = ["CLOUDS", "KUBERNETES", "REGIONS", "WITHOUT_SPOT", "Place", "unknown_cloud", "unknown_region"]

CLOUDS: Final = (
    *("aws", "azure", "cudo", "do", "fluidstack", "gcp", "hyperbolic", "ibm", "k8s", "kubernetes", "lambda", "mithril"),
    *("nebius", "oci", "paperspace", "primeintellect", "runpod", "scp", "seeweb", "shadeform", "slurm", "ssh", "vast"),
    *("verda", "vsphere", "yotta"),
)
"""As SkyPilot 0.14.1 names them (``sky/clouds/``). A server may know more, so only ``plan`` refuses others."""

WITHOUT_SPOT: Final = frozenset(
    {
        *("cudo", "do", "fluidstack", "hyperbolic", "lambda", "paperspace", "scp", "seeweb", "shadeform", "slurm"),
        *("ssh", "vsphere", "yotta"),
    }
)
"""Clouds on which SkyPilot 0.14.1 rents no spot machines (``SPOT_INSTANCE`` among the unsupported features of
``sky/clouds/``)."""

KUBERNETES: Final = "kubernetes"
"""The cloud of replicas that are pods."""

_AWS: Final = """
us-east-1 us-east-2 us-west-1 us-west-2 ca-central-1 ca-west-1 mx-central-1 sa-east-1 eu-central-1 eu-central-2
eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2
ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5
ap-southeast-6 ap-southeast-7 af-south-1 il-central-1 me-central-1 me-south-1 us-gov-east-1 us-gov-west-1
"""
_GCP: Final = """
us-central1 us-east1 us-east4 us-east5 us-east7 us-south1 us-west1 us-west2 us-west3 us-west4 us-west8
northamerica-northeast1 northamerica-northeast2 northamerica-south1 southamerica-east1 southamerica-west1
europe-central2 europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west2 europe-west3
europe-west4 europe-west6 europe-west8 europe-west9 europe-west10 europe-west12 asia-east1 asia-east2
asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2 asia-southeast1 asia-southeast2
australia-southeast1 australia-southeast2 me-central1 me-central2 me-west1 africa-south1
"""
REGIONS: Final = {"aws": tuple(_AWS.split()), "gcp": tuple(_GCP.split())}
"""Of clouds whose regions are named by rules, so that a slip of the pen is told from a new one: only for a warning."""

_KUBERNETES = frozenset({KUBERNETES, "k8s"})
"""SkyPilot's two names for Kubernetes."""


def unknown_cloud(place: str) -> str:
    """Return what is wrong with the cloud of a place as a user writes it; empty if nothing is known to be."""
    cloud = place.partition("/")[0].lower()
    if cloud in CLOUDS:
        return ""
    hint = did_you_mean(closest(cloud, CLOUDS)) or f"SkyPilot knows {', '.join(CLOUDS)}"
    return f"resources.infra: {place}: no cloud of this name; {hint}"


def unknown_region(place: str) -> str:
    """Return which region a place may have meant, where that of a cloud is none that is known; empty otherwise.

    New regions open, so this is a question and never a refusal: SkyPilot's catalog decides.
    """
    cloud, _, rest = place.partition("/")
    region, known = rest.partition("/")[0], REGIONS.get(cloud.lower(), ())
    if not known or not region or region in known:
        return ""
    hint = did_you_mean(closest(region, known, cutoff=0.8)) or "is it new?"
    return f"resources.infra: {place}: no region of this name is known; {hint}"


@dataclass(frozen=True)
class Place:
    """Where replicas may run.

    Attributes
    ----------
    cloud
        ``kubernetes``, ``aws``, ``gcp`` ...
    region
        Region of a cloud, or context of a Kubernetes cluster; may be absent.
    zone
        Availability zone of a cloud; may be absent.
    """

    cloud: str
    region: str | None = None
    zone: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place written as ``CLOUD``, ``CLOUD/REGION[/ZONE]`` or ``kubernetes/CONTEXT``.

        A context may contain slashes itself.
        """
        cloud, _, rest = text.partition("/")
        if cloud in _KUBERNETES:
            return cls(KUBERNETES, rest or None)
        region, _, zone = rest.partition("/")
        return cls(cloud, region or None, zone or None)

    @property
    def is_kubernetes(self) -> bool:
        """Whether replicas are pods there. Anything else is rented."""
        return self.cloud == KUBERNETES

    @property
    def context(self) -> str | None:
        """Context of a Kubernetes cluster; None for the cluster of the deployments, and for clouds."""
        return self.region if self.is_kubernetes else None

    def __str__(self) -> str:
        """Return the place as a user writes it."""
        return "/".join(part for part in (self.cloud, self.region, self.zone) if part)
