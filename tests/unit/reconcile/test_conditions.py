"""What a user reads of what is wanted: that it serves, comes, cannot be planned, or has failed so many times."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import ReplicaFacts
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.conditions import Report, conditions
from deepseek_operator.reconcile.decide import Decision
from deepseek_operator.reconcile.endpoint import Reachability
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.condition_table import BOTH, FIRST, LAUNCHING, Case, after, check, condition, dead
from tests.unit.reconcile.decisions import AT, NO_PLAN

FINAL = b.deployment(resources={"accelerators": [], "cpus": "1+", "memory": "2+", "retryUntilUp": False})
STALLED = b.world(b.remembering(FINAL, {b.name(FINAL): b.ledger()}), b.facts(b.name(FINAL), outcome=b.failed_launch()))

CASES = [
    Case("one replica needs no counting", b.serving(b.deployment()), "Ready", ("True", "Ready"), "the model answers"),
    Case("several replicas are counted", BOTH, "Ready", ("True", "Ready"), "2 of 2 replicas answer"),
    Case(
        "the worst replica speaks for all, by name",
        dead(BOTH),
        "Ready",
        ("False", "EngineUnresponsive"),
        f"1 of 2 replicas answer; {FIRST}: ",
    ),
    Case("a failure that is final leaves nothing to do", STALLED, "Reconciling", ("False", "Planned"), "see Stalled"),
    Case("a launch is under way", LAUNCHING, "Reconciling", ("True", "Launching")),
    Case("everything serves", b.serving(b.deployment()), "Reconciling", ("False", "Ready"), "nothing is left to do"),
    Case("a plan that fails stalls", b.serving(b.deployment()), "Stalled", ("True", "DoesNotFit"), "654 GiB", NO_PLAN),
    Case(
        "a stalled object does not reconcile",
        b.world(b.deployment()),
        "Reconciling",
        ("False", "DoesNotFit"),
        "",
        NO_PLAN,
    ),
    Case("a plan that fails", b.world(b.deployment()), "Planned", ("False", "DoesNotFit"), "654 GiB", NO_PLAN),
    Case("a plan that holds gives its reason", b.world(b.deployment()), "Planned", ("True", "Planned"), "/models/tiny"),
    Case(
        "a failed launch without retries is final",
        STALLED,
        "Stalled",
        ("True", "Unschedulable"),
        "(not retried because resources.retryUntilUp is false: set it to true, or change the spec)",
    ),
    Case(
        "a failed launch that is final says so where everybody looks",
        STALLED,
        "Ready",
        ("False", "Unschedulable"),
        "(not retried because resources.retryUntilUp is false",
    ),
    Case("nothing needs help", b.serving(b.deployment()), "Stalled", ("False", "Planned"), "without your help"),
    Case(
        "a failure says when it is tried again",
        b.world(
            b.remembering(b.deployment(), {b.name(b.deployment()): b.ledger()}),
            b.facts(b.name(b.deployment()), outcome=b.failed_launch()),
        ),
        "Ready",
        ("False", "Unschedulable"),
        "0/1 nodes are available (next attempt at 2026-11-24T12:00:10Z)",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
def test_a_condition(case: Case) -> None:
    check(case)


class TestFailuresInARow:
    OF = b.deployment()
    NAME = b.name(OF)

    def says(self, facts: ReplicaFacts, **fields: Any) -> str:
        world = b.world(b.remembering(self.OF, {self.NAME: b.ledger(**fields)}), facts, probes=b.silent(AT))
        return condition(after(world))[2]

    def waiting(self, **fields: Any) -> dict[str, Any]:
        return {"counted": "x", "teardown_at": b.ago(9), "failure_reason": "NoCapacity", **fields}

    def test_one_that_waits_says_how_many_there_were_and_when_it_is_launched_again(self) -> None:
        said = self.says(b.facts(self.NAME), **self.waiting(attempts=3, failure_message="full", retry_after=b.ago(-60)))
        assert said == "full (failed 3 times in a row; next attempt at 2026-11-24T12:01:00Z)"

    def test_what_holds_the_launch_back_is_no_failure(self) -> None:
        kept = b.ledger(**self.waiting(attempts=1, retry_after=b.ago(-60)))
        world = b.world(b.remembering(self.OF, {self.NAME: kept}), b.facts(self.NAME))
        said = condition(after(replace(world, namespace_terminating=True)))[2]
        assert said == "namespace serving is being deleted; nothing is launched in it"

    def test_a_time_that_has_come_is_not_told_while_the_nodes_are_torn_down(self) -> None:
        down = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME), b.request(self.NAME, "down")))
        fields = self.waiting(failure_message="its nodes are gone", retry_after=b.ago(5))
        assert self.says(down, attempts=1, **fields) == "its nodes are gone"
        assert self.says(down, attempts=2, **fields) == "its nodes are gone (failed 2 times in a row)"

    @pytest.mark.parametrize(
        ("attempts", "words", "expected"),
        [
            (1, "full", "(failed before: NoCapacity: full)"),
            (4, "full\nlast lines", "(failed 4 times in a row before: NoCapacity: full)"),
            (2, "", "(failed 2 times in a row before: NoCapacity)"),
        ],
    )
    def test_one_that_is_launched_again_says_what_went_wrong_before(
        self, attempts: int, words: str, expected: str
    ) -> None:
        launching = b.facts(self.NAME, skypilot=b.seen(b.request(self.NAME)))
        fields = {"counted": "x", "failure_reason": "NoCapacity", "failure_message": words, "attempts": attempts}
        assert self.says(launching, **fields) == f"SkyPilot is looking for nodes {expected}"

    def test_the_log_of_an_engine_stays_at_the_end(self) -> None:
        ended = b.up(self.NAME, job=b.job(JobState.ENDED, log_tail="ValueError: no such model"))
        first, *log = self.says(ended).splitlines()
        assert first == "the engine ended (FAILED): ValueError: no such model (next attempt at 2026-11-24T12:00:10Z)"
        assert log[-1] == "ValueError: no such model"


def test_a_plan_without_arithmetic_gives_its_verdict() -> None:
    known = b.planned(b.deployment())
    plan = replace(known, reason="")
    assert condition(after(b.world(b.deployment()), plan), "Planned")[2] == f"verdict {plan.verdict}"


def test_one_replica_is_neither_counted_nor_named() -> None:
    assert condition(after(LAUNCHING)) == ("False", "Launching", "SkyPilot is looking for nodes")


def test_a_replica_that_is_missing_is_about_to_be_launched() -> None:
    found = conditions(Report(b.world(b.deployment()), b.planned(b.deployment()), Decision(), Reachability(False)))
    assert (found[0].reason, found[0].message) == ("Planning", "replicas are about to be launched")


@pytest.mark.parametrize("length", [4096, 4097, 20_000])
def test_a_message_that_is_too_long_for_a_condition_is_cut(length: int) -> None:
    """One flag of 2,048 characters that is given twice is enough."""
    status = after(b.world(b.deployment()), Refused(Reason.INVALID_SPEC, "x" * length))
    _, reason, message = condition(status)
    assert reason == "InvalidSpec"
    assert message == ("x" * 4096 if length == 4096 else "x" * 4095 + "…")
