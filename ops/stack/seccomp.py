"""The seccomp profile of every container: the host's default profile without what no service of the stack calls. Pure.

The format is that of containers/common and Moby: a default action, and rules that allow or refuse system calls by name and by
arguments. What is removed from the rules that allow is refused; nothing is added to them but narrower conditions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ALLOW, REFUSE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38

NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: clone(2)."""
NEW_USER_NAMESPACE = 0x10000000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 38, 40
NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOCKETS: tuple[Mapping[int, int], ...] = ({0: AF_UNIX}, {0: AF_INET}, {0: AF_INET6}, {0: AF_NETLINK, 2: NETLINK_ROUTE})
"""Sockets that are used here, by the arguments of socket(2). By the last one programs list their interfaces."""

DENIED = (
    # other namespaces, and mounts: with a user namespace a process has all capabilities in it
    "unshare", "setns", "mount", "umount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "pivot_root", "chroot", "open_by_handle_at", "name_to_handle_at", "fanotify_init", "fanotify_mark",
    # keys of the kernel, which know no namespaces
    "add_key", "keyctl", "request_key",
    # other processes
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    # large interfaces with a history of holes
    "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "modify_ldt", "perf_event_open", "userfaultfd",
    # the host itself
    "acct", "delete_module", "finit_module", "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "lookup_dcookie",
    "quotactl", "quotactl_fd", "reboot", "setdomainname", "sethostname", "swapoff", "swapon", "syslog", "vhangup",
    # their arguments are in memory, where no filter sees them: the direct calls do the same
    "socketcall",
)  # fmt: skip
UNKNOWN = ("clone3",)
"""Refused as if the kernel had no such call: its flags are in memory, and the C library then takes clone, whose flags are
arguments."""

PROBES: Mapping[str, tuple[str, Mapping[int, int]]] = {
    **{f"call {name}": (name, {}) for name in (*DENIED, *UNKNOWN)},
    "make a user namespace": ("clone", {0: NEW_USER_NAMESPACE}),
    "open a socket to the hypervisor (AF_VSOCK)": ("socket", {0: AF_VSOCK}),
    "open a socket of the kernel's cryptography (AF_ALG)": ("socket", {0: AF_ALG}),
    "open a socket of the kernel's packet filter": ("socket", {0: AF_NETLINK, 2: NETLINK_NETFILTER}),
}
"""What a process of the stack must not be allowed -> the call, and its arguments by position."""

Profile = Mapping[str, Any]
Rule = dict[str, Any]


def tightened(default: Profile) -> dict[str, Any]:
    """The profile of the stack's containers, made from the default of the host that they run on."""
    rules = [rule for one in default["syscalls"] for rule in _narrowed(one)]
    rules += [
        {"names": list(DENIED), "action": REFUSE, "errnoRet": EPERM},
        {"names": list(UNKNOWN), "action": REFUSE, "errnoRet": ENOSYS},
    ]
    # The other word size has system calls of its own; every program of the images has the host's.
    maps = [{**one, "subArchitectures": []} for one in default.get("archMap") or ()]
    return {**default, "archMap": maps, "syscalls": rules}


def _narrowed(rule: Mapping[str, Any]) -> list[Rule]:
    """A rule of the default without what is refused to every container, and with narrower conditions where it allows."""
    names = [name for name in rule["names"] if name not in (*DENIED, *UNKNOWN)]
    found: list[Rule] = []
    if rule["action"] == ALLOW:
        if "socket" in names:
            names.remove("socket")
            found += [{**rule, "names": ["socket"], "args": args} for args in _sockets(rule.get("args") or ())]
        if "clone" in names and not rule.get("args"):
            names.remove("clone")
            masked = [{"index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
            found.append({**rule, "names": ["clone"], "args": masked})
    return [*([{**rule, "names": names}] if names else []), *found]


def _sockets(conditions: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """What a rule allows of the sockets that are used here: for each kind, the arguments that have to be given."""
    for wanted in SOCKETS:
        if all(_is(wanted[one["index"]], one) for one in conditions if one["index"] in wanted):
            own = [{"index": index, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"} for index, value in wanted.items()]
            yield [*own, *(one for one in conditions if one["index"] not in wanted)]


def allows(profile: Profile, name: str, arguments: Mapping[int, int]) -> bool:
    """Whether a rule allows this call. Also of an OCI specification's `linux.seccomp`, which has the same rules.

    arguments: those that rules look at, by position; others count as 0.
    """
    rules = [rule for rule in profile.get("syscalls") or () if name in rule["names"] and _meets(rule, arguments)]
    if not rules:
        return bool(profile["defaultAction"] != REFUSE)
    return all(rule["action"] == ALLOW for rule in rules)


def _meets(rule: Mapping[str, Any], arguments: Mapping[int, int]) -> bool:
    return all(_is(arguments.get(int(one["index"]), 0), one) for one in rule.get("args") or ())


def _is(given: int, condition: Mapping[str, Any]) -> bool:
    value, second = int(condition["value"]), int(condition.get("valueTwo") or 0)
    return {
        "SCMP_CMP_EQ": given == value, "SCMP_CMP_NE": given != value, "SCMP_CMP_LT": given < value,
        "SCMP_CMP_LE": given <= value, "SCMP_CMP_GT": given > value, "SCMP_CMP_GE": given >= value,
        "SCMP_CMP_MASKED_EQ": given & value == second,
    }[condition["op"]]  # fmt: skip


def gaps(profile: Profile | None) -> tuple[str, ...]:
    """Which of the probes a filter lets through. None: there is no filter."""
    if profile is None:
        return tuple(PROBES)
    return tuple(what for what, (name, arguments) in PROBES.items() if allows(profile, name, arguments))


def rendered(default: Profile) -> str:
    """Text of the tightened profile: the same for the same default."""
    return json.dumps(tightened(default), indent=1, sort_keys=True) + "\n"
