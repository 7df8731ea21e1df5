"""What a world says of its own slices: which lead to engines, which to proxies."""

from deepseek_operator.facts.base import Address
from deepseek_operator.facts.kubernetes import Endpoints
from tests.unit.reconcile import builders as b

ENGINE, PLAIN, TLS, FRONT = (Address(f"10.0.0.{number}", 8000) for number in range(4))
STRAIGHT = Endpoints("r1-8000", (ENGINE,), ("http",), "r1")
TO_PROXIES = Endpoints("r1-proxy", (FRONT,), ("http",), "r1")
MEMBERS = (
    Endpoints("r1-plain.8000", (PLAIN,), ("http",), "r1-plain"),
    Endpoints("r1-tls.8000", (TLS,), ("http",), "r1-tls"),
)
WORLD = b.world(b.deployment(), endpoints=(STRAIGHT, TO_PROXIES, *MEMBERS))


def test_each_slice_leads_to_engines_or_to_proxies_or_is_for_proxies() -> None:
    assert WORLD.direct == (STRAIGHT,)
    assert WORLD.fronts == {FRONT}
    assert WORLD.members == MEMBERS


def test_engines_are_led_to_by_proxies_only_where_the_service_leads_to_a_proxy() -> None:
    assert WORLD.published == {ENGINE, PLAIN, TLS}
    assert b.world(b.deployment(), endpoints=(STRAIGHT, *MEMBERS)).published == {ENGINE}
