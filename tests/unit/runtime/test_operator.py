"""The parts of a process that belong to no control loop: prices, the audit, and the campaign for the Lease."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterable, Sized
from typing import Any

import kopf
import pytest

from deepseek_operator.feeds.prices import PriceFeed
from deepseek_operator.kube.client import KubeClient
from deepseek_operator.kube.errors import KubeUnavailableError
from deepseek_operator.kube.lease import LeaderElection
from deepseek_operator.runtime import operator as operator_module
from deepseek_operator.runtime.operator import Operator, configure
from deepseek_operator.runtime.settings import Settings

NOBODY = Settings(skypilot_endpoint="http://127.0.0.1:9", lease_name="operator")


@pytest.mark.parametrize("part", [PriceFeed, LeaderElection])
async def test_a_part_that_has_died_is_seen_by_the_liveness_probe(part: type, monkeypatch: pytest.MonkeyPatch) -> None:
    died = asyncio.Event()

    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    async def die(*_: object) -> None:
        died.set()
        raise AttributeError("nobody foresaw it")

    for one in (PriceFeed, LeaderElection):
        monkeypatch.setattr(one, "run", die if one is part else wait)
    operator = Operator(NOBODY)
    assert operator.trouble() == ""
    await operator.start()
    await died.wait()
    await asyncio.sleep(0)
    assert "nobody foresaw it" in operator.trouble()
    await operator.stop()


async def test_the_lease_is_renewed_over_a_connection_that_no_other_request_can_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred pods whose deletion a webhook holds up must not cost the operator its Lease."""
    asked: list[str] = []
    free = asyncio.Event()

    class Held(KubeClient):
        """Like one with all connections taken, once anybody but the election has asked."""

        async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
            self.busy = getattr(self, "busy", False) or "leases" not in path
            if self.busy:
                await free.wait()
            asked.append(f"{method} {path}")
            raise KubeUnavailableError("away")

    monkeypatch.setattr(operator_module, "KubeClient", Held)
    operator = Operator(NOBODY)
    writing = asyncio.create_task(operator._kube.request("DELETE", "/api/v1/namespaces/serving/pods/r1"))
    await asyncio.sleep(0)
    await operator.start()
    await asyncio.sleep(0.05)
    before = list(asked)
    writing.cancel()
    free.set()
    await operator.stop()
    assert before == ["GET /apis/coordination.k8s.io/v1/namespaces/default/leases/operator"]


LOSES_THE_LEASE = """
import asyncio
import subprocess
import sys
from deepseek_operator.kube.lease import LeaderElection
from deepseek_operator.runtime.operator import Operator, configure
from deepseek_operator.runtime.settings import Settings

async def lose(self, started, lost):
    lost()

async def main():
    LeaderElection.run = lose
    await Operator(Settings(skypilot_endpoint="http://127.0.0.1:9", lease_name="operator")).start()
    await asyncio.sleep(0)
    print("goes on to act")

asyncio.run(main())
"""


@pytest.mark.parametrize("first", [True, False], ids=["first of its container", "one of many"])
def test_a_process_that_has_lost_its_lease_ends_at_once(first: bool) -> None:
    """Also where it is the first of its PID namespace: that one no signal kills that it sends to itself."""
    alone = ["unshare", "--pid", "--fork"] if first else []
    if first and subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("making a PID namespace takes root")
    done = subprocess.run(
        [*alone, sys.executable, "-c", LOSES_THE_LEASE], capture_output=True, text=True, timeout=120, check=False
    )
    assert "lease_lost" in done.stdout
    assert "goes on to act" not in done.stdout
    assert done.returncode != 0


BEGINS_WITH_FEW_FILES = """
import asyncio
import resource
from deepseek_operator.runtime.health import ListenError
from deepseek_operator.runtime.operator import run
from deepseek_operator.runtime.settings import Settings

most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
try:
    asyncio.run(run(Settings(health_address="192.0.2.1:8080")))  # no address of this machine
except ListenError:
    print("all of them" if resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most) else "few")
"""


def test_a_process_may_have_as_many_connections_as_its_machine_allows() -> None:
    """The 1,024 with which many containers begin are too few for a connection to each of a thousand engines: those
    that could not be asked would count as silent, and be replaced.
    """
    done = subprocess.run(
        [sys.executable, "-c", BEGINS_WITH_FEW_FILES], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "all of them\n"


def test_an_operator_waits_for_an_api_server_that_is_away_for_as_long_as_it_takes() -> None:
    """kopf ends the process after its last attempt, with a traceback; here there is no last one."""
    settings = kopf.OperatorSettings()
    configure(settings)
    waits = settings.networking.error_backoffs
    assert isinstance(waits, Iterable)
    assert not isinstance(waits, Sized)
    day = 24 * 3600
    assert sum(itertools.islice(waits, day)) >= day
    assert max(itertools.islice(waits, day)) <= 5  # a signal ends the process only between two attempts
