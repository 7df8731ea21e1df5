"""The custom resource as lightkube knows it, for tests that ask the API server themselves."""

from lightkube.generic_resource import create_namespaced_resource

from deepseek_operator.api import v1alpha1 as api

__all__ = ["DeploymentResource"]

DeploymentResource = create_namespaced_resource(api.GROUP, api.VERSION, api.KIND, api.PLURAL)
