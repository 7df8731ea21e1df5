"""What the chart's hooks ask."""

import http.server
import socket
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from deepseek_operator.api.v1alpha1 import FINALIZER
from deepseek_operator.cli.check import held, uninstall, wait_ready, wait_released
from deepseek_operator.kube.errors import KubeNotFoundError
from tests.unit.reconcile import builders as b


def deployment(name: str, *, finalizer: bool = True, deleting: bool = False, nodes: int = 0) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "serving", "uid": b.UID, "resourceVersion": "1"}
    if finalizer:
        metadata["finalizers"] = [FINALIZER]
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    instances = [{"name": f"{name}-0", "nodes": nodes}] if nodes else []
    return {
        "metadata": metadata,
        "spec": b.CPU_SPEC,
        "status": {"instances": instances, "cost": {"hourly": f"{nodes * 10}.00"}},
    }


def test_what_holds_nodes_is_named_with_what_it_costs() -> None:
    assert held([deployment("r1", nodes=2), deployment("other", finalizer=False)]) == [
        "serving/r1: 1 replica on 2 nodes, 20.00 $/h"
    ]


def test_what_is_being_deleted_is_held_until_the_operator_has_released_it() -> None:
    assert held([deployment("r1", deleting=True, nodes=1)]) == [
        "serving/r1: 1 replica on 1 node, 10.00 $/h, being deleted"
    ]
    assert held([deployment("r1", finalizer=False, deleting=True)]) == []


def test_a_spec_that_cannot_be_read_is_held_too() -> None:
    body = deployment("r1")
    body["spec"] = {"model": 3}
    assert held([body]) == ["serving/r1: 0 replicas on 0 nodes, 0.00 $/h"]


class Reader:
    """Lists one deployment for some time."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def list_all(self, kind: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
        assert (kind, namespaces) == ("deployments", ("serving",))
        self.times -= 1
        return [deployment("r1")] if self.times >= 0 else []


async def test_nothing_is_waited_for_unless_one_asks() -> None:
    assert await wait_released(Reader(1), ("serving",), 0.0) == ["serving/r1: 0 replicas on 0 nodes, 0.00 $/h"]


async def test_what_goes_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_operator.cli.check._LOOK_S", 0.01)
    assert await wait_released(Reader(3), ("serving",), 10.0) == []


async def test_without_the_custom_resource_definition_nothing_is_held() -> None:
    class Gone:
        async def list_all(self, *_: Any) -> Any:
            raise KubeNotFoundError("the server could not find the requested resource")

    assert await wait_released(Gone(), (), 0.0) == []


@pytest.mark.parametrize(
    ("namespaces", "commands"),
    [
        (None, ["kubectl delete dsd --all --all-namespaces"]),
        (["serving", "batch"], ["kubectl delete dsd --all -n serving", "kubectl delete dsd --all -n batch"]),
    ],
)
def test_a_refusal_names_the_deployments_of_this_release_for_deletion_and_nobody_elses(
    namespaces: list[str] | None,
    commands: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def held_by_it(_: object) -> list[str]:
        return ["serving/r1: 1 replica on 1 node, 10.00 $/h"]

    monkeypatch.setattr("deepseek_operator.cli.check._with_reader", held_by_it)
    with pytest.raises(typer.Exit):
        uninstall(namespace=namespaces)
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if "delete dsd" in line] == [f"  {command}" for command in commands]


@pytest.fixture
def url() -> Iterator[str]:
    answers = iter([503, 503])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers, 200))
            self.end_headers()
            self.wfile.write(b"SkyPilot starts\n")

        def log_message(self, *_: Any) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()


def test_an_operator_that_is_not_ready_is_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek_operator.cli.check._LOOK_S", 0.01)
    wait_ready(url, 10.0)
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200, "the operator was not asked until it was ready"


def test_what_it_said_last_is_told_when_the_time_is_over(url: str) -> None:
    with pytest.raises(TimeoutError, match="SkyPilot starts"):
        wait_ready(url, 0.0)


def test_what_answers_in_another_protocol_is_told_like_what_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"SSH-2.0-dropbear\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(TimeoutError, match=r"SSH-2\.0"):
            wait_ready(f"http://127.0.0.1:{server.getsockname()[1]}/readyz", 0.0)
