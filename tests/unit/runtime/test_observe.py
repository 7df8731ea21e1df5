"""What is asked of SkyPilot beside the snapshot, and when."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Phase
from deepseek_operator.catalog import load_catalog
from deepseek_operator.kube.read import ClusterReader, Observed
from deepseek_operator.reconcile.world import Failure, Job, JobState, Outcome, Pod, Probe, PublishedService, RequestKind
from deepseek_operator.runtime.observe import Observer
from deepseek_operator.runtime.prober import Prober
from deepseek_operator.skypilot.client import SkyPilotClient
from deepseek_operator.skypilot.snapshot import Snapshot, SnapshotLoop
from tests.unit.reconcile.builders import NOW, PORT, deployment, name, row

REFUSED = Outcome("q1", RequestKind.DOWN, NOW, Failure(Reason.LAUNCH_FAILED, "the provider answers 500"))


@dataclass
class Asked:
    """A SkyPilot that notes what it is asked."""

    questions: list[str] = field(default_factory=list)

    async def last_outcome(self, _: str) -> Outcome:
        self.questions.append("outcome")
        return REFUSED

    async def job(self, _: str) -> Job:
        self.questions.append("job")
        return Job(1, JobState.ACTIVE, "RUNNING")


@pytest.mark.parametrize(("phase", "questions"), [(Phase.READY, []), (Phase.TERMINATING, ["outcome"])])
async def test_how_a_teardown_ended_is_asked_although_the_engine_still_answers(
    phase: Phase, questions: list[str]
) -> None:
    cluster = name(deployment())
    status = DeepSeekDeploymentStatus(instances=(Instance(name=cluster, revision=cluster.revision, phase=phase),))
    body = deployment(deleting=True, status=status).model_dump(mode="json", by_alias=True, exclude_none=True)
    pod = Pod("head", cluster, f"{cluster}-d5ee9000", head=True, phase="Running", ip="10.0.0.1")
    snapshot = Snapshot(1.0, True, "", {cluster: row(cluster)}, {})
    asked = Asked()

    async def answer(value: Any) -> Any:
        return value

    reader = SimpleNamespace(
        deployment=lambda *_: answer(body),
        observe=lambda _: answer(Observed((pod,), (), PublishedService(), True)),
        missing_secrets=lambda *_: answer(()),
    )
    prober = SimpleNamespace(
        watch=lambda *_: None, results=lambda _: {f"10.0.0.1:{PORT}": Probe(healthy=True, since=NOW)}
    )
    observer = Observer(
        cast(ClusterReader, reader),
        cast(SkyPilotClient, asked),
        cast(SnapshotLoop, SimpleNamespace(newer_than=lambda _: answer(snapshot))),
        cast(Prober, prober),
        load_catalog(),
    )

    world = await observer.observe(("serving", "r1"), -1.0)

    assert world is not None
    assert asked.questions == questions
    assert (world.outcomes.get(cluster) == REFUSED) == bool(questions)
