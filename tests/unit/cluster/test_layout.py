from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.api import ClusterError
from tests.cluster.local.layout import Layout, choose_slot

names = st.from_regex(r"dsd-[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
slots = st.integers(min_value=0, max_value=63)


@given(names, slots)
def test_parts_of_a_network_lie_in_it_and_do_not_overlap(name: str, slot: int) -> None:
    layout = Layout(name, slot)
    link = IPv4Network(f"{layout.host_ip}/30", strict=False)
    parts = [layout.pods, layout.services, link]
    assert all(part.subnet_of(layout.network) for part in parts)
    assert not any(a.overlaps(b) for a in parts for b in parts if a is not b)
    assert layout.node_ip in link
    assert layout.dns_ip in layout.services
    assert layout.api_ip in layout.services


@given(slots, slots)
def test_two_slots_share_no_address(first: int, second: int) -> None:
    overlap = Layout("dsd-a", first).network.overlaps(Layout("dsd-b", second).network)
    assert overlap == (first == second)


@given(names)
def test_interface_name_is_short_enough_for_the_kernel(name: str) -> None:
    assert len(Layout(name, 0).veth) <= 15


def test_interface_and_folders_follow_the_name() -> None:
    one, other = Layout("dsd-one", 0), Layout("dsd-two", 0)
    assert one.veth != other.veth
    assert one.state != other.state
    assert one.run != other.run


@pytest.mark.parametrize("name", ["", "dpkg", "dsd-", "dsd-A", "dsd-../x", "dsd-a/", "dsd-a-", "dsd-" + "a" * 40])
def test_dangerous_names_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="no name for a test cluster"):
        Layout(name, 0)


def test_a_name_gets_the_same_slot_every_time() -> None:
    assert choose_slot("dsd-test", lambda _: False) == choose_slot("dsd-test", lambda _: False)


def test_a_taken_slot_is_passed_over() -> None:
    first = choose_slot("dsd-test", lambda _: False)
    taken = Layout("dsd-test", first).network
    assert choose_slot("dsd-test", lambda network: network == taken) == (first + 1) % 64


def test_no_free_slot_is_an_error() -> None:
    with pytest.raises(ClusterError, match="no free network"):
        choose_slot("dsd-test", lambda _: True)
