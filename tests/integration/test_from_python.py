"""examples/from_python.py, as the documentation shows it, against a real API server and the operator's own process."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kubernetes import client, config

from tests.cluster import Cluster
from tests.integration.stage import SPEC, Stage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script() -> ModuleType:
    """The script, loaded from its file."""
    found = importlib.util.spec_from_file_location("from_python", ROOT / "examples" / "from_python.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def api(cluster: Cluster) -> Iterator[client.CustomObjectsApi]:
    with config.new_client_from_config(str(Path(cluster.kubeconfig))) as connection:
        yield client.CustomObjectsApi(connection)


def body(name: str, **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": "deepseek-operator.io/v1alpha1", "kind": "DeepSeekDeployment"}
    return {**kind, "metadata": {"name": name}, "spec": {**SPEC, **spec}}


def test_the_script_creates_waits_asks_and_deletes(
    stage: Stage, script: ModuleType, api: client.CustomObjectsApi, capsys: pytest.CaptureFixture[str]
) -> None:
    script.create(api, stage.namespace, body("scripted"))
    found = script.wait_ready(api, stage.namespace, "scripted", 60)
    assert found["status"]["endpoint"]["internalURL"] == f"http://scripted.{stage.namespace}.svc:8000/v1"
    assert "Launching: " in capsys.readouterr().out

    # The name is one of the cluster's DNS, which this machine does not ask.
    address = stage.url("scripted").removesuffix("/health")
    assert script.ask(f"{address}/v1", "tiny", "Who are you?") == "Hello from tiny"

    script.delete(api, stage.namespace, "scripted", 60)
    assert stage.get("scripted") is None


def test_the_script_gives_up_where_the_operator_does(
    stage: Stage, script: ModuleType, api: client.CustomObjectsApi
) -> None:
    model = {"name": "deepseek-ai/DeepSeek-R1"}
    script.create(api, stage.namespace, body("huge", model=model, resources={"accelerators": ["L4:1"]}))
    with pytest.raises(RuntimeError, match=r"DoesNotFit: .*GiB"):
        script.wait_ready(api, stage.namespace, "huge", 60)
    script.delete(api, stage.namespace, "huge", 60)


def test_a_misspelt_field_is_refused(stage: Stage, script: ModuleType, api: client.CustomObjectsApi) -> None:
    with pytest.raises(client.ApiException, match=r"unknown field.*spec\.replica\b"):
        script.create(api, stage.namespace, body("misspelt", replica=2))
