"""How long it takes from a request to an engine that answers: launched by hand, and by the operator."""

import asyncio
import ssl
import time
from datetime import UTC, datetime

import pytest

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.names import server_name, shared_server_name
from deepseek_operator.launch import build_task
from deepseek_operator.launch.certificates import engine_identity, make_authority
from deepseek_operator.launch.script import TLS_VARIABLE
from deepseek_operator.skypilot.client import SkyPilotClient
from tests.cloud.tenant import API_KEY, Tenant
from tests.unit.planning.builders import IDENTITY, planned, spec_for

pytestmark = pytest.mark.cluster

WITHIN_S = 600.0
PORT = 8000


async def test_from_post_to_an_answer_by_hand_and_by_the_operator(tenant: Tenant) -> None:
    async with SkyPilotClient(tenant.cloud.skypilot, user_id=tenant.cloud.user_id) as client:
        by_hand = await _by_hand(client)
        print(f"\nfigure: by hand: POST to SUCCEEDED {by_hand[0]:.1f} s, to an answer {by_hand[1]:.1f} s")
        await asyncio.to_thread(tenant.expect_nothing_rented)

        began = time.time()
        tenant.apply("timed")
        await asyncio.to_thread(tenant.until_ready, "timed")
        ready = time.time()
        requests = await client.transport.requests(tenant.instance("timed")["name"], ended=True)
        (launch,) = [one for one in requests if "launch" in one["name"]]
        posted, succeeded = float(launch["created_at"]), float(launch["finished_at"])
        assert began <= posted <= succeeded <= ready
        print(f"figure: operator: apply to POST {posted - began:.1f} s, to SUCCEEDED {succeeded - posted:.1f} s,")
        print(f"figure:   to Ready through the proxies {ready - succeeded:.1f} s, all {ready - began:.1f} s")
    tenant.delete("timed")
    tenant.expect_nothing_rented()


async def _by_hand(client: SkyPilotClient) -> tuple[float, float]:
    """Launch the operator's task as a person would; return the seconds from POST to SUCCEEDED and to an answer."""
    spec = spec_for(
        resources={"infra": ["aws"], "accelerators": ["L4:1"]},
        engine={"name": "VLLM", "runtime": "Packages"},
        endpoint={"apiKeySecretRef": {"name": "key", "key": "token"}},
    )
    request = build_task(planned(spec), IDENTITY)
    authority = make_authority("by hand", datetime.now(UTC))
    name, uid = "by-hand", IDENTITY.deployment_uid
    identity = engine_identity(authority, (server_name(name, uid), shared_server_name(uid)), datetime.now(UTC))
    secrets = {secret.variable: API_KEY for secret in request.secrets} | {TLS_VARIABLE: identity}
    began = time.monotonic()
    await client.launch(name, request.task | {"secrets": secrets}, request.override_skypilot_config)
    while await client.requests_in_flight(name):
        assert time.monotonic() - began < WITHIN_S
        await asyncio.sleep(0.2)
    outcome = await client.last_outcome(name)
    assert outcome is not None
    assert outcome.failure is None, outcome.failure
    succeeded_s = time.monotonic() - began
    address = await client.endpoints(name, PORT)
    assert address is not None
    context = ssl.create_default_context(cadata=authority.certificate)
    while not await _answers(address, context, server_name(name, uid)):
        assert time.monotonic() - began < WITHIN_S
        await asyncio.sleep(0.1)
    answered_s = time.monotonic() - began
    await client.down(name)
    while await client.requests_in_flight(name):
        await asyncio.sleep(0.2)
    return succeeded_s, answered_s


async def _answers(address: Address, context: ssl.SSLContext, name: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
    except OSError:
        return False
    writer.close()
    return True
