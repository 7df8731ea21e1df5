"""Secrets of rented machines reach SkyPilot as secrets of a task and stand nowhere else."""

import base64
import random
from typing import Any

import structlog

from deepseek_operator.api import v1alpha1 as api
from tests.simulation.clock import VirtualLoop, run_virtually
from tests.simulation.kubernetes import Body
from tests.simulation.run import Simulation
from tests.simulation.schedule import Event, Schedule
from tests.simulation.specs import NAMESPACE


def test_no_secret_is_in_a_task_a_write_or_a_log() -> None:
    """Two replicas are launched, one of them twice, the operator is restarted, and the engine of one ends."""
    structlog.reset_defaults()
    events = (Event(60, "kill", "b", 3), Event(80, "engine-ends", "b"), Event(130, "edit", "b", 2))
    loop = VirtualLoop()
    simulation = Simulation(Schedule(0, events, (0, 2), rented=True), loop, random.Random(7))
    secrets: set[str] = set()
    elsewhere: list[str] = []
    _listen(simulation, secrets, elsewhere)
    with structlog.testing.capture_logs() as lines:
        run_virtually(simulation.run(), loop)
    assert simulation.promises.found == []
    assert len(secrets) >= 2 + 2 * 4  # a key, an authority, and of each start a key and a certificate
    assert any("launch" in line for line in elsewhere)
    assert any(line["event"] == "action" for line in lines)
    said = "\n".join([*elsewhere, *map(str, lines)])
    assert [secret for secret in secrets if secret in said] == []


def test_a_secret_of_somebody_else_is_named_and_removing_it_is_enough() -> None:
    structlog.reset_defaults()
    loop = VirtualLoop()
    simulation = Simulation(Schedule(0, (), (0, 1), rented=True), loop, random.Random(7))
    taken: Body = {"metadata": {"name": "b-ca", "namespace": NAMESPACE, "uid": "x", "labels": {}}, "data": {}}
    simulation.kubernetes.put("secrets", NAMESPACE, "b-ca", taken)
    reasons: list[tuple[str, str]] = []

    def note() -> None:
        deployment = simulation.kubernetes.get(api.PLURAL, NAMESPACE, "b")
        assert deployment is not None
        (instance,) = deployment["status"]["instances"]
        reasons.append((instance["reason"], instance.get("message", "")))

    loop.call_at(30, note)
    loop.call_at(31, simulation.kubernetes.remove, "secrets", NAMESPACE, "b-ca")
    with structlog.testing.capture_logs():
        run_virtually(simulation.run(), loop)
    assert simulation.promises.found == []
    assert reasons == [("NameConflict", "a Secret b-ca exists and was not made for this deployment")]
    note()
    assert reasons[-1][0] == "Ready"


def _listen(simulation: Simulation, secrets: set[str], elsewhere: list[str]) -> None:
    """Note what goes out, apart from secrets that stand where they belong."""
    request, launch, run_again = simulation.kubernetes.request, simulation.skypilot.launch, simulation.skypilot.exec

    def write(method: str, path: str, body: Any, query: Any, content_type: str) -> Any:
        if method == "POST" and path.endswith("/secrets"):
            values = [base64.b64decode(value).decode() for key, value in body["data"].items() if key != "tls.crt"]
            secrets.update(line for value in values for line in _lines(value))
        elif method != "GET":
            elsewhere.append(f"{path} {body}")
        return request(method, path, body, query, content_type)

    def submit(kind: str, send: Any) -> Any:
        def note(name: str, task: dict[str, Any]) -> str:
            assert task["secrets"]["VLLM_API_KEY"] in secrets
            secrets.update(_lines(task["secrets"]["DEEPSEEK_OPERATOR_TLS"]))
            secrets.update(_lines(base64.b64decode(task["secrets"]["DEEPSEEK_OPERATOR_TLS"]).decode()))
            elsewhere.append(f"{kind} {name} { {key: part for key, part in task.items() if key != 'secrets'} }")
            return str(send(name, task))

        return note

    simulation.kubernetes.request = write  # type: ignore[method-assign]
    simulation.skypilot.launch = submit("launch", launch)  # type: ignore[method-assign]
    simulation.skypilot.exec = submit("exec", run_again)  # type: ignore[method-assign]


def _lines(value: str) -> list[str]:
    """Return the parts by which a secret would be recognized; what frames a PEM is none."""
    return [line for line in value.splitlines() if len(line) > 20 and not line.startswith("-----")]
