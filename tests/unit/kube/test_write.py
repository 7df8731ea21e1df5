"""Writes against a client that answers as the API server does."""

from types import SimpleNamespace
from typing import Any, cast

from lightkube import ApiError, AsyncClient
from lightkube.types import PatchType

from deepseek_operator.kube.write import ClusterWriter
from tests.unit.reconcile.builders import deployment


class Server:
    """Refuses applies of a Service until its whole list of ports was replaced."""

    def __init__(self) -> None:
        self.damaged = True
        self.calls: list[str] = []

    async def apply(self, resource: Any, **_: Any) -> None:
        self.calls.append("apply")
        if self.damaged:
            status = {"code": 422, "message": "spec.ports[1].name: Duplicate value", "reason": "Invalid"}
            raise ApiError(response=cast(Any, SimpleNamespace(json=lambda: status)))

    async def patch(self, _: Any, name: str, change: Any, *, namespace: str, patch_type: PatchType) -> None:
        self.calls.append(f"{patch_type.name} {namespace}/{name}")
        self.damaged = [port["port"] for port in change["spec"]["ports"]] != [8000]


async def test_a_port_that_somebody_else_wrote_is_replaced() -> None:
    server = Server()
    writer = ClusterWriter(cast(AsyncClient, server), "test")

    await writer.apply_service(deployment(), port=8000, target_port=8000, type_="ClusterIP")

    assert server.calls == ["apply", "MERGE serving/r1", "apply"]
