"""Which addresses a pass has probed, on which path, and what is counted there."""

from dataclasses import replace

from deepseek_operator.facts.base import Address, Probe, ProbeTarget
from deepseek_operator.facts.world import World
from deepseek_operator.reconcile.decide import decide
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.decisions import NO_PLAN, decided


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
