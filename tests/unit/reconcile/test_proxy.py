"""When a proxy stands between the Service and the engines, and what it is made from."""

from dataclasses import replace
from typing import Any

import pytest

from deepseek_operator.api.reasons import Reason
from deepseek_operator.api.v1alpha1 import DeepSeekDeployment
from deepseek_operator.facts.base import Address, Known
from deepseek_operator.facts.kubernetes import Endpoints
from deepseek_operator.facts.names import revision_of
from deepseek_operator.facts.world import api_key_question
from deepseek_operator.launch.proxy import ProxySettings
from deepseek_operator.planning import Refused
from deepseek_operator.reconcile.actions import ApplyProxy, PublishEndpoints
from deepseek_operator.reconcile.decide import decide
from deepseek_operator.reconcile.proxy import front
from tests.unit.reconcile import builders as b
from tests.unit.reconcile.proxied import FRONTS, MACHINE, led, published, rented, with_proxy


class TestWhenThereIsOne:
    def test_replicas_of_the_cluster_need_none(self) -> None:
        assert published(b.serving(b.deployment())) == ()

    def test_a_rented_replica_brings_one(self) -> None:
        (members, applied) = published(rented())
        assert members == PublishEndpoints("r1-tls.8000", (MACHINE,), ("http",), "r1-tls")
        assert isinstance(applied, ApplyProxy)
        assert applied.spec.encrypted

    def test_it_is_made_while_the_machine_still_comes_up(self) -> None:
        world = rented(probes={}, ledger={"ready_since": None, "address": None})
        assert any(isinstance(action, ApplyProxy) for action in published(world))

    def test_a_user_may_ask_for_one(self) -> None:
        (members, applied) = published(with_proxy(b.serving(b.deployment())))
        assert members == PublishEndpoints("r1-plain.8000", (Address(b.host(), b.PORT),), ("http",), "r1-plain")
        assert isinstance(applied, ApplyProxy)
        assert (applied.spec.encrypted, applied.spec.authority, applied.spec.api_key) == (False, "", None)

    def test_a_machine_of_an_operator_without_tls_needs_none(self) -> None:
        assert published(rented(ledger={"certificate_until": None}))[0] == PublishEndpoints(
            "r1-8000", (MACHINE,), ("http",)
        )

    def test_one_that_has_read_another_authority_is_replaced(self) -> None:
        world = led(rented())
        renewed = replace(world, authority=Known("-----BEGIN CERTIFICATE----- another", b.NOW))
        assert [type(action) for action in published(renewed)] == [ApplyProxy]

    @pytest.mark.parametrize("authority", [b.AWAY, Known("", b.NOW)], ids=["unknown", "gone"])
    def test_none_is_made_before_its_authority_is_known(self, authority: Any) -> None:
        of = with_proxy(b.world(b.rented_deployment("kubernetes", "aws"), authority=authority))
        decision = decide(of, b.planned(of.deployment))
        assert decision.publish == ()
        assert of.authority_question in decision.asks
        made = replace(of, authority=b.AUTHORITY)
        assert [type(action) for action in published(made)] == [ApplyProxy]

    @pytest.mark.parametrize(
        ("says", "of", "planned", "tls", "asked"),
        [
            ("a machine, whatever the spec says now", b.deployment(), True, True, True),
            ("a machine, while nothing can be planned", b.rented_deployment(), False, True, True),
            ("a spec that may rent one", b.rented_deployment("kubernetes", "aws"), True, False, True),
            ("a spec that cannot", b.deployment(), True, False, False),
            ("nothing that is known", b.rented_deployment(), False, False, False),
        ],
    )
    def test_its_authority_is_asked_for_where_a_machine_may_need_it(
        self, says: str, of: DeepSeekDeployment, planned: bool, tls: bool, asked: bool
    ) -> None:
        world = with_proxy(b.world(of))
        found = front(world, b.planned(of) if planned else None, ProxySettings(), frozenset(), tls=tls)
        key = () if of.spec.endpoint.api_key_secret_ref else (api_key_question(of),)
        assert found.asks == ((world.authority_question, *key) if asked else ()), says

    def test_a_key_that_is_known_is_not_asked_for_again(self) -> None:
        of = b.deployment()
        world = with_proxy(b.world(of, api_key=Known("r1-api-key", b.NOW)))
        found = front(world, b.planned(of), ProxySettings(), frozenset(), tls=True)
        assert found.asks == (world.authority_question,)

    def test_one_that_is_complete_is_left_alone(self) -> None:
        assert published(led(rented())) == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"proxies": (b.proxy_pod(0, "other"), b.proxy_pod(1, "other"))},
            {"proxies": ()},
            {"services": frozenset({"r1", "r1-tls"})},
            {"proxies": tuple(replace(one, deleting=True) for one in led(rented()).proxies)},
        ],
        ids=["of another revision", "without pods", "without a Service", "with pods that go"],
    )
    def test_one_that_is_not_as_it_should_be_is_applied_again(self, change: dict[str, Any]) -> None:
        applied = [one for one in published(replace(led(rented()), **change)) if isinstance(one, ApplyProxy)]
        assert [one.pending for one in applied] == [False], "no pod of it waits for a Secret"

    def test_the_operators_key_is_added_and_that_of_the_user_is_not(self) -> None:
        (_, applied) = published(rented())
        assert isinstance(applied, ApplyProxy)
        assert applied.spec.api_key is None  # the user gave one
        spec = rented().deployment.spec
        without = spec.model_copy(update={"endpoint": spec.endpoint.model_copy(update={"api_key_secret_ref": None})})
        world = replace(rented(), deployment=rented().deployment.model_copy(update={"spec": without}))
        decision = decide(world, b.planner().plan(without))
        (own,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert own.spec.api_key is not None
        assert own.spec.api_key.name == "r1-api-key"

    def test_the_operators_key_is_added_while_machines_of_an_older_spec_ask_for_it(self) -> None:
        spec = rented().deployment.spec
        keyless = spec.model_copy(
            update={
                "endpoint": spec.endpoint.model_copy(update={"api_key_secret_ref": None}),
                "resources": spec.resources.model_copy(update={"infra": ("kubernetes",)}),
            }
        )
        world = replace(rented(), deployment=rented().deployment.model_copy(update={"spec": keyless}))
        decision = decide(replace(world, revision=revision_of(keyless)), b.planner().plan(keyless))
        (applied,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert applied.spec.encrypted
        assert applied.spec.api_key is not None

    def test_the_number_of_pods_is_the_operators(self) -> None:
        world = rented()
        decision = decide(world, b.planned(world.deployment), proxy=ProxySettings("x/haproxy:1", 3))
        (applied,) = [action for action in decision.publish if isinstance(action, ApplyProxy)]
        assert applied.spec.settings == ProxySettings("x/haproxy:1", 3)


class TestWhileTheSpecCannotBePlanned:
    """A price has risen since the machine was asked for, say."""

    REFUSED = Refused(Reason.DOES_NOT_FIT, "needs 654 GiB")

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_a_machine_that_is_rented_gets_its_proxy(self, path: str) -> None:
        world = rented(ledger={"health_path": path})
        (made,) = [one for one in decide(world, self.REFUSED).publish if isinstance(one, ApplyProxy)]
        assert (made.spec.health_path, made.spec.encrypted) == (path, True)

    def test_one_that_is_not_remembered_does_not(self) -> None:
        world = rented(ledger={"health_path": None})
        assert not any(isinstance(one, ApplyProxy) for one in decide(world, self.REFUSED).publish)

    @pytest.mark.parametrize(
        "stands",
        [
            {"proxies": (b.proxy_pod(0, "other"), b.proxy_pod(1, "other"))},
            {"endpoints": (Endpoints("r1-proxy", FRONTS, ("http",), "r1"),)},
        ],
        ids=["its pods run", "the Service leads to it, as an operator finds it that starts"],
    )
    def test_one_that_stands_goes_on_as_it_is(self, stands: dict[str, Any]) -> None:
        world = rented(ledger={"health_path": "/health"}, **stands)
        assert not any(isinstance(one, ApplyProxy) for one in decide(world, self.REFUSED).publish)

    def test_nobody_else_gets_one(self) -> None:
        world = b.serving(b.deployment(endpoint={"proxy": True}))
        kept = b.remembering(world.deployment, {b.name(world.deployment): b.ledger(health_path="/health")})
        world = replace(world, deployment=kept)
        assert not any(isinstance(one, ApplyProxy) for one in decide(world, self.REFUSED).publish)
