"""Prometheus' own tool over the alerts and over what the operator exports; ``alerts.yaml`` has the alerts' cases."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from deepseek_operator.runtime import metrics
from deepseek_operator.runtime.series import DEPLOYMENTS, DeploymentFacts
from tests.cluster.cache import cache_dir
from tests.unit.chart.chart import CHART

CASES = Path(__file__).with_name("alerts.yaml")
RULES = CHART / "files" / "rules.yaml"


def promtool(*args: str | Path, stdin: str = "") -> tuple[int, str]:
    """Run ``promtool ARGS``; skip the test where there is no promtool."""
    built = cache_dir() / "debian" / "prometheus" / "usr" / "bin" / "promtool"
    program = shutil.which("promtool") or (str(built) if built.exists() else None)
    if program is None:
        pytest.skip("promtool is not on PATH and not fetched yet: python -m tests.cluster build fetches it")
    done = subprocess.run([program, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_prometheus_accepts_the_rules() -> None:
    status, words = promtool("check", "rules", RULES)
    assert (status, "12 rules found" in words) == (0, True), words


def test_alerts_fire_when_they_should_and_only_then() -> None:
    status, words = promtool("test", "rules", CASES)
    assert status == 0, words


def test_a_case_that_is_not_met_is_noticed(tmp_path: Path) -> None:
    cases = yaml.safe_load(CASES.read_text())
    cases["rule_files"] = [str(RULES)]
    cases["tests"] = cases["tests"][:1]
    cases["tests"][0]["alert_rule_test"][0]["eval_time"] = "20m"
    wrong = tmp_path / "alerts.yaml"
    wrong.write_text(yaml.safe_dump(cases))
    status, words = promtool("test", "rules", wrong)
    assert status != 0
    assert "DeepSeekOperatorNotActing, time: 20m" in words


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    cases = [one for test in yaml.safe_load(CASES.read_text())["tests"] for one in test["alert_rule_test"]]
    assert {one["alertname"] for one in cases if one.get("exp_alerts")} == alerts
    assert {one["alertname"] for one in cases if not one.get("exp_alerts")} == alerts


def test_metrics_follow_the_conventions() -> None:
    metrics.PASSES.labels("ok")
    metrics.LAUNCHES.labels("Ready", "kubernetes")
    metrics.STAGE_SECONDS.labels("nodes", "kubernetes").observe(1)
    metrics.START_RATIO.labels("kubernetes").observe(1)
    metrics.FAILURES.labels("EngineExited", "kubernetes")
    metrics.observe_skypilot("/status", 0.1, "failed")
    key = ("promtool", "promtool")
    DEPLOYMENTS.put(key, DeploymentFacts("m", 1, 1, 1, 0.5, (("Ready", True, "Ready"),)))
    try:
        text = generate_latest().decode()
    finally:
        DEPLOYMENTS.forget(key)
    status, words = promtool("check", "metrics", stdin=text)
    ours = [line for line in words.splitlines() if line.startswith("deepseek_operator_")]
    assert ours == [], words
    assert status in (0, 3), words  # 3: hints, and here only about Python's own metrics


def test_a_metric_against_the_conventions_is_noticed() -> None:
    status, words = promtool("check", "metrics", stdin="# TYPE passes counter\npasses 1\n")
    assert status == 3
    assert 'counter metrics should have "_total" suffix' in words
