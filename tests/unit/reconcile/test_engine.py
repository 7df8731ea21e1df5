"""What a status says of an engine's own figures: what it writes, when, and when it warns."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.spec import EngineName
from deepseek_operator.api.status import DeepSeekDeploymentStatus, EngineStatus, Instance
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known, Unknown
from deepseek_operator.facts.engine import EngineReading, EngineTarget, Load, differs
from deepseek_operator.facts.world import World
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.engine import engine_status, too_optimistic
from deepseek_operator.reconcile.events import EventNote, notes
from tests.unit.reconcile import builders as b

OF = b.deployment(
    model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"},
    engine={"name": "VLLM"},
    resources={"accelerators": ["L4:1"]},
)
PLAN = b.planned(OF)
PLANNED = PLAN.kv_cache_tokens("L4:1")
assert PLANNED is not None
AT = Address(b.host(), b.PORT)
SILENT = Unknown("connection refused", b.NOW)


def status_of(before: EngineStatus | None, fact: Any, **fields: Any) -> EngineStatus | None:
    previous = Instance(name="r1-0", engine=before)
    return engine_status(previous, fact, PLAN, "L4:1", **{"current": True, "serving": True, **fields})


def known(tokens: int | None = PLANNED, load: Load | None = None) -> Known[EngineReading]:
    return Known(EngineReading(tokens, load), b.NOW)


MEASURED = EngineStatus(kv_cache_tokens=PLANNED, planned_kv_cache_tokens=PLANNED)
BUSY = MEASURED.model_copy(
    update={"tokens_per_second": 510.0, "running": 8, "waiting": 0, "kv_cache_usage": 0.33},
)


class TestTheStatusOfAnEngine:
    @pytest.mark.parametrize(
        ("before", "fact", "after"),
        [
            (None, None, None),
            (None, SILENT, None),
            (None, known(None), None),
            (None, known(), MEASURED),
            (EngineStatus(kv_cache_tokens=PLANNED), known(), MEASURED),  # the plan came later
            (MEASURED, None, MEASURED),  # the operator has just started
            (MEASURED, SILENT, MEASURED),
            (MEASURED, known(load=Load(0.0, 0, 0, 0.0)), MEASURED),  # no traffic
            (MEASURED, known(load=Load(514.4, 8, 0, 0.3333)), BUSY),
            (MEASURED, known(load=Load(510.0)), MEASURED.model_copy(update={"tokens_per_second": 510.0})),
            (BUSY, known(), BUSY),
            (BUSY, SILENT, BUSY),
            (BUSY, known(load=Load(600.0, 12, 0, 0.9)), BUSY),  # steady traffic
            (BUSY, known(None, Load(600.0)), BUSY),
        ],
    )
    def test_changes_only_with_news(self, before: EngineStatus, fact: Any, after: EngineStatus) -> None:
        assert status_of(before, fact) == after

    @pytest.mark.parametrize("load", [Load(1000.0, 30, 0, 0.5), Load(0.0, 0, 0, 0.0), Load(510.0, 64, 90, 1.0)])
    def test_says_when_an_engine_gets_busier_idle_or_full(self, load: Load) -> None:
        after = status_of(BUSY, known(load=load))
        assert after is not None
        assert (after.tokens_per_second, after.waiting) == (load.tokens_per_second, load.waiting)

    def test_has_no_load_once_the_engine_does_not_serve(self) -> None:
        assert status_of(BUSY, known(load=Load(514.4)), serving=False) == MEASURED

    def test_keeps_the_plan_of_the_moment_at_which_it_was_measured(self) -> None:
        old = EngineStatus(kv_cache_tokens=100, planned_kv_cache_tokens=90)
        assert status_of(old, known(100)) == old
        assert status_of(old, known(200)) == EngineStatus(kv_cache_tokens=200, planned_kv_cache_tokens=PLANNED)

    def test_has_no_plan_for_an_older_revision_a_refused_spec_or_other_gpus(self) -> None:
        unplanned = EngineStatus(kv_cache_tokens=PLANNED)
        assert status_of(None, known(), current=False) == unplanned
        refused = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")
        assert engine_status(None, known(), refused, "L4:1", current=True, serving=True) == unplanned
        several = b.deployment(
            model={"name": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"}, resources={"accelerators": ["L4:1", "A10G:1"]}
        )
        plan = b.planned(several)
        assert engine_status(None, known(), plan, None, current=True, serving=True) == unplanned
        found = engine_status(None, known(), plan, "L4:1", current=True, serving=True)
        assert found is not None
        assert found.planned_kv_cache_tokens == PLANNED


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (None, None, False),
        (None, Load(0.0), False),
        (None, Load(0.0, waiting=1), True),
        (Load(100.0), None, False),
        (Load(100.0), Load(130.0), False),
        (Load(100.0), Load(134.0), True),
        (Load(100.0), Load(76.0), False),
        (Load(100.0), Load(74.0), True),
        (Load(0.0), Load(0.1), True),
        (Load(100.0, waiting=None), Load(100.0, waiting=0), False),
        (Load(100.0, waiting=10), Load(100.0, waiting=10), False),
        (Load(100.0, waiting=10), Load(100.0, waiting=0), True),
    ],
)
def test_two_loads_differ_by_a_quarter(before: Load | None, after: Load | None, news: bool) -> None:
    assert differs(before, after) is news


def test_the_engines_that_serve_are_read_and_no_others() -> None:
    decision = decide(b.serving(OF), PLAN)
    assert decision.engines == {AT: EngineTarget(EngineName.VLLM)}
    silent = replace(b.serving(OF), probes=b.silent(AT))
    assert decide(silent, PLAN).engines == {}


class TestAPlanThatWasTooOptimistic:
    @staticmethod
    def pass_(of: DeepSeekDeployment, tokens: int) -> tuple[DeepSeekDeploymentStatus, list[EventNote]]:
        """One pass over a replica whose engine reports so many tokens; the Events that are new."""
        world: World = replace(b.serving(OF), readings={AT: known(tokens)})
        memory = of.status.model_copy(update={"instances": of.status.instances or world.deployment.status.instances})
        _, after = b.step(replace(world, deployment=of.model_copy(update={"status": memory})), PLAN)
        found = [note for note in notes(of.status, after) if note.reason == Reason.PLAN_TOO_OPTIMISTIC]
        return after, found

    @pytest.mark.parametrize(
        ("share", "warned"), [(1.1, False), (1.0, False), (0.96, False), (0.94, True), (0.5, True)]
    )
    def test_is_one_by_more_than_five_per_cent(self, share: float, warned: bool) -> None:
        status, found = self.pass_(OF, int((PLANNED or 0) * share))
        assert bool(found) is warned
        assert status.plan_warned_revision == (b.name(OF).revision if warned else None)

    def test_is_none_any_more_where_only_an_older_replica_has_less_room(self) -> None:
        old = b.older(OF)
        world = b.serving(OF, old)
        small = EngineStatus(kv_cache_tokens=50, planned_kv_cache_tokens=100)
        instances = tuple(one.model_copy(update={"engine": small}) for one in world.deployment.status.instances)
        status = world.deployment.status.model_copy(update={"instances": instances})
        _, after = b.step(replace(world, deployment=world.deployment.model_copy(update={"status": status})), PLAN)
        assert next(one for one in after.instances if one.name == str(old)).engine == small
        assert after.plan_warned_revision is None

    def test_stays_told_when_the_replica_is_gone(self) -> None:
        told = OF.model_copy(update={"status": DeepSeekDeploymentStatus(plan_warned_revision="0ddba11f")})
        assert b.step(b.world(told), PLAN)[1].plan_warned_revision == "0ddba11f"

    def test_is_told_in_figures(self) -> None:
        status, found = self.pass_(OF, 1000)
        (note,) = found
        assert note.type == "Warning"
        assert note.message == (
            f"{status.instances[0].name}: the KV cache holds 1,000 tokens, {1 - 1000 / (PLANNED or 1):.0%} fewer than "
            f"the {PLANNED:,} that were planned; fewer or shorter requests run at once"
        )

    def test_is_told_once_per_revision_whoever_is_told_and_whatever_comes_and_goes(self) -> None:
        first, _ = self.pass_(OF, 1000)
        again = OF.model_copy(update={"status": first})  # as the next process finds it
        second, found = self.pass_(again, 900)
        assert found == []
        emptied = second.model_copy(update={"instances": ()})  # scaled to zero
        third, found = self.pass_(OF.model_copy(update={"status": emptied}), 900)
        assert found == []
        other = third.model_copy(update={"plan_warned_revision": "0ddba11f", "instances": ()})
        _, found = self.pass_(OF.model_copy(update={"status": other}), 900)
        assert len(found) == 1


def test_the_event_of_a_plan_names_a_replica_of_that_plan_with_less_room() -> None:
    small, enough = EngineStatus(kv_cache_tokens=50, planned_kv_cache_tokens=100), MEASURED
    instances = tuple(
        Instance(name=name, revision=revision, engine=engine, reason=Reason.READY)
        for name, revision, engine in (("older", "0ddba11f", small), ("fits", "now", enough), ("tight", "now", small))
    )
    before = DeepSeekDeploymentStatus(instances=instances)
    (note,) = notes(before, before.model_copy(update={"plan_warned_revision": "now"}))
    assert note.message.startswith("tight: the KV cache holds 50 tokens, 50% fewer than the 100")


@pytest.mark.parametrize(
    ("measured", "planned", "is_so"), [(None, 100, False), (90, None, False), (90, 100, True), (95, 100, False)]
)
def test_a_plan_is_too_optimistic_only_where_both_figures_are_known(
    measured: int | None, planned: int | None, is_so: bool
) -> None:
    engine = EngineStatus(kv_cache_tokens=measured, planned_kv_cache_tokens=planned)
    assert too_optimistic(Instance(name="r1-0", engine=engine)) is is_so
