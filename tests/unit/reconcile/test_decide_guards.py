"""Guards of the decision, each with the case in which it matters. ``make mutants`` found what no other test noticed."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import SecretKeyRef
from deepseek_operator.api.status import DeepSeekDeploymentStatus, Instance, Ledger, Phase
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Failure, Known, Probe, ProbeTarget
from deepseek_operator.facts.skypilot import JobState
from deepseek_operator.facts.world import NOT_ASKED, QuestionKind, World
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import (
    AddFinalizer,
    ApplyService,
    Launch,
    PublishEndpoints,
    TearDown,
    UnpublishEndpoints,
)
from deepseek_operator.reconcile.decide import Decision, decide
from tests.unit.reconcile import builders as b

NO_PLAN = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")
SECRET: dict[str, Any] = {"endpoint": {"apiKeySecretRef": {"name": "key", "key": "token"}}}
REF = SecretKeyRef(name="key", key="token")


def decided(world: World, plan: Refused | None = None, **options: Any) -> Decision:
    return decide(world, plan or b.planned(world.deployment), **options)


def asked(decision: Decision) -> list[QuestionKind]:
    return [question.kind for question in decision.asks]


class TestAfterPublishingAnotherPassFollows:
    OF = b.deployment()
    NAME = b.name(OF)

    def test_not_where_nothing_waits_for_it(self) -> None:
        decision = decided(replace(b.serving(self.OF), endpoints=()))
        assert [type(action) for action in decision.publish] == [PublishEndpoints]
        assert not decision.goes_on

    @pytest.mark.parametrize(
        ("says", "world"),
        [
            ("its port is probed next", replace(b.serving(OF), service=None)),
            ("nothing leads to a proxy any more", replace(b.serving(OF), probes=b.silent(Address(b.host(), b.PORT)))),
            ("an old replica makes room", b.serving(OF, b.older(OF), NAME)),
            ("a replica drains", b.serving(b.deployment(replicas=0))),
            ("a proxy finds it", b.serving(b.deployment(endpoint={"proxy": True}))),
        ],
    )
    def test_where(self, says: str, world: World) -> None:
        assert decided(world).goes_on, says


class TestSecretsAreRead:
    def test_not_while_everything_that_is_wanted_serves(self) -> None:
        assert asked(decided(b.serving(b.deployment(**SECRET)))) == []

    @pytest.mark.parametrize("off", [{"suspend": True}, {"deleting": True}, {"replicas": 0}])
    def test_not_when_nothing_is_wanted(self, off: dict[str, Any]) -> None:
        assert asked(decided(b.world(b.deployment(**SECRET, **off)))) == []

    def test_not_while_everything_is_given_back(self) -> None:
        of = b.deployment(**SECRET, deleting=True)
        name = b.name(of)
        assert asked(decided(b.world(of, b.facts(name, skypilot=b.seen(b.row(name)))))) == []

    def test_when_a_replica_is_silent(self) -> None:
        world = b.serving(b.deployment(**SECRET))
        silent = replace(world, probes=b.silent(Address(b.host(), b.PORT)))
        assert QuestionKind.SECRET in asked(decided(silent))

    def test_when_only_an_older_revision_serves(self) -> None:
        of = b.deployment(**SECRET)
        assert asked(decided(b.serving(of, b.older(of)))) == [QuestionKind.SECRET]

    @pytest.mark.parametrize(("answer", "again"), [("", False), ("Secret key does not exist", True)])
    def test_again_until_they_are_there(self, answer: str, again: bool) -> None:
        world = b.world(b.deployment(**SECRET), secrets={REF: Known(answer, b.NOW)})
        assert (asked(decided(world)) == [QuestionKind.SECRET]) is again


class TestTheNextLook:
    def test_comes_soon_while_something_is_wanted_and_blocked(self) -> None:
        assert decided(b.world(b.deployment()), NO_PLAN).next_look_s == 5

    def test_comes_soon_while_skypilot_cannot_be_asked(self) -> None:
        world = b.serving(b.deployment())
        assert decided(replace(world, skypilot=b.AWAY)).next_look_s == 5

    @pytest.mark.parametrize("off", [{"suspend": True}, {"replicas": 0}])
    def test_needs_an_event_where_nothing_is_wanted(self, off: dict[str, Any]) -> None:
        assert decided(b.world(b.deployment(**off)), NO_PLAN).next_look_s is None


def test_a_launch_whose_pods_find_no_node_makes_room_only_when_another_one_waits() -> None:
    of = b.deployment()
    name = b.name(of)
    stuck = b.facts(
        name,
        skypilot=b.seen(b.request(name, since=30), b.row(name, "INIT")),
        pods=(b.pod(name, phase="Pending", trouble=Failure(Reason.UNSCHEDULABLE, "0/1 nodes are available")),),
    )
    assert decided(b.world(of, stuck)).actions == ()
    assert decided(b.world(of, stuck), launches_waiting=True).actions == ((name, TearDown(name)),)


@pytest.mark.parametrize(("of_now", "updated"), [(True, 1), (False, 0)])
def test_a_replica_that_goes_is_of_the_revision_that_it_runs(of_now: bool, updated: int) -> None:
    of = b.deployment(replicas=0)
    _, status = b.step(b.serving(of, b.name(of) if of_now else b.older(of)))
    assert [one.phase for one in status.instances] == [Phase.TERMINATING]
    assert status.updated_replicas == updated


def test_nothing_is_torn_down_before_the_finalizer_is_there() -> None:
    of = b.deployment(held=False, replicas=0)
    name = b.name(of)
    decision = decided(b.world(of, b.facts(name, skypilot=b.seen(b.row(name)))))
    assert (decision.finalizer, decision.actions) == (AddFinalizer(), ())


@pytest.mark.parametrize("unknown", [NOT_ASKED, b.AWAY], ids=["not asked", "away"])
def test_nothing_is_launched_while_skypilot_cannot_be_asked(unknown: Any) -> None:
    (replica,) = decided(b.world(b.deployment(), skypilot=unknown)).replicas
    assert replica.finding.actions == ()


class TestAnOlderReplica:
    """One of an older revision, beside one of the current revision that is not up yet."""

    OF = b.deployment()
    NEW, OLD = b.name(OF), b.older(OF)
    AT = Address(b.host(), b.PORT)

    def kept(self, ledger: Ledger, world: World) -> bool:
        of = b.remembering(self.OF, {self.OLD: ledger})
        decision = decided(replace(world, deployment=of))
        found = next(replica for replica in decision.replicas if replica.name == self.OLD)
        return found.finding.phase is not Phase.TERMINATING

    def beside(self, *, pods: bool = True, **fields: Any) -> World:
        old = b.up(self.OLD) if pods else b.facts(self.OLD, skypilot=b.seen(b.row(self.OLD)))
        return b.world(self.OF, old, b.facts(self.NEW, skypilot=b.seen(b.request(self.NEW))), **fields)

    def test_that_stopped_answering_a_moment_ago_may_come_back(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert self.kept(b.ledger(silent_since=b.ago(30)), world)

    def test_that_has_been_silent_for_a_minute_goes(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert not self.kept(b.ledger(silent_since=b.ago(61)), world)

    def test_that_never_answered_goes(self) -> None:
        world = self.beside(probes=b.silent(self.AT))
        assert not self.kept(b.ledger(), world)

    def test_whose_pods_are_gone_goes(self) -> None:
        assert not self.kept(b.ledger(silent_since=b.ago(5)), self.beside(pods=False))


class TestOfTwoOlderReplicas:
    """One goes, because the first of the current revision serves."""

    def test_the_dearest_goes_first(self) -> None:
        of = b.deployment(replicas=2)
        cheap, dear, new = b.older(of, 0), b.older(of, 1), b.name(of, 2)
        for costs, expected in ((("1.00", "2.00"), dear), (("2.00", "1.00"), cheap)):
            world = b.serving(of, cheap, dear, new)
            priced = dict(zip((str(cheap), str(dear)), costs, strict=True))
            instances = tuple(
                one.model_copy(update={"hourly_cost": priced.get(one.name)})
                for one in world.deployment.status.instances
            )
            status = world.deployment.status.model_copy(update={"instances": instances})
            remembered = replace(world, deployment=world.deployment.model_copy(update={"status": status}))
            going = [r.name for r in decided(remembered).replicas if r.finding.phase is Phase.TERMINATING]
            assert going == [expected]

    def test_a_price_that_cannot_be_read_counts_as_none(self) -> None:
        of = b.deployment(replicas=1)
        first, second = b.name(of, 0), b.name(of, 1)
        world = b.serving(of, first, second)
        instances = tuple(one.model_copy(update={"hourly_cost": "a lot"}) for one in world.deployment.status.instances)
        status = world.deployment.status.model_copy(update={"instances": instances})
        remembered = replace(world, deployment=world.deployment.model_copy(update={"status": status}))
        going = [r.name for r in decided(remembered).replicas if r.finding.phase is Phase.TERMINATING]
        assert going == [second]


def test_a_remembered_replica_is_launched_again_only_where_the_rollout_has_room() -> None:
    """Two of the older revision serve and may not be missed; of the new ones, surge allows one."""
    of = b.deployment(replicas=2, updateStrategy={"maxSurge": 1, "maxUnavailable": 0})
    olders = (b.older(of, 0), b.older(of, 1))
    lost = (b.name(of, 2), b.name(of, 3))
    world = b.serving(of, *olders)
    ledgers = {b.named(one.name): one.ledger for one in world.deployment.status.instances} | {
        name: Ledger() for name in lost
    }
    remembered = b.remembering(of, ledgers)
    replicas = {**world.replicas, **{name: b.facts(name) for name in lost}}
    decision = decided(replace(world, deployment=remembered, replicas=replicas))
    assert decision.actions == ((lost[0], Launch(lost[0])),)
    waiting = next(replica for replica in decision.replicas if replica.name == lost[1])
    assert waiting.finding.reason is Reason.ROLLING_OUT


class TestWhatIsShownWhileNothingNewIsKnown:
    """A restarted operator goes on saying what its predecessor said."""

    def after_restart(self, said: Instance | None, **spec: Any) -> str:
        """The message of the only replica, one pass after the start of the process."""
        of = b.deployment(**spec)
        name = b.name(of)
        instances = (said,) if said is not None else ()
        status = DeepSeekDeploymentStatus(instances=instances)
        known = b.facts(name, skypilot=NOT_ASKED)
        world = b.world(of.model_copy(update={"status": status}), known, skypilot=NOT_ASKED)
        (replica,) = decided(world).replicas
        return replica.finding.message

    def said(self, phase: Phase, of: DeepSeekDeployment | None = None, **fields: Any) -> Instance:
        fields = {"reason": "Launching", "message": "SkyPilot found a node", "ledger": b.ledger(), **fields}
        return Instance(name=str(b.name(of or b.deployment())), revision="r", phase=phase, **fields)

    def test_a_launch_is_still_described_in_skypilots_words(self) -> None:
        assert self.after_restart(self.said(Phase.LAUNCHING)) == "SkyPilot found a node"

    def test_each_replica_is_described_in_its_own_words(self) -> None:
        of = b.deployment(replicas=2)
        told = {b.name(of, 0): "SkyPilot found a node", b.name(of, 1): "SkyPilot found none"}
        instances = tuple(
            self.said(Phase.LAUNCHING, message=words).model_copy(update={"name": str(name)})
            for name, words in told.items()
        )
        remembered = of.model_copy(update={"status": DeepSeekDeploymentStatus(instances=instances)})
        world = b.world(remembered, *(b.facts(name, skypilot=NOT_ASKED) for name in told), skypilot=NOT_ASKED)
        assert {one.name: one.finding.message for one in decided(world).replicas} == told

    def test_where_nothing_was_said_nothing_is_repeated(self) -> None:
        of = b.deployment()
        name = b.name(of)
        going = b.facts(name, skypilot=NOT_ASKED, pods=(b.pod(name),))
        world = b.world(b.deployment(deleting=True), going, skypilot=NOT_ASKED)
        (replica,) = decided(world).replicas
        assert (replica.finding.passing, replica.finding.phase) == (True, Phase.TERMINATING)

    def test_without_a_reason_nothing_was_said(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.LAUNCHING, reason=""))

    def test_ready_is_never_repeated_without_an_answer(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.READY, reason="Ready"))

    def test_a_replica_that_goes_now_is_not_described_as_coming(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.LAUNCHING), suspend=True)

    def test_a_replica_that_is_wanted_again_is_not_described_as_going(self) -> None:
        assert "found a node" not in self.after_restart(self.said(Phase.TERMINATING))


class TestARentedReplica:
    OF = b.deployment()
    NAME = b.name(OF)
    LEDGER = b.ledger(infra="aws")

    def questions(self, known: Any, ledger: Ledger = LEDGER) -> list[QuestionKind]:
        of = b.remembering(self.OF, {self.NAME: ledger})
        places = (QuestionKind.ENDPOINT, QuestionKind.HISTORY)
        return [kind for kind in asked(decided(b.world(of, known))) if kind in places]

    def test_is_asked_for_its_address_once_it_is_up(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        assert self.questions(known) == [QuestionKind.ENDPOINT]

    def test_is_not_asked_while_a_request_is_under_way(self) -> None:
        seen = b.seen(b.row(self.NAME, cloud="AWS"), b.request(self.NAME))
        assert self.questions(b.facts(self.NAME, skypilot=seen)) == []

    def test_is_not_asked_for_its_address_again_when_that_is_known(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        assert self.questions(known, b.ledger(infra="aws", address="54.0.0.1:8000")) == []

    def test_is_not_asked_for_its_address_where_its_port_is_not_known(self) -> None:
        known = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), job=b.job(JobState.ACTIVE))
        of = b.remembering(self.OF, {self.NAME: b.ledger(infra="aws", port=None)})
        nothing_fits = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")
        assert QuestionKind.ENDPOINT not in asked(decided(b.world(of, known), nothing_fits))

    def test_without_a_record_is_asked_whether_it_was_terminated(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.1:8000", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME), ledger) == [QuestionKind.HISTORY]

    def test_is_not_asked_about_twice(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.1:8000", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME, terminated=Known(None, b.NOW)), ledger) == []

    def test_without_an_address_and_without_a_record_is_asked_whether_it_was_terminated(self) -> None:
        ledger = b.ledger(infra="aws", ready_since=b.ago(60))
        assert self.questions(b.facts(self.NAME), ledger) == [QuestionKind.HISTORY]

    @pytest.mark.parametrize(
        ("state", "price", "known", "asks"),
        [
            ("UP", None, NOT_ASKED, True),
            ("INIT", None, NOT_ASKED, False),
            ("UP", "0.80", NOT_ASKED, False),
            ("UP", None, Known(None, b.NOW), False),
        ],
    )
    def test_is_asked_for_its_price_once_it_is_up(self, state: str, price: str | None, known: Any, asks: bool) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger(infra="aws", price=price)})
        listed = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, state, cloud="AWS")), price=known)
        assert (QuestionKind.PRICE in asked(decided(b.world(of, listed)))) is asks

    @pytest.mark.parametrize(
        ("price", "known", "asks"),
        [(None, NOT_ASKED, True), (None, Known(None, b.NOW), False), ("0.80", NOT_ASKED, False)],
    )
    def test_that_answers_at_once_is_asked_how_its_launch_went_all_the_same(
        self, price: str | None, known: Any, asks: bool
    ) -> None:
        ledger = b.ledger(infra="aws", price=price, address="54.0.0.1:8000", ready_since=b.ago(60))
        of = b.remembering(self.OF, {self.NAME: ledger})
        serving = b.facts(self.NAME, skypilot=b.seen(b.row(self.NAME, cloud="AWS")), outcome=known)
        decision = decided(b.world(of, serving, probes=b.answering(Address("54.0.0.1", 8000))))
        assert decision.replicas[0].ready
        assert (QuestionKind.OUTCOME in asked(decision)) is asks

    def test_without_a_record_is_not_asked_for_its_price(self) -> None:
        of = b.remembering(self.OF, {self.NAME: self.LEDGER})
        assert QuestionKind.PRICE not in asked(decided(b.world(of, b.facts(self.NAME))))

    def test_of_the_cluster_itself_is_never_asked_where_it_is(self) -> None:
        assert self.questions(b.up(self.NAME), b.ledger()) == []


class TestProbes:
    """Which addresses are probed, and how."""

    OF = b.deployment()
    NAME = b.name(OF)
    AT = Address(b.host(), b.PORT)

    def test_of_a_replica_that_serves_and_of_its_service(self) -> None:
        targets = decided(b.serving(self.OF)).targets
        assert targets == {
            self.AT: ProbeTarget("/health", trusted=True),
            b.SERVICE: ProbeTarget("/health", keep_alive=False),
        }

    def test_of_a_replica_that_comes_but_not_of_its_service(self) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger()})
        world = b.world(of, b.up(self.NAME), probes=b.silent(self.AT))
        assert decided(world).targets == {self.AT: ProbeTarget("/health")}

    def test_need_an_address(self) -> None:
        assert decided(b.world(self.OF, b.facts(self.NAME, skypilot=b.seen(b.request(self.NAME))))).targets == {}

    def test_of_a_service_need_its_address(self) -> None:
        assert set(decided(replace(b.serving(self.OF), service=None)).targets) == {self.AT}

    def test_use_the_path_of_the_launch_and_else_that_of_the_plan(self) -> None:
        for remembered, expected in (("/ready", "/ready"), (None, "/health")):
            of = b.remembering(self.OF, {self.NAME: b.ledger(health_path=remembered)})
            target = decided(b.world(of, b.up(self.NAME))).targets[self.AT]
            assert target.path == expected

    def test_without_a_plan_use_the_path_that_all_engines_have(self) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger(health_path=None)})
        assert decided(b.world(of, b.up(self.NAME)), NO_PLAN).targets[self.AT].path == "/health"

    def test_use_the_path_of_the_plan_where_the_launch_is_forgotten(self) -> None:
        of = b.remembering(self.OF, {self.NAME: b.ledger(health_path=None)})
        planned = b.planned(self.OF)
        plan = replace(planned, health_path="/ready")
        assert decide(b.world(of, b.up(self.NAME)), plan).targets[self.AT].path == "/ready"

    def leaving(self, *, published: bool, since: float, engine: str = "VLLM", running: int = 3) -> World:
        """A replica that serves and is not wanted any more."""
        of = b.deployment(replicas=0)
        ledger = b.ledger(
            ready_since=b.ago(300),
            engine=engine,
            drain_seconds=120,
            leaving_since=b.ago(since),
            unpublished_since=None if published else b.ago(since),
        )
        return b.world(
            b.remembering(of, {self.NAME: ledger}),
            b.up(self.NAME),
            probes={self.AT: Probe(True, b.ago(60), running=running)},
            endpoints=(b.endpoints(self.AT),) if published else (),
        )

    def test_count_the_running_requests_of_a_replica_that_drains(self) -> None:
        target = decided(self.leaving(published=False, since=5)).targets[self.AT]
        assert target.running == ("vllm:num_requests_running", "vllm:num_requests_waiting")

    def test_count_nothing_where_the_engine_is_not_known(self) -> None:
        assert decided(self.leaving(published=False, since=5, engine="Triton")).targets[self.AT].running == ()

    def test_go_on_while_the_service_still_leads_to_it(self) -> None:
        assert self.AT in decided(self.leaving(published=True, since=3600)).targets

    def test_go_on_while_the_service_leads_to_one_that_does_not_drain(self) -> None:
        world = self.leaving(published=True, since=5)
        status = world.deployment.status
        deleting = replace(world, deployment=b.deployment(deleting=True, status=status))
        assert decided(deleting).targets[self.AT].running == (), "a deletion does not wait for requests"

    def test_end_when_it_has_drained(self) -> None:
        assert decided(self.leaving(published=False, since=5, running=0)).targets == {}

    def test_count_nothing_of_a_replica_that_stays(self) -> None:
        assert decided(b.serving(self.OF)).targets[self.AT].running == ()


class TestAnAddressThatNobodyCanPlace:
    """The Service leads to an address, and the status that said whose it is was lost."""

    STRAY = Address("54.0.0.1", 8000)
    OF = b.deployment()
    NAME = b.name(OF)

    def kept(self, known: Any, ledger: Ledger | None = None, *, suspend: bool = False, **fields: Any) -> bool:
        of = b.deployment(suspend=suspend)
        of = b.remembering(of, {self.NAME: ledger}) if ledger is not None else of
        world = b.world(of, known, endpoints=(b.endpoints(self.STRAY),), **fields)
        published = [action for action in decided(world).publish if isinstance(action, UnpublishEndpoints)]
        return published == []

    def row(self, cloud: str) -> Any:
        return b.seen(b.row(self.NAME, cloud=cloud))

    def test_stays_while_skypilot_has_not_been_asked(self) -> None:
        assert self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), skypilot=NOT_ASKED)

    def test_goes_where_only_a_replica_that_goes_could_answer_there(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), skypilot=NOT_ASKED, suspend=True)

    def test_stays_while_skypilot_is_away_and_something_was_launched(self) -> None:
        ledger = b.ledger(infra=None)
        assert self.kept(b.facts(self.NAME, skypilot=b.AWAY), ledger, skypilot=b.AWAY)

    def test_goes_while_skypilot_is_away_and_nothing_was_launched(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=b.AWAY), Ledger(), skypilot=b.AWAY)

    def test_stays_until_a_rented_machine_has_said_where_it_is(self) -> None:
        assert self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), job=b.job(JobState.ACTIVE)))

    def test_goes_when_that_is_known(self) -> None:
        elsewhere = Known(Address("54.0.0.2", 8000), b.NOW)
        known = b.facts(self.NAME, skypilot=self.row("AWS"), endpoint=elsewhere, job=b.job(JobState.ACTIVE))
        assert not self.kept(known)

    def test_goes_where_the_status_says_where_the_machine_is(self) -> None:
        ledger = b.ledger(infra="aws", address="54.0.0.2:8000")
        assert not self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), job=b.job(JobState.ACTIVE)), ledger)

    def test_goes_where_the_replica_has_pods(self) -> None:
        assert not self.kept(b.up(self.NAME))

    def test_goes_where_the_replica_runs_on_kubernetes(self) -> None:
        assert not self.kept(b.facts(self.NAME, skypilot=NOT_ASKED), b.ledger(), skypilot=NOT_ASKED)

    @pytest.mark.parametrize(
        ("infra", "published", "stays"), [(None, True, True), (None, False, False), ("kubernetes", True, False)]
    )
    def test_keeps_an_older_replica_to_which_it_may_belong(
        self, infra: str | None, published: bool, stays: bool
    ) -> None:
        old = b.older(self.OF)
        of = b.remembering(self.OF, {old: b.ledger(infra=infra)})
        slices = (b.endpoints(self.STRAY),) if published else ()
        world = b.world(of, b.facts(old, skypilot=NOT_ASKED), skypilot=NOT_ASKED, endpoints=slices)
        phases = {replica.name: replica.finding.phase for replica in decided(world).replicas}
        assert (phases[old] is not Phase.TERMINATING) is stays

    def test_goes_where_skypilot_says_that_there_is_none(self) -> None:
        nowhere = Known(None, b.NOW)
        assert not self.kept(b.facts(self.NAME, skypilot=self.row("AWS"), endpoint=nowhere, job=b.job(JobState.ACTIVE)))

    def test_is_none_where_it_belongs_to_a_replica_that_is_known(self) -> None:
        of, at = b.deployment(replicas=2), Address(b.host(), b.PORT)
        current, old = b.name(of), b.older(of, 1)
        ledgers = {current: b.ledger(ready_since=b.ago(60)), old: b.ledger(infra=None)}
        world = b.world(
            b.remembering(of, ledgers), b.up(current), b.facts(old, skypilot=NOT_ASKED),
            probes=b.answering(at), endpoints=(b.endpoints(at),),
        )  # fmt: skip
        assert [one.name for one in decided(world).replicas if one.finding.phase is Phase.TERMINATING] == [old]

    def test_goes_where_no_cluster_is_left(self) -> None:
        assert not self.kept(b.facts(self.NAME))


def test_a_replica_that_stays_and_does_not_serve_holds_no_port_of_the_service() -> None:
    of = b.deployment(endpoint={"port": 9000})
    old = b.older(of)
    kept = b.remembering(of, {old: b.ledger(silent_since=b.ago(10), address=f"{b.host()}:{b.PORT}")})
    decision = decided(b.world(kept, b.up(old), service=b.service(9000, 8000)))
    assert next(one.finding.phase for one in decision.replicas if one.name == old) is not Phase.TERMINATING
    assert decision.publish == (ApplyService((9000,), "ClusterIP"),)


def test_a_replica_that_drains_keeps_the_old_port_of_the_service() -> None:
    """Its clients still use it, until its last request has ended."""
    of = b.deployment(replicas=1, endpoint={"port": 9000})
    old = b.older(of)
    world = b.serving(of, old, b.name(of, 1))
    drained = {"ready_since": b.ago(300), "drain_seconds": 120, "leaving_since": b.ago(5)}
    for unpublished, kept in ((b.ago(2), True), (b.ago(3600), False)):
        ledgers = {
            old: b.ledger(**drained, unpublished_since=unpublished, address=f"{b.host()}:{b.PORT}"),
            b.name(of, 1): b.ledger(ready_since=b.ago(60), port=9000, address=f"{b.host(1)}:9000"),
        }
        moved = replace(
            world,
            deployment=b.remembering(world.deployment, ledgers),
            probes=b.answering(Address(b.host(), b.PORT), Address(b.host(1), 9000), b.SERVICE),
            endpoints=(b.endpoints(Address(b.host(1), 9000)),),
            service=b.service(9000, 8000),
        )
        dropped = [action for action in decided(moved).publish if isinstance(action, ApplyService)]
        assert (dropped == []) is kept


def test_no_old_replica_makes_room_for_a_spec_that_cannot_be_planned() -> None:
    of = b.deployment(replicas=2, updateStrategy={"maxSurge": 0, "maxUnavailable": 1})
    found = decided(b.serving(of, b.older(of, 0), b.older(of, 1)), NO_PLAN).replicas
    assert [replica.finding.phase for replica in found] == [Phase.READY, Phase.READY]


def test_a_spec_that_cannot_be_planned_adds_no_replica_that_waits() -> None:
    assert decided(b.world(b.deployment()), NO_PLAN).replicas == ()


def test_an_old_replica_whose_engine_answers_again_before_its_start_has_ended_may_come_back() -> None:
    of = b.deployment()
    old = b.older(of)
    known = b.remembering(of, {old: b.ledger(silent_since=b.ago(20))})
    starting = b.facts(old, skypilot=b.seen(b.row(old), b.request(old, "exec")), pods=(b.pod(old),))
    world = b.world(known, starting, probes=b.answering(Address(b.host(), b.PORT)))
    found = {replica.name: replica.finding.phase for replica in decided(world).replicas}
    assert found[old] is not Phase.TERMINATING
