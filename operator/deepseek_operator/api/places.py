"""A place: one entry of ``spec.resources.infra``, taken apart."""

import difflib
from dataclasses import dataclass
from typing import Final

__all__ = ["CLOUDS", "KUBERNETES", "WITHOUT_SPOT", "Place", "unknown_cloud"]

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

_KUBERNETES = frozenset({KUBERNETES, "k8s"})
"""SkyPilot's two names for Kubernetes."""


def unknown_cloud(place: str) -> str:
    """Return what is wrong with the cloud of a place as a user writes it; empty if nothing is known to be."""
    cloud = place.partition("/")[0].lower()
    if cloud in CLOUDS:
        return ""
    similar = difflib.get_close_matches(cloud, CLOUDS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(similar)}?" if similar else f"SkyPilot knows {', '.join(CLOUDS)}"
    return f"resources.infra: {place}: no cloud of this name; {hint}"


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
