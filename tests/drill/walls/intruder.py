"""An intruder in a container: this process, forked, in the namespaces of the container, with its user and its capabilities.

The program that a container runs has been taken over, and can run anything: so the moves need no program in the image. One
thing a fork cannot take along is the seccomp filter, so system calls that only the filter refuses are no moves here; that every
process has one, the audit proves.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  (in a container there is no library to load it from when it is needed)
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ops.machine.walls.processes import status

NAMESPACES = ("ipc", "uts", "net", "pid", "mnt")
"""In this order: after the last one the paths of the others would no longer be found."""
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_KEEPCAPS = 24, 38, 8
CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3, from <linux/capability.h>."""
LAST_CAPABILITY = 40
SECONDS = 60

Move = Callable[[], str]
"""Tries something. Returns what was gained, or nothing where it was refused."""

_libc = ctypes.CDLL(None, use_errno=True)


def tried(pid: int, moves: Mapping[str, Move]) -> dict[str, str]:
    """What each of the moves gains in the place of a process: nothing where it is refused."""
    found = status(pid)
    namespaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in NAMESPACES]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _attack(found, namespaces, writing, moves)
    os.close(writing)
    for descriptor in namespaces:
        os.close(descriptor)
    with os.fdopen(reading) as pipe:
        result = {name: what for line in pipe for name, what in json.loads(line).items()}
    os.waitpid(child, 0)
    return {name: result.get(name, "it could not be tried, which proves nothing") for name in moves}


def _attack(found: Mapping[str, str], namespaces: list[int], writing: int, moves: Mapping[str, Move]) -> None:
    """Never returns: the fork of a test must not go on as the test."""
    try:
        for descriptor in namespaces:
            if _libc.setns(descriptor, 0):
                os._exit(3)
        # Only a child stands in the namespace of processes that was entered.
        if inner := os.fork():
            os.waitpid(inner, 0)
            os._exit(0)
        for name, move in moves.items():
            # Each in a process of its own: who has become somebody else tries the next one as that.
            if (one := os.fork()) == 0:
                _take_rights(found)
                os.write(writing, json.dumps({name: _result(move)}).encode() + b"\n")
                os._exit(0)
            os.waitpid(one, 0)
    finally:
        os._exit(0)


def _result(move: Move) -> str:
    try:
        return move()
    except OSError:
        return ""
    except Exception as problem:
        return f"the move itself failed, which proves nothing: {problem!r}"


def _take_rights(found: Mapping[str, str]) -> None:
    """User, groups, capabilities and no-new-privileges of the container's own process."""
    bounding, permitted = int(found["CapBnd"], 16), int(found["CapPrm"], 16)
    for bit in range(LAST_CAPABILITY + 1):
        if not bounding >> bit & 1:
            _libc.prctl(PR_CAPBSET_DROP, bit, 0, 0, 0)
    _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([int(one) for one in found.get("Groups", "").split()])
    gid, uid = int(found["Gid"].split()[0]), int(found["Uid"].split()[0])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(permitted)
    if found["NoNewPrivs"] == "1":
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _set_capabilities(bits: int) -> None:
    """capset(2): effective and permitted alike, none inherited."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if _libc.capset(header, data):
        os._exit(4)


REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
"""Not allowed, or not there at all: some kernels are built without modules."""


def permitted(name: str, *arguments: object) -> str:
    """Whether a function of the C library is allowed: something where it succeeds, or fails for another reason than rights."""
    if getattr(_libc, name)(*arguments) == -1 and ctypes.get_errno() in REFUSED:
        return ""
    return f"{name} is allowed"


def written(path: str) -> str:
    """A file that could be made, or an existing one that could be opened to write; nothing is written into it."""
    there = Path(path).exists()
    os.close(os.open(path, os.O_WRONLY if there else os.O_WRONLY | os.O_CREAT, 0o600))
    if not there:
        Path(path).unlink()
    return f"can write {path}"


def read(path: str) -> str:
    with Path(path).open("rb") as file:
        return f"can read {path}" if file.read(16) else ""
