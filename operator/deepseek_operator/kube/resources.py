"""The custom resource as lightkube knows it."""

from lightkube.generic_resource import create_namespaced_resource

from deepseek_operator.api import v1alpha1 as api

__all__ = ["FIELD_MANAGER", "DeploymentResource"]

FIELD_MANAGER = "deepseek-operator"

DeploymentResource = create_namespaced_resource(api.GROUP, api.VERSION, api.KIND, api.PLURAL)
