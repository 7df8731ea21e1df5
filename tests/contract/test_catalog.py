"""What ``plan --skypilot`` believes of a server's catalog, asked of a real server on this machine.

It needs no cluster: SkyPilot comes from the cache of the simulated cloud, with the catalog of that cloud in a home of
its own, and answers on loopback. Its queue has a port that is always the same, so one of these runs at a time.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepseek_operator.api.places import CLOUDS, WITHOUT_SPOT
from deepseek_operator.api.reasons import Reason
from deepseek_operator.cli.main import app
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.cloud.home import CATALOG, price, seed
from tests.cloud.parts import skypilot_python

UP_S = 120
KINDS = """
import json
from sky import clouds
from sky.utils.registry import CLOUD_REGISTRY
spot = clouds.CloudImplementationFeatures.SPOT_INSTANCE
found = {name: spot in cloud._CLOUD_UNSUPPORTED_FEATURES for name, cloud in CLOUD_REGISTRY.items()
         if hasattr(cloud, "_CLOUD_UNSUPPORTED_FEATURES")}
print(json.dumps({"all": sorted(CLOUD_REGISTRY), "without": sorted(name for name, none in found.items() if none)}))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return skypilot_python()


@pytest.fixture(scope="module")
def url(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with the credentials of nobody."""
    home = tmp_path_factory.mktemp("skypilot")
    seed(home, "http://127.0.0.1:9")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"HOME": str(home), "PATH": f"{python.parent}:{os.environ['PATH']}", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    command = [str(python), "-m", "sky.server.server", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=log, stderr=log, cwd=home, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, server, home / "server.log")
        asyncio.run(_warm_up(address))
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # its workers too; it waits for its clients otherwise
        server.wait()


def _wait(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + UP_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the server did not come up:\n{log.read_text()[-2000:]}")


async def _warm_up(address: str) -> None:
    """Wait until the server has looked at its clouds, which it does first and for half a minute on a busy machine."""
    async with SkyPilotClient(address, user_id="d5ee9000") as client:
        for _ in range(UP_S // 30):
            with suppress(SkyPilotUnavailableError):
                await client.enabled_clouds()
                return
    raise AssertionError(f"the server answered no request within {UP_S} s")


def plan(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--model", "r1-8b", "--skypilot", url, *words])


async def test_every_gpu_machine_of_the_catalog_is_offered_in_each_region_with_both_prices(url: str) -> None:
    async with SkyPilotClient(url, user_id="d5ee9000") as client:
        found = await client.offers(["aws"], date(2026, 11, 24))
    offers = {(offer.price.instance_type, offer.price.region): offer for offer in found}
    machines = [machine for machine in CATALOG if machine.gpu]
    assert {kind for kind, _ in offers} == {machine.type for machine in machines}
    for machine in machines:
        offer = offers[machine.type, "us-west-2"]
        assert offer.amount(spot=False) == pytest.approx(price(machine.type, "us-west-2"), abs=Decimal("0.0001"))
        assert offer.amount(spot=True) == pytest.approx(
            price(machine.type, "us-west-2", spot=True), abs=Decimal("0.0001")
        )
        assert (offer.vcpus, offer.memory_gb) == (machine.cpus, machine.memory_gib)
        assert offer.price.accelerators == f"{machine.gpu}:{machine.gpus}"


def test_the_table_shows_the_places_and_why_each_was_not_taken(url: str) -> None:
    words = ("--accelerators", "L4:1", "--infra", "aws/us-west-2", "--infra", "gcp", "--infra", "kubernetes")
    result = plan(url, *words, "--capacity-type", "SpotThenOnDemand")
    assert result.exit_code == 0, result.output
    assert (
        "CLOUD        INSTANCE          vCPUs   Mem(GB)   ACCELERATORS   REGION/ZONE   COST ($)   CHOSEN"
        in result.output
    )
    rows = [line.split()[:7] for line in result.output.splitlines() if line.startswith(" aws ")]
    spot, on_demand = (f"{price('g6.xlarge', 'us-west-2', spot=kind):.2f}" for kind in (True, False))
    assert rows == [
        ["aws", "g6.xlarge[Spot]", "4", "16", "L4:1", "us-west-2", spot],
        ["aws", "g6.xlarge", "4", "16", "L4:1", "us-west-2", on_demand],
    ]
    for cloud in ("aws/us-west-2", "gcp"):
        name = cloud.partition("/")[0]
        why = f"spec.resources.infra: {name}: the SkyPilot server has no working credentials for {name}"
        assert any(line.startswith(f"  {cloud} L4:1 (spot)") and why in line for line in result.output.splitlines())


def test_prices_of_the_plan_are_those_of_the_server(url: str) -> None:
    found = json.loads(plan(url, "--accelerators", "L4:1", "--infra", "aws/us-west-2", "-o", "json").output)
    assert found["hourlyCost"] == f"{price('g6.xlarge', 'us-west-2'):.2f}"
    assert found["priceOrigin"] == "SkyPilot's catalog"


@pytest.mark.parametrize(
    ("infra", "words"),
    [
        (
            "aws/us-esat-1",
            "spec.resources.infra: us-esat-1: SkyPilot's catalog has no region of this name; did you mean",
        ),
        ("aws/moon", "spec.resources.infra: moon: SkyPilot's catalog has no region of this name; aws has "),
        ("awss", "spec.resources.infra: awss: no cloud of this name; did you mean aws"),
    ],
)
async def test_a_place_that_does_not_exist_fails_in_a_sentence(url: str, infra: str, words: str) -> None:
    name = f"{infra.replace('/', '-')}-0a1b2c3d-beef-0"
    task = {"resources": {"infra": infra, "accelerators": "L4:1"}, "run": "true"}
    async with SkyPilotClient(url, user_id="d5ee9000") as client:
        await client.launch(name, task, {})
        end = time.monotonic() + UP_S
        while await client.requests_in_flight(name):
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        outcome = await client.last_outcome(name)
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INVALID_SPEC
    assert outcome.failure.message.startswith(words)


def test_the_clouds_and_those_without_spot_machines_are_the_ones_that_skypilot_has(python: Path) -> None:
    done = subprocess.run([str(python), "-c", KINDS], capture_output=True, text=True, check=True)
    known = json.loads(done.stdout.splitlines()[-1])
    assert set(known["all"]) <= set(CLOUDS)
    # Kubernetes is one's own cluster, on which capacityType does nothing.
    assert {*known["without"]} - {"kubernetes"} == WITHOUT_SPOT
