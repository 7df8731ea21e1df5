"""Names of this API on the wire. Nothing is imported, so that the kubectl plugin has them within a millisecond."""

from typing import Final

__all__ = [
    "ANNOTATION_ABANDON",
    "ANNOTATION_APPROVED_PLAN",
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "KIND",
    "LABEL_NAME",
    "LABEL_UID",
    "PLURAL",
    "SINGULAR",
    "VERSION",
]

GROUP: Final = "deepseek-operator.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "DeepSeekDeployment"
PLURAL: Final = "deepseekdeployments"
SINGULAR: Final = "deepseekdeployment"

FINALIZER: Final = f"{GROUP}/teardown"
"""On the object from before its first launch until nothing that costs money is left of it."""

ANNOTATION_ABANDON: Final = f"{GROUP}/abandon"
"""What is gone by the word of a user: names of clusters, separated by commas, whose rented machines nobody else can
account for; or ``true`` on an object that is being deleted, which is then released whatever may still exist of it."""

ANNOTATION_APPROVED_PLAN: Final = f"{GROUP}/approved-plan"
"""The hash of the plan that somebody has approved, where ``spec.approval`` is ``Required``."""

LABEL_NAME: Final = f"{GROUP}/name"
"""On everything made for a deployment: its name."""
LABEL_UID: Final = f"{GROUP}/uid"
"""On everything made for a deployment: its UID, which a re-created object of the same name does not share."""
