"""A server that somebody else runs: its clock, and the authority of its certificate."""

import base64
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepseek_operator.launch.certificates import engine_identity, make_authority
from deepseek_operator.skypilot import transport
from deepseek_operator.skypilot.authority import AuthorityFile
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.errors import SkyPilotUnavailableError
from tests.unit.skypilot.server import NAME, Server, serving


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0, 10.0])
async def test_a_server_whose_clock_is_off_is_read_by_ours(
    server: Server, client: SkyPilotClient, ahead_s: float
) -> None:
    """Else every launch of a server that is an hour behind would be late as it begins, and torn down."""
    began = time.time() - 5
    request = {"request_id": "a", "name": "sky.launch", "cluster_name": NAME}
    server.requests = [request | {"status": "RUNNING", "created_at": began + ahead_s}]
    server.answers("/status", [])
    server.payloads["/status"]["created_at"] = time.time() + ahead_s
    off = 0.0 if abs(ahead_s) < 30 else 2.0

    def differs(moment: datetime) -> float:
        return abs((moment - datetime.fromtimestamp(began + (ahead_s if not off else 0.0), UTC)).total_seconds())

    (launch,) = (await client.snapshot()).requests[NAME]  # the very first one is right already
    assert differs(launch.created_at) <= off
    (launch,) = (await client.requests_in_flight())[NAME]
    assert differs(launch.created_at) <= off
    server.requests = [request | {"status": "SUCCEEDED", "created_at": began, "finished_at": began + ahead_s}]
    outcome = await client.last_outcome(NAME)
    assert outcome is not None
    assert differs(outcome.finished_at) <= off
    server.answers("/cost_report", [{"name": NAME, "status": None, "usage_intervals": [[0, began + ahead_s]]}])
    gone_at = await client.terminated(NAME)
    assert gone_at is not None
    assert differs(gone_at) <= off


async def test_a_moment_stays_what_it_was_while_clocks_are_measured_again(
    server: Server, client: SkyPilotClient
) -> None:
    """A moment that changed by a second with each snapshot would be news of every launch each time."""
    server.requests = [
        {"request_id": "a", "name": "sky.launch", "status": "RUNNING", "cluster_name": NAME, "created_at": 7200.0}
    ]
    server.answers("/status", [])
    seen = set()
    for jitter in (0.0, 7.0, -9.0):
        server.payloads["/status"]["created_at"] = time.time() + 3600 + jitter
        (launch,) = (await client.snapshot()).requests[NAME]
        seen.add(launch.created_at)
    assert len(seen) == 1


@pytest.mark.parametrize("step_s", [-4 * 3600.0, 4 * 3600.0])
async def test_our_own_clock_that_is_set_while_a_request_is_on_its_way_says_nothing_of_the_servers(
    server: Server, client: SkyPilotClient, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """Else a launch that has just begun would be two hours old for a moment, and torn down as too late."""
    created_at = time.time()
    server.requests = [
        {"request_id": "a", "name": "sky.launch", "status": "RUNNING", "cluster_name": NAME, "created_at": created_at}
    ]
    server.answers("/status", [])
    server.payloads["/status"]["created_at"] = created_at
    moments = iter((created_at, created_at + step_s))
    monkeypatch.setattr(transport, "time", SimpleNamespace(time=lambda: next(moments), monotonic=time.monotonic))
    (launch,) = (await client.snapshot()).requests[NAME]
    assert launch.created_at == datetime.fromtimestamp(created_at, UTC)


def certified(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return what a server on ``localhost`` answers with, and the certificate of its authority."""
    authority = make_authority("company", datetime.now(UTC))
    file = folder / "server.pem"
    file.write_bytes(base64.b64decode(engine_identity(authority, ("localhost",), datetime.now(UTC))))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, authority.certificate


async def test_a_server_with_a_certificate_of_the_company_is_believed_by_its_authority(
    server: Server, tmp_path: Path
) -> None:
    context, certificate = certified(tmp_path)
    file = tmp_path / "ca.crt"
    file.write_text(certificate)
    async with serving(server, context) as port:
        url = f"https://localhost:{port}"
        async with SkyPilotClient(url, user_id="d5ee9000", authority=AuthorityFile(file)) as client:
            assert await client.requests_in_flight() == {}
        async with SkyPilotClient(url, user_id="d5ee9000") as client:
            with pytest.raises(SkyPilotUnavailableError) as refused:
                await client.requests_in_flight()
    said = (
        f"the certificate of the SkyPilot API server at {url} is not believed: unable to get local issuer certificate"
    )
    assert str(refused.value).startswith(said)
    assert "--skypilot-ca-file or the variable SSL_CERT_FILE names its authority" in str(refused.value)
    assert not refused.value.maybe_heard


async def test_an_authority_that_is_replaced_counts_with_the_next_connection(server: Server, tmp_path: Path) -> None:
    context, certificate = certified(tmp_path)
    file = tmp_path / "ca.crt"
    file.write_text(make_authority("former", datetime.now(UTC)).certificate)
    async with (
        serving(server, context) as port,
        SkyPilotClient(f"https://localhost:{port}", user_id="d5ee9000", authority=AuthorityFile(file)) as client,
    ):
        with pytest.raises(SkyPilotUnavailableError, match="is not believed"):
            await client.requests_in_flight()
        for text in (certificate, ""):  # half written, or a mistake: the last one counts
            another = tmp_path / "another"
            another.write_text(text)
            another.rename(file)
            assert await client.requests_in_flight() == {}
        file.unlink()
        assert await client.requests_in_flight() == {}


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_file_without_a_certificate_is_refused_at_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.crt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(OSError):
        AuthorityFile(file)
