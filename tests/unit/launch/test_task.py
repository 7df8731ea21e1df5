"""What SkyPilot is asked to launch: the rules, one by one. test_expected.py shows whole tasks."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from deepseek_operator.launch import LaunchTask, build_task
from tests.unit.planning.builders import IDENTITY, planned, spec_for

K8S = ["kubernetes"]
L4 = ["L4:1"]


def launch(model: str = "r1-8b", **parts: Any) -> LaunchTask:
    spec = spec_for(model, **parts)
    return build_task(planned(spec), IDENTITY)


def entries(task: dict[str, Any]) -> list[dict[str, Any]]:
    resources = task["resources"]
    return resources.get("ordered") or resources.get("any_of") or [resources]


def ray_node(task: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any]
    (container,) = task["config"]["kubernetes"]["pod_config"]["spec"]["containers"]
    assert container["name"] == "ray-node"
    return container


def test_kubernetes_never_gets_ports() -> None:
    task = launch(resources={"infra": K8S, "accelerators": L4}).task
    assert "ports" not in task["resources"]
    mixed = launch(resources={"infra": ["kubernetes", "aws"], "accelerators": L4}).task
    assert [("ports" in entry) for entry in entries(mixed)] == [False, True]


def test_clouds_get_the_engines_port() -> None:
    assert launch(resources={"infra": ["aws"], "accelerators": L4}).task["resources"]["ports"] == [8000]
    two = launch("r1", resources={"infra": ["aws"], "accelerators": ["H100:8"]})
    assert two.task["resources"]["ports"] == [30000]


def test_the_users_port_is_the_engines_port() -> None:
    task = launch(resources={"infra": ["aws"], "accelerators": L4}, endpoint={"port": 9000}).task
    assert task["resources"]["ports"] == [9000]
    assert "--port 9000" in task["run"]


def test_kubernetes_namespace_and_port_mode_go_with_the_request() -> None:
    request = launch(resources={"infra": K8S, "accelerators": L4})
    assert request.override_skypilot_config["kubernetes"] == {"namespace": "prod", "ports": "podip"}
    assert "kubernetes" not in launch(resources={"infra": ["aws"], "accelerators": L4}).override_skypilot_config


@pytest.mark.parametrize("infra", [K8S, ["aws"], ["gcp"]])
def test_no_node_gets_the_credentials_of_any_cloud(infra: list[str]) -> None:
    config = launch(resources={"infra": infra, "accelerators": L4}).override_skypilot_config
    for cloud in ("aws", "azure", "gcp", "nebius", "oci", "vast"):
        assert config[cloud] == {"remote_identity": "NO_UPLOAD"}


def test_without_infra_skypilot_chooses_and_both_ways_are_prepared() -> None:
    request = launch(resources={"accelerators": L4})
    assert "infra" not in request.task["resources"]
    assert request.task["resources"]["ports"] == [8000]
    assert request.override_skypilot_config["kubernetes"]["ports"] == "podip"


@pytest.mark.parametrize(
    ("infra", "context", "expected"),
    [
        ("kubernetes", None, "k8s"),
        ("k8s", None, "k8s"),
        ("kubernetes", "in-cluster", "k8s/in-cluster"),
        ("kubernetes/prod", "in-cluster", "k8s/prod"),
    ],
)
def test_kubernetes_is_k8s_to_skypilot(infra: str, context: str | None, expected: str) -> None:
    spec = spec_for(resources={"infra": [infra], "accelerators": L4})
    ctx = replace(IDENTITY, kubernetes_context=context)
    assert build_task(planned(spec), ctx).task["resources"]["infra"] == expected


def test_infra_keeps_the_users_order() -> None:
    infra = ["gcp/us-central1/us-central1-a", "kubernetes", "aws/us-east-1"]
    task = launch(resources={"infra": infra, "accelerators": L4}).task
    expected = ["gcp/us-central1/us-central1-a", "k8s", "aws/us-east-1"]
    assert [entry["infra"] for entry in task["resources"]["ordered"]] == expected


def test_gpus_of_one_place_are_left_to_skypilots_optimizer() -> None:
    task = launch(resources={"infra": ["aws"], "accelerators": ["L4:1", "A10G:1"]}).task
    assert {entry["accelerators"] for entry in task["resources"]["any_of"]} == {"L4:1", "A10G:1"}


def test_spot_comes_before_on_demand_and_never_to_kubernetes() -> None:
    resources = {"infra": ["aws", "kubernetes"], "accelerators": L4, "capacityType": "SpotThenOnDemand"}
    found = [(e["infra"], e.get("use_spot")) for e in entries(launch(resources=resources).task)]
    assert found == [("aws", True), ("aws", False), ("k8s", None)]
    spot = launch(resources={"infra": ["aws"], "accelerators": L4, "capacityType": "Spot"}).task
    assert spot["resources"]["use_spot"] is True


def test_secrets_on_kubernetes_are_references_and_nowhere_else() -> None:
    request = launch(
        model_fields={"huggingFaceTokenSecretRef": {"name": "hf"}},
        engine={"env": [{"name": "EXTRA", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]},
        endpoint={"apiKeySecretRef": {"name": "api", "key": "k"}},
        resources={"infra": K8S, "accelerators": L4},
    )
    references = [entry for entry in ray_node(request.task)["env"] if "valueFrom" in entry]
    env = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in references}
    assert env == {
        "HF_TOKEN": {"name": "hf", "key": "token"},
        "VLLM_API_KEY": {"name": "api", "key": "k"},
        "EXTRA": {"name": "x", "key": "y"},
    }
    assert request.secrets == ()
    assert "secrets" not in request.task
    assert not set(env) & set(request.task["envs"])


def test_secrets_on_clouds_are_named_and_left_for_the_client_to_fill() -> None:
    request = launch(
        model_fields={"huggingFaceTokenSecretRef": {"name": "hf"}},
        endpoint={"apiKeySecretRef": {"name": "api"}},
        resources={"infra": ["aws"], "accelerators": L4},
    )
    assert request.task["secrets"] == {"HF_TOKEN": None, "VLLM_API_KEY": None, "DEEPSEEK_OPERATOR_TLS": None}
    assert [(s.variable, s.secret.name) for s in request.secrets] == [("HF_TOKEN", "hf"), ("VLLM_API_KEY", "api")]
    assert "config" not in request.task


def test_a_rented_machine_logs_in_at_a_registry_with_three_secrets() -> None:
    """SkyPilot takes them for a login only where all three are in one place, and that must not be ``envs``."""
    names = [f"SKYPILOT_DOCKER_{part}" for part in ("USERNAME", "PASSWORD", "SERVER")]
    login = [{"name": name, "valueFrom": {"secretKeyRef": {"name": "login", "key": name}}} for name in names]
    image = "registry.example.com/vllm-openai:v1"
    request = launch(resources={"infra": ["aws"], "accelerators": L4}, engine={"image": image, "env": login})
    assert request.task["resources"]["image_id"] == f"docker:{image}"
    assert set(names) <= request.task["secrets"].keys()
    assert set(names) <= {one.variable for one in request.secrets}
    assert not set(names) & request.task.get("envs", {}).keys()


def test_a_key_that_the_user_did_not_give_is_the_operators_own() -> None:
    request = launch(resources={"infra": ["aws"], "accelerators": L4})
    assert [(s.variable, s.secret.name, s.secret.key) for s in request.secrets] == [
        ("VLLM_API_KEY", "chat-api-key", "token")
    ]
    assert request.encrypted
    here = launch(resources={"infra": K8S, "accelerators": L4})
    assert (here.secrets, here.encrypted) == ((), False)


@pytest.mark.parametrize("infra", [["kubernetes", "aws"], K8S])
def test_a_pod_says_that_it_is_no_rented_machine(infra: list[str]) -> None:
    """Its engine may be started again by a task that may run on one: a place that was left out is asked again."""
    env = {entry["name"]: entry.get("value") for entry in ray_node(launch(resources={"infra": infra}).task)["env"]}
    assert env == {"DEEPSEEK_OPERATOR_IN_CLUSTER": "1"}  # nobody knows the operator's own key there


def test_a_pod_forgets_the_operators_key_and_asks_for_the_users() -> None:
    def forgotten(**parts: Any) -> list[str]:
        run = launch(resources={"infra": ["kubernetes", "aws"], "accelerators": L4}, **parts).task["run"]
        return re.findall(r"^ *unset (.*)$", run, re.MULTILINE)

    assert forgotten() == ["VLLM_API_KEY", "DEEPSEEK_OPERATOR_TLS"]
    assert forgotten(endpoint={"apiKeySecretRef": {"name": "api"}}) == ["DEEPSEEK_OPERATOR_TLS"]


def test_pods_and_services_carry_the_deployments_labels() -> None:
    task = launch(resources={"infra": K8S, "accelerators": L4}).task
    assert task["config"]["kubernetes"]["custom_metadata"]["labels"] == {
        "deepseek-operator.io/name": "chat",
        "deepseek-operator.io/uid": IDENTITY.deployment_uid,
        "deepseek-operator.io/revision": "9f8e7d6c",
    }
    assert "labels" not in task["resources"]


# The forms that SkyPilot 0.14.1 checks in clouds/{kubernetes,gcp,aws}.py; one bad label and the launch is refused.
GCP_KEY, GCP_VALUE = r"[a-z]([a-z0-9_-]{0,62})?", r"[a-z0-9_-]{0,63}"
AWS_KEY = r"(?!aws:)\S{1,127}"
K8S_KEY, K8S_VALUE = r"[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?", r"([a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?"


@pytest.mark.parametrize("name", ["chat", "a.b-c", "x" * 63, "a" + "-b" * 40])
def test_tags_of_rented_machines_are_valid_on_every_cloud(name: str) -> None:
    spec = spec_for(resources={"accelerators": L4})
    ctx = replace(IDENTITY, deployment_name=name)
    labels = build_task(planned(spec), ctx).task["resources"]["labels"]
    assert labels["deepseek-operator-uid"] == IDENTITY.deployment_uid
    for key, value in labels.items():
        assert re.fullmatch(GCP_KEY, key)
        assert re.fullmatch(GCP_VALUE, value)
        assert re.fullmatch(AWS_KEY, key)
        assert re.fullmatch(K8S_KEY, key)
        assert re.fullmatch(K8S_VALUE, value)


def test_pod_template_becomes_pod_config() -> None:
    template = {
        "labels": {"team": "ml"},
        "annotations": {"a": "b"},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "high",
        "schedulerName": "kueue",
        "imagePullSecrets": ["regcred"],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "m"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    task = launch(resources={"infra": K8S, "accelerators": L4}, podTemplate=template).task
    assert task["config"]["kubernetes"]["pod_config"] == {
        "metadata": {"labels": {"team": "ml"}, "annotations": {"a": "b"}},
        "spec": {
            "enableServiceLinks": False,
            "containers": [
                {
                    "name": "ray-node",
                    "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "DEEPSEEK_OPERATOR_IN_CLUSTER", "value": "1"}],
                    "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                }
            ],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "m"}}],
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "high",
            "schedulerName": "kueue",
            "imagePullSecrets": [{"name": "regcred"}],
        },
    }


def test_pods_get_no_variables_of_services() -> None:
    """A Service of the name vllm, that of a deployment called so among them, would be VLLM_PORT=tcp://10.0.0.1:8000."""
    task = launch(resources={"infra": K8S, "accelerators": L4}).task
    assert task["config"]["kubernetes"]["pod_config"]["spec"]["enableServiceLinks"] is False


def test_account_and_patience_of_pods() -> None:
    kubernetes = launch(resources={"infra": K8S, "accelerators": L4, "provisionTimeoutSeconds": 900}).task["config"]
    assert kubernetes["kubernetes"]["remote_identity"] == "chat-engine"
    assert kubernetes["kubernetes"]["provision_timeout"] == 900


def test_the_price_limit_is_shared_by_replicas_and_nodes() -> None:
    resources = {"infra": ["aws"], "accelerators": ["H100:8"], "nodes": 2, "maxHourlyCost": "500"}
    task = launch("r1", resources=resources, replicas=2).task
    assert task["resources"]["max_hourly_cost"] == 125.0


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_price_limit_of_next_to_nothing_is_above_0(replicas: int) -> None:
    """SkyPilot's schema has ``exclusiveMinimum: 0``: it would refuse the task for the cluster as well."""
    resources = {"infra": ["kubernetes", "aws"], "accelerators": ["H100:8"], "nodes": 2, "maxHourlyCost": "0.0001"}
    task = launch("r1", resources=resources, replicas=replicas).task
    assert entries(task)[1]["max_hourly_cost"] == 0.0001


def test_large_models_ask_for_memory_and_disk_that_skypilots_defaults_lack() -> None:
    resources = launch("r1", resources={"infra": ["aws"], "accelerators": ["H200:8"]}).task["resources"]
    assert resources["memory"] == "517+"
    assert resources["cpus"] == "64+"
    assert resources["disk_size"] == 950


def test_the_users_sizes_win() -> None:
    own = {"cpus": "100", "memory": "1000+", "diskSize": 2000, "infra": ["aws"], "accelerators": ["H200:8"]}
    resources = launch("r1", resources=own).task["resources"]
    assert (resources["cpus"], resources["memory"], resources["disk_size"]) == ("100", "1000+", 2000)


def test_kubernetes_gets_no_disk_size() -> None:
    assert "disk_size" not in launch("r1", resources={"infra": K8S, "accelerators": ["H200:8"]}).task["resources"]


def test_the_disk_for_an_unknown_model_is_left_to_skypilot() -> None:
    assert "disk_size" not in launch("acme/own", resources={"infra": ["aws"], "accelerators": L4}).task["resources"]


def test_the_task_is_plain_yaml_without_anchors() -> None:
    text = yaml.safe_dump(launch(resources={"infra": ["aws", "gcp"], "accelerators": ["L4:1", "A10G:1"]}).task)
    assert "&id" not in text
