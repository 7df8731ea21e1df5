"""A replica's memory: when each stage began, and how failures are counted."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.status import Ledger
from deepseek_operator.facts.base import Address, Failure, Known
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED
from deepseek_operator.reconcile.actions import Launch
from deepseek_operator.reconcile.replica.ledger import advance, count
from deepseek_operator.reconcile.replica.rules import want
from deepseek_operator.reconcile.replica.view import Finding, Health, View
from tests.unit.reconcile import builders as b

DSD = b.deployment()
R1 = b.name(DSD)
UP = b.seen(b.row(R1))
LAUNCH = Launch(R1)


def after(ledger: Ledger, *, wanted: bool = True, skypilot: Any = UP, **view: Any) -> Ledger:
    return advance(View(b.NOW, b.facts(R1, skypilot=skypilot), ledger, **view), wanted=wanted)


@pytest.mark.parametrize("wanted", [True, False])
def test_what_is_dated_in_the_future_began_when_the_clock_was_set_back(*, wanted: bool) -> None:
    ledger = b.ledger(launched_at=b.ago(-3600), teardown_at=b.ago(-3000))
    found = after(ledger, wanted=wanted)
    assert (found.launched_at, found.teardown_at) == (b.NOW, b.NOW)
    near = b.ledger(launched_at=b.ago(-60))
    assert after(near, wanted=wanted).launched_at == b.ago(-60), "clocks of two nodes differ"


def test_what_serves_on_is_not_written_anew_because_the_clock_was_set_back() -> None:
    ledger = b.ledger(launched_at=b.ago(-3600), ready_since=b.ago(-3000))
    assert after(ledger, health=Health.ANSWERS) == ledger


class TestReadiness:
    def test_begins_with_the_first_answer(self) -> None:
        found = after(b.ledger(silent_since=b.ago(9), starting_since=b.ago(99)), health=Health.ANSWERS)
        assert (found.ready_since, found.silent_since, found.starting_since) == (b.NOW, None, None)
        assert after(b.ledger(ready_since=b.ago(60)), health=Health.ANSWERS).ready_since == b.ago(60)

    def test_does_not_begin_while_the_engine_may_be_replaced(self) -> None:
        assert after(b.ledger(), skypilot=b.seen(b.request(R1)), health=Health.ANSWERS).ready_since is None

    def test_does_not_begin_without_an_answer(self) -> None:
        assert after(b.ledger(), health=Health.UNKNOWN, published=True).ready_since is None

    def test_ends_with_silence_and_not_with_ignorance(self) -> None:
        ready = b.ledger(ready_since=b.ago(60), retry_after=b.ago(1))
        found = after(ready, health=Health.SILENT)
        assert (found.ready_since, found.silent_since, found.retry_after) == (None, b.NOW, None)
        assert after(ready, health=Health.UNKNOWN).ready_since == b.ago(60)

    @pytest.mark.parametrize(("seconds", "attempts"), [(599, 2), (600, 0)])
    def test_forgets_failures_after_ten_minutes(self, seconds: int, attempts: int) -> None:
        assert after(b.ledger(ready_since=b.ago(seconds), attempts=2), health=Health.SILENT).attempts == attempts

    def test_takes_a_teardown_back_only_where_the_replica_is_wanted(self) -> None:
        failed = b.ledger(teardown_at=b.ago(60))
        assert after(failed, health=Health.ANSWERS).teardown_at is None
        assert after(failed, health=Health.ANSWERS, wanted=False).teardown_at == b.ago(60)


def test_the_port_of_a_launch_is_kept_where_a_cloud_maps_it_to_another_one() -> None:
    mapped = Address("3.4.5.6", 30123)
    assert after(b.ledger(), address=mapped).port == b.PORT
    assert after(b.ledger(port=None), address=mapped).port == 30123


@pytest.mark.parametrize(("launched_at", "nodes"), [(None, 2), (b.ago(60), 1)], ids=["not noted", "noted"])
def test_skypilot_says_how_many_nodes_a_launch_has_that_no_status_could_note(launched_at: Any, nodes: int) -> None:
    assert after(b.ledger(launched_at=launched_at), skypilot=b.seen(b.row(R1, nodes=2))).nodes == nodes


@pytest.mark.parametrize(
    ("says", "known", "health", "wanted", "before", "renting"),
    [
        ("nobody can be asked", b.AWAY, Health.SILENT, True, True, True),
        ("nobody can be asked, and nothing was rented", b.AWAY, Health.SILENT, True, False, False),
        ("SkyPilot lists it", b.seen(b.row(R1, cloud="AWS")), Health.SILENT, True, False, True),
        ("no record, and it answers", b.seen(), Health.ANSWERS, True, False, True),
        ("no record, and it was not asked yet", b.seen(), Health.UNKNOWN, True, True, True),
        ("no record, not asked, and nothing was rented", b.seen(), Health.UNKNOWN, True, False, False),
        ("no record, it is silent, and SkyPilot was not asked yet", b.seen(), Health.SILENT, True, True, True),
        ("no record, and it is not accounted for", b.seen(), Health.SILENT, False, True, True),
    ],
)
def test_machines_are_rented_while(
    says: str, known: Any, health: Health, wanted: bool, before: bool, renting: bool
) -> None:
    ledger = b.ledger(infra="aws", renting=before)
    assert after(ledger, wanted=wanted, skypilot=known, health=health).renting is renting, says


def test_machines_that_skypilot_has_seen_go_are_not_rented_any_more() -> None:
    view = View(b.NOW, b.facts(R1, terminated=b.TERMINATED), b.ledger(infra="aws", renting=True))
    assert not advance(view, wanted=True).renting


def test_what_a_failed_launch_left_is_rented_while_nobody_can_be_asked() -> None:
    known = b.facts(R1, skypilot=b.AWAY, outcome=b.failed_launch())
    assert advance(View(b.NOW, known, b.ledger(infra="aws", renting=True)), wanted=True).renting


def test_machines_that_are_gone_by_the_word_of_a_user_are_rented_until_their_engine_was_asked_after_a_restart() -> None:
    rented = b.ledger(infra="aws", renting=True)
    for health, renting in ((Health.UNKNOWN, True), (Health.ANSWERS, True), (Health.SILENT, False)):
        assert after(rented, skypilot=b.seen(), health=health, abandoned=True).renting is renting


@pytest.mark.parametrize(
    ("says", "known", "price", "expected"),
    [
        ("SkyPilot says it", b.seen(b.row(R1, cloud="AWS")), Known(Decimal("1.21"), b.NOW), "1.21"),
        ("SkyPilot does not know it", b.seen(b.row(R1, cloud="AWS")), Known(None, b.NOW), "4.00"),
        ("nobody has asked yet", b.seen(b.row(R1, cloud="AWS")), NOT_ASKED, "4.00"),
        ("what is not rented any more has the price that it had", b.seen(), Known(Decimal("1.21"), b.NOW), "4.00"),
        (
            "a launch that was not noted looks for others",
            b.seen(b.row(R1, cloud="AWS"), b.request(R1)),
            NOT_ASKED,
            None,
        ),
        ("its engine is started again", b.seen(b.row(R1, cloud="AWS"), b.request(R1, "exec")), NOT_ASKED, "4.00"),
    ],
)
def test_the_price_is_what_skypilot_said_last(says: str, known: Any, price: Any, expected: str | None) -> None:
    view = View(b.NOW, b.facts(R1, skypilot=known, price=price), b.ledger(infra="aws", price="4.00"))
    assert advance(view, wanted=True).price == expected, says


LAUNCHING = b.request(R1)
AWS = b.row(R1, "INIT", cloud="AWS", region="us-east-1")
EAST = {"place": "aws/us-east-1", "place_since": b.ago(60)}
THERE_NOW = ("aws/us-east-1", b.NOW)


@pytest.mark.parametrize(
    ("says", "seen", "before", "expected"),
    [
        ("SkyPilot brings them up", (AWS, LAUNCHING), {}, THERE_NOW),
        ("a cloud without regions", (b.row(R1, cloud="AWS", region=""), LAUNCHING), {}, ("aws", b.NOW)),
        ("as before", (AWS, LAUNCHING), EAST, ("aws/us-east-1", b.ago(60))),
        ("another place", (AWS, LAUNCHING), {**EAST, "place": "aws/us-west-2"}, THERE_NOW),
        ("a launch at the same place again", (AWS, LAUNCHING), {**EAST, "place_since": None}, THERE_NOW),
        ("a clock that was set back", (AWS, LAUNCHING), {**EAST, "place_since": b.ago(-60)}, THERE_NOW),
        ("nothing is launched", (AWS,), {}, (None, None)),
        ("nothing is up yet", (LAUNCHING,), {}, (None, None)),
        ("SkyPilot does not say where", (b.row(R1, cloud="", region="us-east-1"), LAUNCHING), {}, (None, None)),
        ("pods", (b.row(R1, region="in-cluster"), LAUNCHING), {}, (None, None)),
    ],
)
def test_where_machines_come_up_and_since_when(
    says: str, seen: tuple[Any, ...], before: dict[str, Any], expected: tuple[str | None, Any]
) -> None:
    found = after(b.ledger(infra="aws", **before), skypilot=b.seen(*seen))
    assert (found.place, found.place_since) == expected, says


@pytest.mark.parametrize(
    ("says", "seen", "before", "expected"),
    [
        ("a worker has it now", b.seen(b.request(R1)), None, b.NOW),
        ("a worker has had it for a while", b.seen(b.request(R1)), b.ago(9), b.ago(9)),
        ("the clock was set back", b.seen(b.request(R1)), b.ago(-9), b.NOW),
        ("it waits for a worker", b.seen(b.request(R1, state="PENDING")), b.ago(9), None),
        ("it has begun", b.seen(b.request(R1), b.row(R1, "INIT")), b.ago(9), None),
        ("it has ended", b.seen(), b.ago(9), None),
        ("a teardown is no launch", b.seen(b.request(R1, "down")), None, None),
        ("SkyPilot cannot be asked", b.AWAY, b.ago(9), b.ago(9)),
    ],
)
def test_since_when_a_worker_has_a_launch_with_which_it_has_not_begun(
    says: str, seen: Any, before: Any, expected: Any
) -> None:
    assert after(b.ledger(begun_at=before), skypilot=seen).begun_at == expected, says


def test_pods_are_never_rented() -> None:
    for infra in ("kubernetes", None):
        assert not after(b.ledger(infra=infra, renting=True), skypilot=b.seen(), health=Health.ANSWERS).renting


def test_a_teardown_under_way_is_noted_although_the_status_was_lost() -> None:
    going = b.seen(b.row(R1), b.request(R1, "down"))
    assert after(b.ledger(), skypilot=going).teardown_at == b.NOW
    assert after(b.ledger(teardown_at=b.ago(9)), skypilot=going).teardown_at == b.ago(9)


@pytest.mark.parametrize(
    ("kind", "seconds", "seen", "waits"),
    [
        ("launch", 119, (), True),
        ("launch", 121, (), False),
        ("launch", 5, (b.request(R1),), False),
        ("launch", 5, (b.row(R1),), False),
        ("down", 5, (b.row(R1),), True),
        ("down", 5, (b.row(R1), b.request(R1, "down")), False),
        ("exec", 5, (b.row(R1), b.request(R1, "launch")), True),
    ],
)
def test_a_request_without_an_answer_is_waited_for_until_it_is_seen_or_old(
    kind: str, seconds: float, seen: tuple[Any, ...], waits: bool
) -> None:
    found = after(b.ledger(unanswered=kind, unanswered_at=b.ago(seconds)), skypilot=b.seen(*seen))
    assert (found.unanswered, found.unanswered_at) == ((kind, b.ago(seconds)) if waits else ("", None))


def test_after_a_clock_was_set_back_it_is_waited_for_once_more() -> None:
    found = after(b.ledger(unanswered="down", unanswered_at=b.ago(-3600)))
    assert (found.unanswered, found.unanswered_at) == ("down", b.NOW)
    assert after(b.ledger(unanswered="down", unanswered_at=b.ago(-100))).unanswered_at == b.ago(-100)


def test_the_way_out_begins_once_and_ends_when_the_replica_is_wanted_again() -> None:
    found = after(Ledger(), wanted=False)
    assert (found.leaving_since, found.unpublished_since) == (b.NOW, b.NOW)
    going = b.ledger(leaving_since=b.ago(9), unpublished_since=b.ago(5))
    kept = after(going, wanted=False)
    assert (kept.leaving_since, kept.unpublished_since) == (b.ago(9), b.ago(5))
    assert after(going, wanted=False, published=True).unpublished_since is None
    assert after(going).leaving_since is None


def test_of_a_replica_that_is_torn_down_nothing_more_is_noted() -> None:
    torn_down = b.ledger(ready_since=b.ago(60), teardown_at=b.ago(5), leaving_since=b.ago(5))
    assert after(torn_down, wanted=False, health=Health.SILENT) == torn_down
    # Where its teardown failed and it is wanted again, its silence counts from now on.
    assert after(torn_down, health=Health.SILENT).silent_since == b.NOW
    leaves = b.ledger(ready_since=b.ago(60), leaving_since=b.ago(5))
    found = after(leaves, wanted=False, health=Health.SILENT)
    assert (found.silent_since, found.unpublished_since) == (b.NOW, b.NOW)


def counted(ledger: Ledger, reason: Reason = Reason.INSTANCE_LOST, **options: Any) -> Finding:
    view = View(b.NOW, b.facts(R1), ledger, may_launch=options.pop("may_launch", True))
    return count(view, ledger, "lost/1", Failure(reason, "gone"), LAUNCH, **options)


class TestFailures:
    @pytest.mark.parametrize(
        ("attempts", "reason", "wait_s"),
        [
            (0, Reason.INSTANCE_LOST, 0),
            (1, Reason.INSTANCE_LOST, 20),
            (0, Reason.QUOTA_EXCEEDED, 30),
        ],
    )
    def test_only_the_first_in_a_row_is_mended_at_once(self, attempts: int, reason: Reason, wait_s: int) -> None:
        found = counted(b.ledger(attempts=attempts, counted="x"), reason, first_at_once=True)
        assert found.ledger.retry_after == b.NOW + timedelta(seconds=wait_s)
        assert (found.actions == (LAUNCH,)) is (wait_s == 0)
        assert found.next_look_s == (wait_s or 5)

    def test_that_are_new_do_not_take_over_the_wait_of_the_one_before(self) -> None:
        before = b.ledger(counted="lost/0", attempts=1, retry_after=b.ago(5))
        assert counted(before).ledger.retry_after == b.NOW + timedelta(seconds=20)

    def test_wait_where_at_once_is_not_asked_for(self) -> None:
        assert counted(b.ledger()).next_look_s == 10

    def test_that_wait_for_room_look_for_it_no_more_often_than_others(self) -> None:
        found = counted(b.ledger(), first_at_once=True, launches=True, may_launch=False)
        assert (found.actions, found.next_look_s) == ((), 5)
        assert counted(b.ledger(), first_at_once=True, may_launch=False).actions == (LAUNCH,)

    def test_that_are_final_are_not_mended_although_their_wait_is_over(self) -> None:
        """``retryUntilUp`` was turned off meanwhile."""
        found = counted(b.ledger(counted="lost/1", attempts=1, retry_after=b.ago(1)), final=True)
        assert (found.actions, found.next_look_s, found.ledger.retry_after) == ((), None, None)
        assert found.ledger.final

    def test_of_the_same_kind_count_once_and_keep_their_wait(self) -> None:
        first = counted(b.ledger(), restarts=True).ledger
        again = counted(first, restarts=True).ledger
        assert (first.attempts, first.restarts) == (again.attempts, again.restarts) == (1, 1)
        assert again.retry_after == first.retry_after
        assert counted(b.ledger()).ledger.restarts == 0

    def test_are_a_crash_loop_only_where_the_engine_ended(self) -> None:
        assert counted(b.ledger(attempts=2)).reason is Reason.INSTANCE_LOST
        assert counted(b.ledger(attempts=2), Reason.ENGINE_EXITED).reason is Reason.ENGINE_CRASH_LOOP
        assert counted(b.ledger(attempts=1), Reason.ENGINE_EXITED).reason is Reason.ENGINE_EXITED


@pytest.mark.parametrize(
    ("health", "words"), [(Health.ANSWERS, "answers at"), (Health.UNKNOWN, "this operator has not asked it yet")]
)
def test_an_engine_that_serves_is_said_to_answer_once_it_was_asked(health: Health, words: str) -> None:
    known = b.facts(R1, skypilot=UP, job=b.job(JobState.ACTIVE))
    at = Address(b.host(), b.PORT)
    message = want(View(b.NOW, known, b.ledger(), address=at, health=health, published=True)).message
    assert words in message
    assert str(at) in message


def test_an_engine_that_answers_is_looked_at_again_while_a_request_may_be_heard() -> None:
    ready = b.ledger(ready_since=b.ago(60))
    for ledger, look in ((ready, None), (ready.model_copy(update={"unanswered": "exec", "unanswered_at": b.NOW}), 5)):
        known = b.facts(R1, skypilot=UP, job=b.job(JobState.ACTIVE))
        assert want(View(b.NOW, known, ledger, health=Health.ANSWERS)).next_look_s == look


@pytest.mark.parametrize(("cloud", "passing"), [("KUBERNETES", True), ("AWS", False)])
def test_the_first_probe_of_an_engine_is_waited_for_unless_it_needs_a_certificate(cloud: str, passing: bool) -> None:
    facts = b.facts(R1, skypilot=b.seen(b.row(R1, cloud=cloud)))
    ledger = b.ledger(certificate_until=b.ago(-999))
    found = want(View(b.NOW, facts, ledger, address=Address("10.0.0.9", b.PORT), health=Health.UNKNOWN))
    assert (found.reason, found.passing) == (Reason.ENGINE_STARTING, passing)


def test_a_request_of_which_nobody_knows_when_it_was_sent_is_waited_for_once() -> None:
    assert after(b.ledger(unanswered="down")).unanswered_at == b.NOW
    assert after(b.ledger(unanswered="of a newer operator", unanswered_at=b.ago(121))).unanswered == ""
    assert after(b.ledger(unanswered="of a newer operator", unanswered_at=b.ago(5))).unanswered != ""
