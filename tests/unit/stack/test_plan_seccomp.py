"""The seccomp profile of the stack: tighter than the host's default, never looser, and the same for the same default."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.stack.seccomp import ALLOW, DENIED, PROBES, REFUSE, SOCKETS, UNKNOWN, allows, gaps, rendered, tightened

USED = ("read", "execve", "mknodat", "adjtimex", "futex", "seccomp", "personality", "setuid")
NETLINK, AUDIT = 16, 9


def rule(*names: str, action: str = ALLOW, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, "args": [], "includes": {}, "excludes": {}, **more}


def when(index: int, value: int, op: str = "SCMP_CMP_EQ") -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": 0, "op": op}


def profile(*rules: dict[str, Any]) -> dict[str, Any]:
    maps = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}]
    return {"defaultAction": REFUSE, "defaultErrnoRet": 38, "archMap": maps, "syscalls": list(rules)}


DEBIAN = profile(
    rule("userfaultfd", action=REFUSE, errnoRet=1),
    rule(*(name for name in USED if name != "personality"), *DENIED, "clone", "clone3"),
    rule("personality", args=[when(0, 8)]),
    rule("bpf", "setns", includes={"caps": ["CAP_SYS_ADMIN"]}),
    rule("socket", action=REFUSE, args=[when(0, NETLINK), when(2, AUDIT)], errnoRet=22),
    rule("socket", args=[when(2, AUDIT, "SCMP_CMP_NE")]),
    rule("socket", args=[when(0, NETLINK, "SCMP_CMP_NE")]),
)
"""In the shape of the default that Debian's golang-github-containers-common installs."""


def test_default_of_the_host_lets_through_what_ours_refuses() -> None:
    assert {"call unshare", "call clone3", "make a user namespace", "open a socket to the hypervisor (AF_VSOCK)"} <= set(
        gaps(DEBIAN)
    )
    assert gaps(tightened(DEBIAN)) == ()
    assert gaps(None) == tuple(PROBES)


def test_what_services_call_is_allowed() -> None:
    ours = tightened(DEBIAN)

    assert [name for name in USED if not allows(ours, name, {0: 8})] == []
    assert allows(ours, "clone", {0: 0x3D0F00})  # a thread, as the C library makes it
    assert not allows(ours, "clone", {0: 0x3D0F00 | 0x10000000})
    assert [family for family in (1, 2, 10, NETLINK) if not allows(ours, "socket", {0: family})] == []
    assert not allows(ours, "socket", {0: NETLINK, 2: AUDIT})


def test_c_library_is_answered_that_there_is_no_clone3() -> None:
    (found,) = [one for one in tightened(DEBIAN)["syscalls"] if "clone3" in one["names"]]

    assert (found["action"], found["errnoRet"]) == (REFUSE, 38)


def test_calls_of_another_word_size_are_not_let_in() -> None:
    assert [one["subArchitectures"] for one in tightened(DEBIAN)["archMap"]] == [[]]


def test_no_call_has_a_rule_that_allows_and_one_that_refuses_for_the_same_arguments() -> None:
    """Which of two that overlap wins is libseccomp's choice."""
    rules = tightened(DEBIAN)["syscalls"]
    allowed = {name for one in rules if one["action"] == ALLOW for name in one["names"]}

    assert allowed & {*DENIED, *UNKNOWN} == set()
    assert all(allows(tightened(DEBIAN), "socket", one) for one in SOCKETS)


def test_same_default_gives_the_same_text_whatever_its_order() -> None:
    assert rendered(DEBIAN) == rendered(dict(reversed(list(DEBIAN.items()))))
    assert json.loads(rendered(DEBIAN)) == tightened(DEBIAN)


VALUES = (0, 1, 2, 9, 10, 16, 40)
NAMES = st.sampled_from([*USED, "clone", "clone3", "unshare", "socket", "bpf"])
RULES = st.builds(
    lambda names, action, args: rule(*names, action=action, args=args),
    st.lists(NAMES, min_size=1, max_size=4, unique=True), st.sampled_from([ALLOW, REFUSE]),
    st.lists(
        st.builds(when, st.integers(0, 2), st.sampled_from(VALUES), st.sampled_from(["SCMP_CMP_EQ", "SCMP_CMP_NE"])), max_size=2
    ),
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(RULES, max_size=6), NAMES, st.sampled_from([*VALUES, 1 << 28]), st.sampled_from(VALUES))
def test_nothing_is_allowed_that_the_default_refuses(rules: list[dict[str, Any]], name: str, first: int, third: int) -> None:
    default, arguments = profile(*rules), {0: first, 2: third}

    assert allows(default, name, arguments) or not allows(tightened(default), name, arguments)


@pytest.mark.parametrize("name", [*DENIED, *UNKNOWN])
def test_every_refused_call_has_one_rule(name: str) -> None:
    assert len([one for one in tightened(DEBIAN)["syscalls"] if name in one["names"]]) == 1
