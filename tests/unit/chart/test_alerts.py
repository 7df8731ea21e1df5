"""Every query of the alerts, the dashboard and docs/metrics.md names metrics and labels that the operator exports."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deepseek_operator.api.reasons import Reason
from tests.unit.chart.chart import CHART, ROOT, objects, render
from tests.unit.exported import series

RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
WORDS = {
    *("sum", "max", "rate", "increase", "histogram_quantile", "absent", "max_over_time", "and", "or", "unless"),
    *("label_replace", "label_values", "namespace"),
}
"""Functions and operators of PromQL that our queries use."""
OF_THE_RELEASE = {"namespace"}
"""Labels that the monitor of a release sets."""
VALUES = {
    "deepseek_operator_passes_total": {"result": {"ok", "error"}},
    "deepseek_operator_probes_total": {"result": {"answered", "missed"}},
    "deepseek_operator_launches_total": {"result": {str(reason) for reason in Reason}},
    "deepseek_operator_stage_seconds_bucket": {"stage": {"nodes", "engine", "ready"}},
    "deepseek_operator_deployment_condition": {"type": {"Ready", "Stalled"}},
}
"""Values of labels that are not whatever a user writes."""


def queries() -> Iterator[tuple[str, str]]:
    """Return where each query stands, and the query."""
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["query"]["query"]
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        if found := re.fullmatch(r"\| (.*\?) \| `(.*)` \|", line):
            yield found[1], found[2]


def selectors(query: str) -> list[tuple[str, dict[str, str]]]:
    """Return each metric of a query with its label matchers."""
    return [
        (found[1], dict(re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"([^"]*)"', found[2] or "")))
        for found in re.finditer(r"(deepseek_operator_\w+)(\{[^}]*\})?", query)
    ]


def labels_kept(query: str) -> set[str]:
    """Return the labels that the result of a query has."""
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", query)
    if grouped:
        return {label.strip() for one in grouped for label in one.split(",")}
    return {label for name, _ in selectors(query) for label in series()[name]}


QUERIES = list(queries())


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
def test_a_query_names_only_what_is_exported(where: str, query: str) -> None:
    known = series()
    found = selectors(query)
    assert found
    every: set[str] = set()
    for name, matchers in found:
        assert name in known
        assert matchers.keys() <= known[name]
        every |= known[name]
        for label, value in matchers.items():
            allowed = VALUES.get(name, {}).get(label)
            assert allowed is None or value in allowed
    for one in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query):
        assert {label.strip() for label in one.split(",") if one} <= every | OF_THE_RELEASE
    rest = re.sub(r"\"[^\"]*\"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on)\s*\([^)]*\)|deepseek_operator_\w+", " ", query)
    assert set(re.findall(r"[a-z_]{2,}", rest)) <= WORDS


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_what_is_so_and_where_its_runbook_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"RUNBOOKS#{rule['alert'].lower()}"
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert used <= labels_kept(rule["expr"])


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    sections = re.findall(r"(?m)^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text())
    assert sections == [rule["alert"] for rule in ALERTS]


def test_the_rules_reach_prometheus_as_they_stand_with_the_address_of_the_runbooks() -> None:
    rendered = render(f"--values={CHART}/ci/monitoring-values.yaml")
    (rule,) = objects(rendered, ("PrometheusRule",))
    text = json.dumps(RULES).replace("RUNBOOKS#", "https://runbooks.example.com/deepseek#")
    assert rule["spec"] == json.loads(text)
    assert rule["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_the_dashboard_reaches_grafana_as_it_stands() -> None:
    (config,) = [
        one
        for one in objects(render("--set=metrics.dashboard.enabled=true"), ("ConfigMap",))
        if one["metadata"]["name"] == "deepseek-operator-dashboard"
    ]
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["deepseek-operator.json"]) == DASHBOARD
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_every_metric_that_people_watch_is_on_the_dashboard_or_in_an_alert() -> None:
    shown = {name for _, query in QUERIES for name, _ in selectors(query)}
    hidden = {
        "deepseek_operator_build_info",
        "deepseek_operator_skypilot_snapshot_calls",
        "deepseek_operator_deployment_replicas",
        "deepseek_operator_engine_kv_cache_tokens",
    }
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in series()}
    assert bases - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == hidden
