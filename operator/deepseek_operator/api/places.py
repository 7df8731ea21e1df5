"""A place: one entry of ``spec.resources.infra``, taken apart."""

from dataclasses import dataclass

__all__ = ["Place"]

_KUBERNETES = frozenset({"kubernetes", "k8s"})
"""SkyPilot's two names for Kubernetes."""


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
            return cls("kubernetes", rest or None)
        region, _, zone = rest.partition("/")
        return cls(cloud, region or None, zone or None)

    @property
    def is_kubernetes(self) -> bool:
        """Whether replicas are pods there. Anything else is rented."""
        return self.cloud == "kubernetes"

    @property
    def context(self) -> str | None:
        """Context of a Kubernetes cluster; None for the cluster of the deployments, and for clouds."""
        return self.region if self.is_kubernetes else None

    def __str__(self) -> str:
        """Return the place as a user writes it."""
        return "/".join(part for part in (self.cloud, self.region, self.zone) if part)
