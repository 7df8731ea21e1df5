"""Each combination of values in ``ci/`` is linted and rendered, and the result is a file in ``expected/``.

``pytest tests/unit/chart --regenerate-expected`` writes the files again; read the difference first.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.launch.proxy_pod import ProxyPod
from tests.unit.chart.chart import CHART, COMBINATIONS, ROOT, helm, objects, render

EXPECTED = Path(__file__).parent / "expected"
IDS = [path.name.removesuffix("-values.yaml") for path in COMBINATIONS]


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_lint_finds_nothing_to_say(values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), f"--values={values}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_objects_are_the_expected_ones(values: Path, request: pytest.FixtureRequest) -> None:
    found = [one for one in objects(render(f"--values={values}")) if one["kind"] != "CustomResourceDefinition"]
    text = yaml.safe_dump_all(found, sort_keys=False, width=120)
    path = EXPECTED / f"{values.name.removesuffix('-values.yaml')}.yaml"
    if request.config.getoption("--regenerate-expected", default=False):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "pytest tests/unit/chart --regenerate-expected"


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_every_object_has_the_recommended_labels_and_a_name_of_its_own(values: Path) -> None:
    found = objects(render(f"--values={values}"))
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in found]
    assert len(names) == len(set(names))
    for one in found:
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"].startswith("deepseek-operator"), one["metadata"]["name"]
        assert labels["app.kubernetes.io/instance"] == "deepseek-operator", one["metadata"]["name"]


@pytest.mark.parametrize("values", COMBINATIONS, ids=IDS)
def test_every_pod_meets_the_restricted_profile_and_gets_no_variables_of_services(values: Path) -> None:
    found = objects(render(f"--values={values}"), ("Deployment", "Job", "Pod"))
    assert found
    for one in found:
        spec = one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # A Service deepseek-operator-metrics would give the operator a DEEPSEEK_OPERATOR_METRICS_PORT of tcp://10.0.0.1.
        assert spec["enableServiceLinks"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_crd_is_rendered_and_kept_unless_one_says_otherwise() -> None:
    (crd,) = objects(render(), ("CustomResourceDefinition",))
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert objects(render("--set=crds.enabled=false"), ("CustomResourceDefinition",)) == []
    (crd,) = objects(render("--set=crds.keep=false"), ("CustomResourceDefinition",))
    assert "annotations" not in crd["metadata"]


def test_an_image_is_named_by_its_digest_where_one_is_given() -> None:
    digest = "sha256:" + "ab" * 32
    rendered = render(f"--set=operator.image.digest={digest}", "--set=operator.image.tag=1.0")
    (deployment,) = objects(rendered, ("Deployment",))
    images = [container["image"] for container in deployment["spec"]["template"]["spec"]["containers"]]
    assert images == [f"ghcr.io/deepseek-operator/operator@{digest}", "ghcr.io/deepseek-operator/skypilot:0.1.0"]


def pod_of(rendered: str, name: str) -> dict[str, Any]:
    """Return the spec of the pods of a Deployment."""
    (found,) = [one for one in objects(rendered, ("Deployment",)) if one["metadata"]["name"] == name]
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_no_selector_matches_the_pods_of_another_part() -> None:
    rendered = render(f"--values={CHART}/ci/two-replicas-values.yaml")
    selectors, pods = {}, {}
    for one in objects(rendered, ("Deployment", "Job", "Pod")):
        name = f"{one['kind']}/{one['metadata']['name']}"
        pods[name] = (
            one["metadata"]["labels"] if one["kind"] == "Pod" else one["spec"]["template"]["metadata"]["labels"]
        )
        if one["kind"] == "Deployment":
            selectors[name] = one["spec"]["selector"]["matchLabels"]
    assert len(selectors) == 2
    assert len(pods) == 4
    for name, selector in selectors.items():
        assert [pod for pod, labels in pods.items() if selector.items() <= labels.items()] == [name]


def test_skypilot_in_a_pod_of_its_own_takes_its_rights_with_it() -> None:
    rendered = render("--set=skypilot.mode=deployment")
    roles = {one["metadata"]["name"]: one["rules"] for one in objects(rendered, ("ClusterRole",))}

    def may(role: str, verb: str, resource: str) -> bool:
        return any(verb in rule["verbs"] and resource in rule["resources"] for rule in roles[role])

    assert may("deepseek-operator-skypilot-namespaced", "create", "pods/exec")
    assert may("deepseek-operator-skypilot-namespaced", "create", "pods")
    assert not may("deepseek-operator-skypilot-namespaced", "get", "secrets")
    assert not may("deepseek-operator-namespaced", "create", "pods/exec")
    assert not may("deepseek-operator-namespaced", "create", "pods")
    assert [one["name"] for one in pod_of(rendered, "deepseek-operator")["containers"]] == ["operator"]
    (operator,) = pod_of(rendered, "deepseek-operator")["containers"]
    endpoint = "http://deepseek-operator-skypilot.deepseek-system.svc:46580"
    assert environment(operator)["DEEPSEEK_OPERATOR_SKYPILOT_ENDPOINT"] == endpoint
    (policy,) = objects(rendered, ("NetworkPolicy",))
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "deepseek-operator-skypilot"


@pytest.mark.parametrize(
    ("flags", "accounts"),
    [
        ([], ["deepseek-operator"]),
        (["--set=skypilot.mode=deployment"], ["deepseek-operator-skypilot"]),
        ([f"--values={CHART}/ci/external-values.yaml"], []),
    ],
)
def test_only_the_account_of_skypilot_gets_a_role_of_a_cloud(flags: list[str], accounts: list[str]) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/skypilot"}
    rendered = render(*flags, "--set-json", f"serviceAccount.annotations={json.dumps(role)}")
    found = objects(rendered, ("ServiceAccount",))
    assert [one["metadata"]["name"] for one in found if one["metadata"].get("annotations") == role] == accounts


@pytest.mark.parametrize(("kind", "name"), [("configMap", "configMapName"), ("secret", "secretName")])
def test_a_server_that_runs_elsewhere_may_have_a_certificate_of_the_company(kind: str, name: str) -> None:
    server = "--set=skypilot.mode=external,skypilot.external.endpoint=https://skypilot.example.com"
    pod = pod_of(render(server, f"--set=skypilot.external.ca.{name}=company"), "deepseek-operator")
    (operator,) = pod["containers"]
    folder, _, file = environment(operator)["DEEPSEEK_OPERATOR_SKYPILOT_CA_FILE"].rpartition("/")
    (mount,) = (one["name"] for one in operator["volumeMounts"] if one["mountPath"] == folder)
    (volume,) = (one for one in pod["volumes"] if one["name"] == mount)
    assert volume[kind]["items"] == [{"key": "ca.crt", "path": file}]
    assert "company" in volume[kind].values()
    (operator,) = pod_of(render(server), "deepseek-operator")["containers"]
    assert "DEEPSEEK_OPERATOR_SKYPILOT_CA_FILE" not in environment(operator)


def test_a_server_that_runs_elsewhere_is_given_its_token_from_a_file() -> None:
    rendered = render(f"--values={CHART}/ci/external-values.yaml")
    pod = pod_of(rendered, "deepseek-operator")
    (operator,) = pod["containers"]
    assert environment(operator)["DEEPSEEK_OPERATOR_SKYPILOT_ENDPOINT"] == "https://skypilot.example.com"
    file = environment(operator)["DEEPSEEK_OPERATOR_SKYPILOT_TOKEN_FILE"]
    mount = next(one for one in operator["volumeMounts"] if file.startswith(one["mountPath"]))
    volume = next(one for one in pod["volumes"] if one["name"] == mount["name"])
    assert volume["secret"] == {"secretName": "skypilot-token", "items": [{"key": "token", "path": "token"}]}
    assert objects(rendered, ("PersistentVolumeClaim",)) == []


def proxy_pod(*flags: str) -> ProxyPod:
    """Return what the operator is told of the pods of proxies, read as it reads it."""
    operator = pod_of(render(*flags), "deepseek-operator")["containers"][0]
    return ProxyPod.model_validate_json(environment(operator)["DEEPSEEK_OPERATOR_PROXY_POD"])


def test_the_operator_is_told_of_the_pods_of_proxies_what_the_values_say() -> None:
    # A release that says nothing of them gives none of them reason to be replaced.
    assert proxy_pod() == ProxyPod()
    assert hash(proxy_pod()) == hash(ProxyPod())
    values = yaml.safe_load((CHART / "ci" / "one-namespace-values.yaml").read_text())["proxy"]
    told = proxy_pod(f"--values={CHART}/ci/one-namespace-values.yaml")
    apart = {"image", "resources", "podLabels", "podAnnotations"}
    assert told.placement() == {name: value for name, value in values.items() if name not in apart}
    assert told.resources == values["resources"]
    assert (told.labels, told.annotations) == (values["podLabels"], values["podAnnotations"])


def test_pods_of_the_release_take_the_labels_of_the_company() -> None:
    """Policies of clusters refuse pods without some; without its pod the guard would hold up the uninstall."""
    rendered = render("--set=skypilot.mode=deployment,uninstallGuard.enabled=true,podLabels.team=serving")
    pods = [
        one["metadata"] if one["kind"] == "Pod" else one["spec"]["template"]["metadata"]
        for one in objects(rendered, ("Deployment", "Job", "Pod"))
    ]
    assert [pod["labels"].get("team") for pod in pods] == ["serving"] * 4


class _NoKeyTwice(yaml.SafeLoader):
    """Reads YAML as kustomize does, by which Flux sends every release: a key that is there twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {[key for key in keys if keys.count(key) > 1]}"
        return super().construct_mapping(node, deep)


def test_labels_and_annotations_of_the_company_replace_those_of_the_chart(tmp_path: Path) -> None:
    labels = {"app.kubernetes.io/instance": "monitoring"}
    annotations = {"kubectl.kubernetes.io/default-container": "skypilot", "checksum/catalog": "0"}
    marked = ("serviceMonitor", "podMonitor", "prometheusRule", "dashboard")
    values = {
        "metrics": {name: {"enabled": True, "labels": labels} for name in marked},
        "podAnnotations": annotations,
        "catalog": {"models": [{"base": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "id": "acme/support-8b"}]},
        "crds": {"enabled": False},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    found = [one for one in yaml.load_all(render(f"--values={file}"), Loader=_NoKeyTwice) if one]
    assert sum(labels.items() <= one["metadata"]["labels"].items() for one in found) == len(marked)
    (deployment,) = (one for one in found if one["kind"] == "Deployment")
    assert annotations.items() <= deployment["spec"]["template"]["metadata"]["annotations"].items()


@pytest.mark.parametrize("mode", ["sidecar", "deployment"])
def test_the_cluster_may_choose_whom_the_pods_run_as(mode: str) -> None:
    """OpenShift's restricted-v2 refuses any id that is not of the namespace's own range."""
    ids = [f"--set=podSecurityContext.{name}=null" for name in ("runAsUser", "runAsGroup", "fsGroup")]
    flags = (*ids, f"--set=skypilot.mode={mode}", "--set=uninstallGuard.enabled=true")
    found = objects(render(*flags), ("Deployment", "Job", "Pod"))
    pods = [one["spec"] if one["kind"] == "Pod" else one["spec"]["template"]["spec"] for one in found]
    assert len(pods) == (4 if mode == "deployment" else 3)
    chosen = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert [pod["securityContext"] for pod in pods] == [chosen] * len(pods)
    assert proxy_pod(*flags).security_context == {}


def test_a_value_of_which_nothing_is_left_is_as_good_as_an_empty_one(tmp_path: Path) -> None:
    """A key without anything below it is null in YAML, and Helm takes the chart's default away."""
    file = tmp_path / "values.yaml"
    file.write_text("watchNamespaces:\npodSecurityContext:\nproxy:\n  resources:\n")
    done = helm("install", "r", str(CHART), "--dry-run=client", f"--values={file}")
    assert done.returncode == 0, done.stderr
    assert "kubectl get dsd -n default --watch" in done.stdout
    told = proxy_pod(f"--values={file}")
    assert (told.resources, told.security_context) == ({}, {})


def test_an_id_of_openshifts_size_stays_a_whole_number() -> None:
    flags = [f"--set=podSecurityContext.{name}=1000650000" for name in ("runAsUser", "runAsGroup", "fsGroup")]
    context = pod_of(render(*flags), "deepseek-operator")["securityContext"]
    assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {1000650000}
    assert proxy_pod(*flags).security_context == {"runAsUser": 1000650000, "runAsGroup": 1000650000}


def test_the_database_is_named_by_a_secret_and_never_by_its_uri() -> None:
    rendered = render("--set=skypilot.database.uriSecret.name=db")
    skypilot = pod_of(rendered, "deepseek-operator")["containers"][1]
    assert environment(skypilot)["SKYPILOT_DB_CONNECTION_URI"] == {"secretKeyRef": {"name": "db", "key": "uri"}}


def test_skypilot_asks_for_the_memory_that_it_was_measured_to_take() -> None:
    """A pod that takes more than it asks for is among the first that go from a node that is short of memory."""
    measured = re.search(r"proportional set size\): ([\d.]+) GiB", (ROOT / "docs" / "scale.md").read_text())
    assert measured is not None
    asked = pod_of(render(), "deepseek-operator")["containers"][1]["resources"]["requests"]["memory"]
    assert int(asked.removesuffix("Mi")) >= float(measured[1]) * 1024


def test_the_pod_is_ready_when_skypilot_answers_and_alive_when_the_operator_is() -> None:
    (operator, _) = pod_of(render(), "deepseek-operator")["containers"]
    ports = {one["name"]: one["containerPort"] for one in operator["ports"]}
    assert operator["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "readiness"}
    assert operator["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert f"--readiness-address=:{ports['readiness']}" in operator["args"]


def test_uninstalling_is_guarded_only_where_one_wants_it() -> None:
    assert objects(render(), ("Job",)) == []
    (job,) = objects(render("--set=uninstallGuard.enabled=true,uninstallGuard.waitSeconds=90"), ("Job",))
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[:3] == ["check", "uninstall", "--within=90"]
    assert re.fullmatch(r"--undo=helm rollback \S+ 1 -n \S+", args[3])
    assert job["spec"]["activeDeadlineSeconds"] > 90


def test_the_guard_of_a_release_with_a_long_name_has_one_that_a_job_may_have() -> None:
    """The name of a Job becomes a label of its pods, which has at most 63 characters."""
    done = helm("template", "deepseek-operator-" + "a" * 35, str(CHART), "--set=uninstallGuard.enabled=true")
    assert done.returncode == 0, done.stderr
    (job,) = objects(done.stdout, ("Job",))
    assert len(job["metadata"]["name"]) <= 63
    assert job["metadata"]["name"].endswith("-uninstall-guard")


SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""Kubernetes 1.30 takes no other name of a Service."""


RELEASES = ["my.release", "20240601", "1.2", "a" * 53, f"{'a' * 49}.bcd", f"{'a' * 48}--bcd", f"{'a' * 46}.bcdefg"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_name_that_a_release_may_have_makes_names_that_objects_may_have(release: str) -> None:
    flags = "skypilot.mode=deployment,metrics.serviceMonitor.enabled=true,uninstallGuard.enabled=true"
    done = helm("template", release, str(CHART), f"--set={flags}")
    assert done.returncode == 0, done.stderr
    found = objects(done.stdout)
    names = [one["metadata"]["name"] for one in found]
    assert [name for name in names if not SUBDOMAIN.fullmatch(name)] == []
    services = {one["metadata"]["name"] for one in found if one["kind"] == "Service"}
    assert len(services) == 3
    assert [name for name in services if not SERVICE.fullmatch(name)] == []
    asked = re.findall(r"http://(\S+)\.default\.svc:", done.stdout)
    assert len(asked) == 2
    assert set(asked) <= services


def test_a_budget_is_made_only_for_several_replicas() -> None:
    assert objects(render("--set=skypilot.mode=deployment"), ("PodDisruptionBudget",)) == []
    (budget,) = objects(render("--set=skypilot.mode=deployment,operator.replicas=2"), ("PodDisruptionBudget",))
    assert budget["spec"]["maxUnavailable"] == 1
    # Pods are not Ready while SkyPilot does not answer, and one that is not would hold up every drain of its node.
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_nothing_of_prometheus_is_made_unless_one_asks() -> None:
    kinds = {one["kind"] for one in objects(render())}
    assert kinds.isdisjoint({"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy"})


def test_a_monitor_selects_the_service_and_no_other() -> None:
    rendered = render("--set=metrics.serviceMonitor.enabled=true")
    (monitor,) = objects(rendered, ("ServiceMonitor",))
    selector = monitor["spec"]["selector"]["matchLabels"]
    services = [one for one in objects(rendered, ("Service",)) if selector.items() <= one["metadata"]["labels"].items()]
    (service,) = services
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["honorLabels"] is True


def test_kubernetes_own_roles_get_rights_on_deployments_by_degrees() -> None:
    roles = {one["metadata"]["name"]: one for one in objects(render(), ("ClusterRole",))}

    def verbs(aggregated_to: str) -> set[str]:
        label = f"rbac.authorization.k8s.io/aggregate-to-{aggregated_to}"
        rules = [rule for role in roles.values() if label in role["metadata"]["labels"] for rule in role["rules"]]
        return {verb for rule in rules if rule["resources"] == ["deepseekdeployments"] for verb in rule["verbs"]}

    assert verbs("view") == {"get", "list", "watch"}
    assert verbs("edit") == verbs("view") | {"create", "update", "patch", "delete"}
    assert verbs("admin") == verbs("edit") | {"deletecollection"}


def test_the_notes_say_what_to_type_in_a_namespace_that_is_served() -> None:
    done = helm("install", "r", str(CHART), "--dry-run=client", "-n=system", "--set=watchNamespaces={serving}")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    for line in (
        "kubectl rollout status deployment/r-deepseek-operator -n system",
        "helm test r -n system",
        "kubectl apply -n serving -f -",
        "kubectl describe dsd r1 -n serving",
        "kubectl delete dsd --all -n serving",
    ):
        assert line in notes
    assert "all-namespaces" not in notes, "deployments elsewhere are those of other releases"
    done = helm("install", "r", str(CHART), "--dry-run=client")
    assert "kubectl delete dsd --all --all-namespaces" in done.stdout


def test_what_artifact_hub_shows_is_what_the_chart_has() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    annotations = {key: yaml.safe_load(value) for key, value in chart["annotations"].items()}
    images = {one["image"] for one in annotations["artifacthub.io/images"]}
    containers = pod_of(render(), "deepseek-operator")["containers"]
    told = {one["name"]: one.get("value") for container in containers for one in container.get("env", ())}
    assert images == {container["image"] for container in containers} | {told["DEEPSEEK_OPERATOR_PROXY_IMAGE"]}
    (crd,) = objects(render(), ("CustomResourceDefinition",))
    (shown,) = annotations["artifacthub.io/crds"]
    assert (shown["name"], shown["kind"]) == (crd["metadata"]["name"], crd["spec"]["names"]["kind"])
    assert shown["version"] in [version["name"] for version in crd["spec"]["versions"]]
    (example,) = annotations["artifacthub.io/crdsExamples"]
    assert DeepSeekDeployment.model_validate(example | {"metadata": {"name": "r1", "namespace": "default", "uid": "1"}})
    assert (ROOT / chart["icon"].partition("/main/")[2]).exists()


NUMBER = "20240601"
"""A name that Kubernetes allows, and that YAML takes for a number where nobody quotes it."""
TEXTS = {
    *("name", "namespace", "key", "value", "secretName", "claimName", "storageClassName", "priorityClassName"),
    "app.kubernetes.io/instance",
}


def not_text(value: Any, at: str) -> list[str]:
    """Return the places below which Kubernetes wants text and finds a number."""
    if isinstance(value, list):
        return [found for number, one in enumerate(value) for found in not_text(one, f"{at}[{number}]")]
    if not isinstance(value, dict):
        return []
    wrong = [f"{at}.{key}" for key, one in value.items() if key in TEXTS and isinstance(one, int | float)]
    return wrong + [found for key, one in value.items() for found in not_text(one, f"{at}.{key}")]


@pytest.mark.parametrize("mode", ["sidecar", "deployment", "external"])
@pytest.mark.parametrize("cluster_roles", [True, False])
def test_a_name_that_looks_like_a_number_stays_a_name(mode: str, cluster_roles: bool, tmp_path: Path) -> None:
    """The id that the chart derives by itself looks like one in every thirtieth release."""
    secret = {"name": NUMBER, "key": NUMBER}
    elsewhere = {"external": {"endpoint": "http://a", "tokenSecret": secret}}
    here = {
        "database": {"uriSecret": secret},
        "persistence": {"storageClassName": NUMBER},
        "aws": {"credentialsSecret": secret},
        "gcp": {"credentialsSecret": secret},
        "credentialsSecrets": [{"name": NUMBER, "path": ".azure"}],
        "config": {"aws": {"vpc_names": ["gpus"]}},
    }
    values = {
        "watchNamespaces": [NUMBER],
        "rbac": {"clusterRoles": cluster_roles},
        "priorityClassName": NUMBER,
        "networkPolicy": {"enabled": True},
        "uninstallGuard": {"enabled": True},
        "catalog": {"models": [{"base": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "id": "acme/support-8b"}]},
        "metrics": {name: {"enabled": True} for name in ("service", "serviceMonitor", "podMonitor", "dashboard")},
        "skypilot": {"mode": mode, "userId": NUMBER, **(elsewhere if mode == "external" else here)},
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = helm("template", NUMBER, str(CHART), f"--namespace={NUMBER}", f"--values={file}")
    assert done.returncode == 0, done.stderr
    found = [one for one in objects(done.stdout) if one["kind"] != "CustomResourceDefinition"]
    assert [place for one in found for place in not_text(one, one["kind"])] == []
    selected = [one["spec"]["namespaceSelector"] for one in found if one["kind"].endswith("Monitor")]
    assert selected == [{"matchNames": [NUMBER]}] * 2
