"""The rules for one replica, as a table: an engine that answers."""

from dataclasses import replace

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Phase
from deepseek_operator.facts.world import QuestionKind
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.replica_table import AT, HALF, R1, READY, RENTED, RENTED_AT, STARTING, Case, check

CASES = [
    Case(
        "an engine that answers is ready",
        b.up(R1),
        STARTING,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "a ready engine stays ready when a late launch turns up",
        replace(b.up(R1), skypilot=b.seen(b.row(R1), b.request(R1))),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "an engine that answers while SkyPilot is away stays ready",
        b.facts(R1, skypilot=b.AWAY, pods=(b.pod(R1),)),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT), "skypilot": b.AWAY},
    ),
    Case(
        "an engine that answers although SkyPilot has forgotten it is left alone",
        b.facts(R1, pods=(b.pod(R1),)),
        READY,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "pods that SkyPilot has forgotten are left alone while all of them run",
        b.facts(R1, pods=(b.pod(R1), b.pod(R1, head=False))),
        READY.model_copy(update={"nodes": 2}),
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "how many of its pods run does not matter while SkyPilot is away",
        b.facts(R1, skypilot=b.AWAY, pods=(b.pod(R1),)),
        READY.model_copy(update={"nodes": 2}),
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT), "skypilot": b.AWAY},
    ),
    Case(
        "nor while a launch of it is under way",
        b.facts(R1, skypilot=b.seen(b.request(R1)), pods=(b.pod(R1),)),
        READY.model_copy(update={"nodes": 2}),
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(AT)},
    ),
    Case(
        "a published engine that was not asked since a restart stays ready",
        b.up(R1),
        READY,
        Phase.READY,
        Reason.READY,
        world={"endpoints": (b.endpoints(AT),)},
    ),
    Case(
        "a rented replica keeps its address while SkyPilot is away",
        b.facts(R1, skypilot=b.AWAY),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT), "skypilot": b.AWAY},
    ),
    Case(
        "a rented replica that answers although SkyPilot lost its database is left alone",
        b.facts(R1),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
        asks=(QuestionKind.HISTORY,),
    ),
    Case(
        "a single machine that answers is there, whatever SkyPilot says",
        b.facts(R1, skypilot=b.seen(replace(HALF, nodes=1))),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
    ),
    Case(
        "several machines of which SkyPilot could not find out anything go on serving",
        b.facts(R1, skypilot=b.seen(replace(HALF, incomplete=False))),
        RENTED,
        Phase.READY,
        Reason.READY,
        world={"probes": b.answering(RENTED_AT)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_an_engine_that_answers_serves(case: Case) -> None:
    check(case)
