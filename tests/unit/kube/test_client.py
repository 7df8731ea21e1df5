"""The connection to the API server."""

import pytest
from kubernetes.aio import client as official

from deepseek_operator.kube.client import settle_proxy


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> official.Configuration:
    """Of a machine whose environment names a proxy for all but one domain."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "cluster.local,10.0.0.1")
    return official.Configuration(host="https://api.example:6443")


def test_the_proxy_of_the_environment_is_read_once(configuration: official.Configuration) -> None:
    settle_proxy(configuration)
    assert configuration.proxy == "http://proxy.example:3128"
    assert configuration.client_session_kwargs == {"trust_env": False}


@pytest.mark.parametrize("host", ["https://api.cluster.local:6443", "https://10.0.0.1:443"])
def test_a_server_that_needs_no_proxy_is_asked_directly(configuration: official.Configuration, host: str) -> None:
    configuration.host = host
    settle_proxy(configuration)
    assert configuration.proxy is None


def test_the_proxy_of_the_kubeconfig_goes_first(configuration: official.Configuration) -> None:
    configuration.proxy = "http://other.example:3128"
    settle_proxy(configuration)
    assert configuration.proxy == "http://other.example:3128"
