"""Where secrets are while a rented machine serves, and where they are not: canaries are planted and looked for.

They reach the machine by the secrets of SkyPilot's task. What SkyPilot keeps of them is listed here file by file, so
that a change is seen; docs/clouds.md says for how long.
"""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from deepseek_operator.skypilot.client import SkyPilotClient
from tests.cloud.home import SECRET_KEY
from tests.cloud.tenant import HF_TOKEN, Tenant
from tests.cloud.world import STATE

pytestmark = pytest.mark.cluster

NAME = "secretive"


@pytest.fixture(scope="module")
def served(tenant: Tenant) -> Iterator[Tenant]:
    """A deployment on one machine with a token, a key made by the operator, and a certificate."""
    model = {"name": "r1-8b", "huggingFaceTokenSecretRef": {"name": "hugging-face", "key": "token"}}
    tenant.apply(NAME, model=model)
    tenant.until_ready(NAME)
    yield tenant
    tenant.delete(NAME)
    tenant.expect_nothing_rented()


def upper(tenant: Tenant) -> Path:
    """Return what the machine has written."""
    (machine,) = tenant.cloud.instances()
    return STATE / "ec2/machines" / str(machine["id"]) / "upper"


@pytest.fixture(scope="module")
def canaries(served: Tenant) -> dict[str, str]:
    """Every secret of the deployment, by what it is; of long ones a piece from the middle."""
    identity = (upper(served) / "home/ubuntu/.deepseek-operator-tls.pem").read_text()
    return {
        "token": HF_TOKEN,
        "API key": served.secret(f"{NAME}-api-key", "token"),
        "key of the certificate": identity.splitlines()[2][:40],  # the first line is the same for all keys of the kind
        "the same as a task's secret": base64.b64encode(identity.encode()).decode()[80:140],
        "key of the authority": served.secret(f"{NAME}-ca", "tls.key").splitlines()[2][:40],
        "account of the cloud": SECRET_KEY,
    }


def test_no_secret_is_where_people_or_the_provider_read(served: Tenant, canaries: dict[str, str]) -> None:
    (machine,) = served.cloud.instances()
    kinds = "configmaps,deployments,replicasets,pods,services,endpointslices,serviceaccounts,poddisruptionbudgets"
    shown = {
        "the cloud's user data": machine["user_data"],
        "tags": json.dumps(machine["tags"]),
        "calls of the provider's API": json.dumps(served.cloud.control("calls")),
        "the provider's log": served.cloud.log("ec2").read_text(errors="replace"),
        "the object": served.kubectl("get", "dsd", NAME, "-o", "yaml"),
        "Events": served.kubectl("get", "events", "-o", "yaml"),
        "what was made in the namespace": served.kubectl("get", kinds, "-o", "yaml"),
        "the operator's log": served.operator.log.read_text(),
        "the SkyPilot server's log": served.cloud.log("skypilot").read_text(errors="replace"),
    }
    for place, text in shown.items():
        assert len(text) > 10, place
        assert [what for what, canary in canaries.items() if canary in text] == [], place


async def test_no_answer_of_the_skypilot_server_has_a_secret(served: Tenant, canaries: dict[str, str]) -> None:
    async with SkyPilotClient(served.cloud.skypilot, user_id=served.cloud.user_id) as client:
        name = served.instance(NAME)["name"]
        everything = {"all_users": True, "include_credentials": False, "include_handle": False}
        answers: dict[str, Any] = {
            "clusters, tasks included": await client.transport.call("/status", everything),
            "history": await client.transport.call("/cost_report", {"days": 1}),
            "requests": await client.transport.requests(name, ended=True),
            "log of the job": await client.job_log(name, 1),
        }
    for place, answer in answers.items():
        text = json.dumps(answer, default=str)
        assert len(text) > 10, place
        assert [what for what, canary in canaries.items() if canary in text] == [], place


ON_THE_SERVER: Final = re.compile(r"\.sky/api_server/requests\.db(-wal)?|\.aws/credentials")
"""SkyPilot's database of requests, with the secrets in base64, and the account's own file."""
ON_THE_MACHINE: Final = re.compile(
    r"home/ubuntu/(\.deepseek-operator-tls\.pem|\.bash_history|\.sky/sky_app/sky_job_\d+)|tmp/sky_(app|setup)_[^/]+"
)
"""The engine's certificate, the scripts of SkyPilot's job, and the history of the shell that it types them into."""


def test_what_skypilot_keeps_is_what_the_documentation_says(served: Tenant, canaries: dict[str, str]) -> None:
    folders = {"the server": (served.cloud.home, ON_THE_SERVER), "the machine": (upper(served), ON_THE_MACHINE)}
    for who, (folder, expected) in folders.items():
        found = {what: _files_with(canary, folder) for what, canary in canaries.items()}
        for what, files in found.items():
            print(f"\n{who}: {what}: {', '.join(files) or 'nowhere'}")
        if who == "the machine":
            assert found["account of the cloud"] == []
            assert found["key of the authority"] == []
        unexpected = {file for files in found.values() for file in files if not expected.fullmatch(file)}
        assert unexpected == set(), who


def _files_with(text: str, folder: Path) -> list[str]:
    patterns = [word for form in _forms(text) for word in ("-e", form)]
    done = subprocess.run(["grep", "-rlaF", *patterns, folder], capture_output=True, text=True, check=False)
    return sorted(str(Path(line).relative_to(folder)) for line in done.stdout.splitlines())


def _forms(text: str) -> list[str]:
    """Return a text as it is, and what base64 makes of it inside of something longer, wherever it begins there."""
    encoded = [base64.b64encode(b"\0" * before + text.encode()).decode() for before in range(3)]
    # Characters that stand for bytes before or after the text are left out.
    return [text, *(code.rstrip("=")[start:-1] for code, start in zip(encoded, (0, 2, 3), strict=True))]
