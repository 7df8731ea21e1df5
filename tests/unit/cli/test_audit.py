"""The audit: whose a cluster is, where somebody names the namespaces that are looked at."""

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner, Result

from deepseek_operator.cli import audit
from deepseek_operator.kube.errors import KubeDeniedError
from deepseek_operator.skypilot.client import Snapshot
from tests.unit.reconcile import builders as b

OWNED, GONE = (b.named(f"r1-{digits}-0badbeef-0") for digits in (b.UID[:8], "ffffffff"))
BODY = {"metadata": {"name": "r1", "namespace": "serving", "uid": b.UID}, "spec": b.CPU_SPEC}
USER = "d5ee9000"

Audit = Callable[..., Result]


class _SkyPilot:
    """A server with a cluster of a deployment in the namespace ``serving``, and one that nobody owns."""

    user_of_owned = USER

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def __aenter__(self) -> "_SkyPilot":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def user(self) -> str:
        return USER

    async def snapshot(self) -> Snapshot:
        rows = (b.row(OWNED, cloud="AWS", user=self.user_of_owned), b.row(GONE, cloud="AWS", user=USER))
        return Snapshot(clusters={row.name: row for row in rows})


class _Reader:
    """An API server whose deployment is in the namespace ``serving``."""

    may_list_all = True
    asked: ClassVar[list[tuple[str, tuple[str, ...]]]] = []

    def __init__(self, *_: Any) -> None: ...

    async def list_all(self, kind: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
        self.asked.append((kind, namespaces))
        if not namespaces and not self.may_list_all:
            raise KubeDeniedError("cannot list at the cluster scope")
        return [BODY] if kind == "deployments" and (not namespaces or "serving" in namespaces) else []


class _Kube:
    async def close(self) -> None: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Audit:
    for name, stand_in in (("SkyPilotClient", _SkyPilot), ("KubeReader", _Reader), ("KubeClient", _Kube)):
        monkeypatch.setattr(audit, name, stand_in)
    monkeypatch.setattr(_Reader, "asked", [])
    app = typer.Typer()
    app.command("other")(lambda: None)
    audit.register(app)

    def run(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(app, ["audit", "-o", "json", *words], env=environment)

    return run


def orphans(result: Result) -> list[str]:
    return [one["name"] for one in json.loads(result.stdout)["orphans"]]


def test_what_a_deployment_of_another_namespace_owns_is_no_orphan(run: Audit) -> None:
    """With ``--delete`` it would be torn down while it serves."""
    result = run("--namespace", "team-a")
    assert (result.exit_code, orphans(result)) == (4, [str(GONE)])


def test_clusters_of_an_installation_that_serves_other_namespaces_say_nothing_of_our_user_id(
    run: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_SkyPilot, "user_of_owned", "0badcafe")
    assert orphans(run("--namespace", "team-a")) == [str(GONE)]
    assert "have the user id 0badcafe" in run().stderr


def test_who_may_not_list_all_deployments_learns_how_to_name_those_that_are_served(
    run: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Reader, "may_list_all", False)
    result = run("--namespace", "team-a")
    assert result.exit_code == 2
    assert "name every namespace that the operator serves in DEEPSEEK_OPERATOR_NAMESPACES" in result.stderr


def test_the_pod_of_an_operator_asks_for_no_namespace_but_those_that_it_serves(run: Audit) -> None:
    """It has no right to, and no deployment elsewhere is its own."""
    assert orphans(run(DEEPSEEK_OPERATOR_NAMESPACES="serving other")) == [str(GONE)]
    assert {namespaces for _, namespaces in _Reader.asked} == {("serving", "other")}
