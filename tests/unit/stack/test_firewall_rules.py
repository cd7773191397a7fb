"""The packet filter of the published network: which rules, when they are loaded, when they are removed."""

from __future__ import annotations

from dataclasses import replace

from ops.deploy.plan import plan_deploy
from ops.lifecycle.plan import plan_destroy, plan_start
from ops.stack.firewall_rules import rules, table_name
from ops.stack.model import Seen
from tests.unit.builders import allocation, before, defects, deployed, keys, stack, step, wanted, with_state

ALTERED = "altered"


def of(text: str, chain: str) -> list[str]:
    """Rules of one chain, without its first line."""
    body = text.partition(f"chain {chain} {{\n")[2].partition("\n  }")[0]
    return [line.strip() for line in body.splitlines()][1:]


def test_published_network_lets_in_what_was_translated_and_lets_nothing_out() -> None:
    text = rules(stack(), allocation(stack()))
    web = allocation(stack()).subnets["web"]

    assert of(text, "forward")[-3:] == [f"ip saddr {web} drop", f"ip daddr {web} ct status dnat accept", f"ip daddr {web} drop"]
    assert of(text, "input") == [f"ip saddr {web} ct direction reply accept", f"ip saddr {web} drop"]
    assert of(text, "postrouting") == [f"ip daddr {web} fib saddr type != local snat to ip saddr"]
    # A neighbour that goes by the published port would be answered as the host.
    assert of(text, "forward")[0] == f"ip saddr {web} ct direction original ct status dnat drop"


def test_nothing_is_said_of_internal_networks_or_of_other_tables() -> None:
    text, given = rules(stack(), allocation(stack())), allocation(stack()).subnets

    assert given["app"] not in text
    assert given["data"] not in text
    assert {line.split()[-2] for line in text.splitlines() if line.startswith(("table", "delete"))} <= {"cc03-filter", "ip"}


def test_table_is_replaced_in_one_transaction_whether_it_exists_or_not() -> None:
    assert rules(stack(), allocation(stack())).splitlines()[:3] == [
        "table ip cc03-filter {}", "delete table ip cc03-filter", "table ip cc03-filter {",
    ]  # fmt: skip
    assert table_name("other") == "other-filter"


def test_network_that_publishes_nothing_may_send_but_not_to_the_cloud_of_the_machine() -> None:
    own = stack()
    own = replace(own, networks={**own.networks, "outward": False})
    text, subnet = rules(own, allocation(own)), allocation(own).subnets["outward"]

    assert f"ip saddr {subnet} ip daddr 169.254.0.0/16 drop" in of(text, "forward")
    assert f"ip saddr {subnet} drop" not in of(text, "forward")
    assert f"ip daddr {subnet} ip saddr != {subnet} drop" in of(text, "forward")
    assert subnet not in "".join(of(text, "input"))


def test_stack_without_a_way_out_needs_no_filter() -> None:
    own = replace(stack(), networks=dict.fromkeys(stack().networks, True))

    assert rules(own, allocation(own)) == ""


def test_filter_is_loaded_before_any_container_starts() -> None:
    plan = plan_deploy(wanted(), Seen())

    assert step(plan, "firewall").rules == wanted().firewall
    for key in keys(plan):
        if key.startswith("start "):
            assert "firewall" in before(plan, key)


def test_filter_that_the_kernel_has_lost_is_loaded_again_and_nothing_else_is_done() -> None:
    seen = deployed(wanted(), firewall=ALTERED)

    assert keys(plan_deploy(wanted(), seen)) == ["firewall"]
    assert plan_deploy(wanted(), deployed(wanted())).steps == ()


def test_start_after_a_boot_loads_the_filter_first() -> None:
    seen = replace(with_state(deployed(wanted()), "exited", *wanted().slots()), firewall=ALTERED)
    plan = plan_start(stack(), seen, {}, seen.supervised, wanted().firewall)

    assert defects(plan) == []
    assert keys(plan)[0] == "firewall"
    assert all("firewall" in before(plan, key) for key in keys(plan)[1:])


def test_destroy_removes_the_filter_after_the_containers_even_where_it_was_altered() -> None:
    for found in (wanted().firewall, ALTERED):
        plan = plan_destroy(stack(), deployed(wanted(), firewall=found), keep_data=True)
        assert {"remove nginx", "remove edge"} <= before(plan, "firewall")
    assert "firewall" not in keys(plan_destroy(stack(), Seen(), keep_data=True))
