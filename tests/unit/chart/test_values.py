"""What the schema of the values refuses, and in which words."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.chart.chart import CHART, objects, refusal, render

WRONG = [
    # --set-json flag, words of the refusal
    ('oprator={"logFormat": "json"}', "additional properties 'oprator' not allowed"),
    ('operator.imge={"tag": "1"}', "at '/operator': additional properties 'imge' not allowed"),
    ("operator.image.tag=1.5", "at '/operator/image/tag': got number, want string"),
    ('operator.image.tag="a b"', "at '/operator/image/tag': 'a b' does not match pattern"),
    ('operator.image.repository=""', "at '/operator/image/repository': minLength: got 0, want 1"),
    ('operator.image.repository="a@sha256:0"', "at '/operator/image/repository': 'a@sha256:0' does not match pattern"),
    ('operator.image.digest="0123"', "at '/operator/image/digest': '0123' does not match pattern"),
    (
        'operator.image.pullPolicy="Sometimes"',
        "at '/operator/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    ('operator.logFormat="xml"', "at '/operator/logFormat': value must be one of 'json', 'console'"),
    ('operator.extraArgs="--workers=4"', "at '/operator/extraArgs': got string, want array"),
    ('operator.extraArgs=["workers=4"]', "at '/operator/extraArgs/0': 'workers=4' does not match pattern"),
    ('operator.resources.limits.memory="much"', "at '/operator/resources/limits/memory': 'much' does not match"),
    ("operator.resources.limit={}", "at '/operator/resources': additional properties 'limit' not allowed"),
    ("operator.replicas=0", "at '/operator/replicas': minimum: got 0, want 1"),
    ('operator.replicas="2"', "at '/operator/replicas': got string, want integer"),
    ('watchNamespaces="serving"', "at '/watchNamespaces': got string, want array"),
    ('watchNamespaces=["Serving"]', "at '/watchNamespaces/0': 'Serving' does not match pattern"),
    ('watchNamespaces=["a", "a"]', "at '/watchNamespaces': items at 0 and 1 are equal"),
    ('imagePullSecrets=["registry"]', "at '/imagePullSecrets/0': got string, want object"),
    ('catalog={"model": []}', "at '/catalog': additional properties 'model' not allowed"),
    ('catalog={"models": {}}', "at '/catalog/models': got object, want array"),
    ('skypilot.userId="xyz"', "at '/skypilot/userId': 'xyz' does not match pattern"),
    (
        'skypilot.mode="beside"',
        "at '/skypilot/mode': value must be one of 'sidecar', 'deployment', 'external'",
    ),
    (
        'skypilot.external.endpoint="skypilot:46580"',
        "at '/skypilot/external/endpoint': 'skypilot:46580' does not match",
    ),
    ('skypilot.external.token="abc"', "at '/skypilot/external': additional properties 'token' not allowed"),
    ('skypilot.external.ca.key="a/b"', "at '/skypilot/external/ca/key': 'a/b' does not match pattern"),
    ('skypilot.database.uri="postgres://"', "at '/skypilot/database': additional properties 'uri' not allowed"),
    ('skypilot.database.uriSecret.key=""', "at '/skypilot/database/uriSecret/key': minLength: got 0, want 1"),
    ('skypilot.aws.credentialsSecret.key=""', "at '/skypilot/aws/credentialsSecret/key': minLength: got 0, want 1"),
    ('skypilot.credentialsSecrets=[{"name": "azure"}]', "at '/skypilot/credentialsSecrets/0': missing property 'path'"),
    (
        'skypilot.credentialsSecrets=[{"name": "azure", "path": "../etc"}]',
        "at '/skypilot/credentialsSecrets/0/path': '../etc' does not match pattern",
    ),
    ('skypilot.config="aws: {}"', "at '/skypilot/config': got string, want object"),
    ('metrics.serviceMonitor.interval="soon"', "at '/metrics/serviceMonitor/interval': 'soon' does not match pattern"),
    ("metrics.serviceMonitor.interval=30", "at '/metrics/serviceMonitor/interval': got number, want string"),
    ('metrics.prometheusRule.runbooks="docs"', "at '/metrics/prometheusRule/runbooks': 'docs' does not match pattern"),
    ('tracing.endpoint="collector:4318"', "at '/tracing/endpoint': 'collector:4318' does not match pattern"),
    ("tracing.enabled=true", "at '/tracing': additional properties 'enabled' not allowed"),
    ('tracing.env=[{"value": "1"}]', "at '/tracing/env/0': missing property 'name'"),
    ("metrics.enabled=true", "at '/metrics': additional properties 'enabled' not allowed"),
    ('networkPolicy.metricsFrom={"podSelector": {}}', "at '/networkPolicy/metricsFrom': got object, want array"),
    ("podDisruptionBudget.minAvailable=1", "at '/podDisruptionBudget': additional properties 'minAvailable' not"),
    ('rbac.aggregate="no"', "at '/rbac/aggregate': got string, want boolean"),
    ('rbac.clusterRoles="no"', "at '/rbac/clusterRoles': got string, want boolean"),
    ('uninstallGuard.waitSeconds="5m"', "at '/uninstallGuard/waitSeconds': got string, want integer"),
    ("skypilot.userId=12345678", "at '/skypilot/userId': got number, want string"),
    ("skypilot.cpuLimit=0", "at '/skypilot/cpuLimit': exclusiveMinimum: got 0, want 0"),
    ('skypilot.memoryLimitGB="4Gi"', "at '/skypilot/memoryLimitGB': got string, want number"),
    ("skypilot.memoryLimitGB=1", "at '/skypilot/memoryLimitGB': minimum: got 1, want 2"),
    ('skypilot.persistence.enabled="false"', "at '/skypilot/persistence/enabled': got string, want boolean"),
    ('skypilot.persistence.size="big"', "at '/skypilot/persistence/size': 'big' does not match pattern"),
    ('skypilot.extraEnv=[{"value": "1"}]', "at '/skypilot/extraEnv/0': missing property 'name'"),
    ('skypilot.extraEnv=[{"name": "A", "value": 1}]', "at '/skypilot/extraEnv/0/value': got number, want string"),
    ('serviceAccount.annotations={"a": 1}', "at '/serviceAccount/annotations/a': got number, want string"),
    ('crds.keep="yes"', "at '/crds/keep': got string, want boolean"),
    ('podAnnotations={"a": true}', "at '/podAnnotations/a': got boolean, want string"),
    (
        'podLabels={"app.kubernetes.io/name": "a"}',
        "podLabels must not set app.kubernetes.io/name, by which pods are known",
    ),
    ('proxy.podLabels={"deepseek-operator.io/uid": "a"}', "proxy.podLabels must not set deepseek-operator.io/uid, by"),
    ('podLabels={"a": 1}', "at '/podLabels/a': got number, want string"),
    ('proxy.podAnnotations={"a": 1}', "at '/proxy/podAnnotations/a': got number, want string"),
    ('nodeSelector=["a"]', "at '/nodeSelector': got array, want object"),
    ('tolerations={"key": "a"}', "at '/tolerations': got object, want array"),
    ('tolerations=[{"key": "a", "effect": "Never"}]', "at '/tolerations/0/effect': value must be one of 'NoSchedule'"),
    ('proxy.tolerations=[{"kye": "a"}]', "at '/proxy/tolerations/0': additional properties 'kye' not allowed"),
    ('proxy.image.repository="a b"', "at '/proxy/image/repository': 'a b' does not match pattern"),
    ('proxy.image.repository="a@sha256:0"', "at '/proxy/image/repository': 'a@sha256:0' does not match pattern"),
    ('proxy.image.tag="a b"', "at '/proxy/image/tag': 'a b' does not match pattern"),
    ('imagePullSecrets=[{"name": "a"}, {"name": "a"}]', "at '/imagePullSecrets': items at 0 and 1 are equal"),
    ('proxy.imagePullSecrets=["registry"]', "at '/proxy/imagePullSecrets/0': got string, want object"),
    ('proxy.resources.limits.memory="much"', "at '/proxy/resources/limits/memory': 'much' does not match"),
    ('proxy.nodeSelector={"a": 1}', "at '/proxy/nodeSelector/a': got number, want string"),
    ('proxy.affinity="zone"', "at '/proxy/affinity': got string, want object"),
    ('proxy.priorityClassName="High!"', "at '/proxy/priorityClassName': 'High!' does not match pattern"),
    ("podSecurityContext.runAsUser=0", "at '/podSecurityContext/runAsUser': minimum: got 0, want 1"),
    ('podSecurityContext.fsGroup="65532"', "at '/podSecurityContext/fsGroup': got string, want null or integer"),
    ("podSecurityContext.runAsNonRoot=false", "at '/podSecurityContext': additional properties 'runAsNonRoot' not"),
    ('priorityClassName="High!"', "at '/priorityClassName': 'High!' does not match pattern"),
]


@pytest.mark.parametrize(("value", "words"), WRONG, ids=[value for value, _ in WRONG])
def test_a_wrong_value_is_refused_in_a_sentence_that_names_it(value: str, words: str) -> None:
    assert words in refusal("--set-json", value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["operator.replicas=2"], "operator.replicas: more than one needs skypilot.mode deployment or external"),
        (["rbac.clusterRoles=false"], "rbac.clusterRoles is false: watchNamespaces must name the namespaces"),
        (["skypilot.mode=external"], "skypilot.external.endpoint must be the URL of that SkyPilot API server"),
        (["skypilot.external.endpoint=http://a"], "skypilot.mode is sidecar: it must be external"),
        (
            ["skypilot.external.tokenSecret.name=a"],
            "skypilot.external.tokenSecret is set, but skypilot.mode is sidecar",
        ),
        (
            ["skypilot.mode=deployment", "skypilot.external.kubernetesContext=a"],
            "skypilot.external.kubernetesContext is set, but skypilot.mode is deployment: it must be external",
        ),
        (
            ["skypilot.mode=external", "skypilot.external.endpoint=http://a", "skypilot.external.ca.secretName=b"],
            "skypilot.external.ca is that of a server with https://",
        ),
        (
            [
                "skypilot.mode=external",
                "skypilot.external.endpoint=https://a",
                "skypilot.external.ca.secretName=b,skypilot.external.ca.configMapName=c",
            ],
            "skypilot.external.ca: configMapName and secretName exclude each other",
        ),
        (
            ["skypilot.extraEnv[0].name=SKYPILOT_USER_ID"],
            "skypilot.extraEnv must not set SKYPILOT_USER_ID: skypilot.userId does",
        ),
        (
            ["skypilot.extraEnv[0].name=SKYPILOT_SERVER_HOST"],
            "skypilot.extraEnv must not set SKYPILOT_SERVER_HOST: skypilot.mode does",
        ),
        (
            ["skypilot.extraEnv[0].name=SKYPILOT_DB_CONNECTION_URI", "skypilot.database.uriSecret.name=db"],
            "skypilot.extraEnv must not set SKYPILOT_DB_CONNECTION_URI: skypilot.database.uriSecret does",
        ),
        (
            ["skypilot.extraEnv[0].name=SKYPILOT_SERVER_PORT"],
            "skypilot.extraEnv must not set SKYPILOT_SERVER_PORT: skypilot.mode does",
        ),
        (["skypilot.extraEnv[0].name=A", "skypilot.extraEnv[1].name=A"], "skypilot.extraEnv sets A twice"),
        (["tracing.env[0].name=A", "tracing.env[1].name=A"], "tracing.env sets A twice"),
        (
            ["tracing.endpoint=http://a", "tracing.env[0].name=OTEL_EXPORTER_OTLP_ENDPOINT"],
            "tracing.env must not set OTEL_EXPORTER_OTLP_ENDPOINT: tracing.endpoint does",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_in_a_sentence(flags: list[str], words: str) -> None:
    assert words in refusal(*(f"--set={flag}" for flag in flags))


@pytest.mark.parametrize(
    "flag",
    [
        "skypilot.database.uriSecret.name=a",
        "skypilot.aws.credentialsSecret.name=a",
        "skypilot.gcp.credentialsSecret.name=a",
        "skypilot.credentialsSecrets[0].name=a,skypilot.credentialsSecrets[0].path=b",
        "skypilot.config.aws.use_internal_ips=true",
        "skypilot.extraEnv[0].name=A",
    ],
)
def test_what_only_a_server_of_this_chart_could_use_is_refused_where_it_runs_none(flag: str) -> None:
    said = refusal("--set=skypilot.mode=external,skypilot.external.endpoint=http://a", f"--set={flag}")
    value = ".".join(flag.split(".")[:2]).partition("[")[0]
    assert f"{value} is that of a SkyPilot API server that this chart runs, and skypilot.mode is external" in said


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([".azure", ".azure"], ".azure is in the way of another one"),
        ([".oci/keys", ".oci"], ".oci is in the way of another one"),
        ([".aws"], ".aws is in the way of skypilot.aws.credentialsSecret"),
        ([".config/gcloud"], ".config/gcloud is in the way of skypilot.gcp.credentialsSecret"),
        ([".ssh"], ".ssh is in the way of what the server writes there"),
        ([".sky/keys"], ".sky/keys is in the way of what the server writes there"),
    ],
)
def test_no_secret_may_be_mounted_over_another_one_or_over_what_the_server_writes(paths: list[str], words: str) -> None:
    """Kubernetes refuses two mounts at one place; a mount below another one, or a server that may not write, fails."""
    secrets = json.dumps([{"name": "a", "path": path} for path in paths])
    set_apart = "--set=skypilot.aws.credentialsSecret.name=a,skypilot.gcp.credentialsSecret.name=b"
    said = refusal(set_apart, "--set-json", f"skypilot.credentialsSecrets={secrets}")
    assert f"skypilot.credentialsSecrets: {words}" in said


def test_secrets_side_by_side_are_mounted() -> None:
    secrets = json.dumps([{"name": "a", "path": path} for path in (".azure", ".azure-2", ".config/other", ".aws2")])
    set_apart = "--set=skypilot.aws.credentialsSecret.name=a,skypilot.gcp.credentialsSecret.name=b"
    assert render(set_apart, "--set-json", f"skypilot.credentialsSecrets={secrets}")


@pytest.mark.parametrize("mode", ["sidecar", "deployment"])
def test_no_variable_that_the_chart_sets_may_be_set_again(mode: str, tmp_path: Path) -> None:
    """Kubernetes would take either of the two, and Helm 4 refuses both in words about its own patches."""
    secret = {"name": "a"}
    skypilot = {
        "mode": mode,
        "config": {"aws": {}},
        "database": {"uriSecret": secret},
        "gcp": {"credentialsSecret": secret},
    }
    tracing = {"endpoint": "http://a"}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"skypilot": skypilot, "tracing": tracing}))
    rendered = objects(render(f"--values={file}"), ("Deployment",))
    containers = [one for found in rendered for one in found["spec"]["template"]["spec"]["containers"]]
    variables = {one["name"]: [each["name"] for each in one["env"]] for one in containers}
    for name in variables["skypilot"]:
        file.write_text(yaml.safe_dump({"skypilot": {**skypilot, "extraEnv": [{"name": name}]}}))
        assert f"skypilot.extraEnv must not set {name}: skypilot." in refusal(f"--values={file}")
    for name in variables["operator"]:
        file.write_text(yaml.safe_dump({"tracing": {**tracing, "env": [{"name": name}]}}))
        assert f"tracing.env must not set {name}" in refusal(f"--values={file}")


def schema_of(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return definitions[reference.rpartition("/")[2]] if reference else schema


def paths(value: Any, schema: dict[str, Any], definitions: dict[str, Any], at: str = "") -> list[str]:
    """Return the paths of values that the schema does not know, and of objects that it leaves open."""
    schema = schema_of(schema, definitions)
    if not isinstance(value, dict) or (not value and "properties" not in schema):
        return []
    if isinstance(schema.get("additionalProperties"), dict):
        return []
    found = [] if schema.get("additionalProperties") is False else [f"{at} is open"]
    for key, inner in value.items():
        known = schema.get("properties", {}).get(key)
        found += [f"{at}/{key} is unknown"] if known is None else paths(inner, known, definitions, f"{at}/{key}")
    return found


def test_the_schema_knows_every_value_and_leaves_no_object_open() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert paths(values, schema, schema["definitions"]) == []


def test_the_values_file_has_every_value_that_the_schema_knows() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def missing(value: Any, part: dict[str, Any], at: str = "") -> list[str]:
        part = schema_of(part, schema["definitions"])
        found = []
        for key, inner in part.get("properties", {}).items():
            if not isinstance(value, dict) or key not in value:
                found.append(f"{at}.{key}")
            elif value[key] and isinstance(value[key], dict):
                found += missing(value[key], inner, f"{at}.{key}")
        return found

    assert missing(values, schema) == [".global"]


def test_every_value_is_read_by_some_template() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())

    def leaves(value: Any, at: str = "") -> list[str]:
        if isinstance(value, dict) and value:
            return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{at}.{key}")]
        return [at]

    def read(leaf: str) -> bool:
        """Whether a template names the value itself or what it is a part of, other than a whole section."""
        parts = leaf.split(".")
        return any(
            re.search(rf"Values{re.escape('.'.join(parts[:length]))}(?![\w.])", templates)
            for length in range(2, len(parts) + 1)
        )

    assert [leaf for leaf in leaves(values) if not read(leaf)] == []
