"""Runs a program as an ordinary user has it run by rootless Podman: in a user namespace where that user is root.

python -m tests.drill.walls.rootless HOME PROGRAM ARGUMENT...

What newuidmap would write by /etc/subuid is written here by root, so that no file of the host has to be changed for a test.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

USER, FIRST, NUMBER = 65534, 700_000, 65_535
"""The ordinary user (nobody), and the range of users that it has in its containers."""
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000


def main(home: str, *argv: str) -> int:
    asked, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _become_user(home, argv, asked[1], mapped[0])
    os.read(asked[0], 1)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{kind}").write_text(f"0 {USER} 1\n1 {FIRST} {NUMBER}\n")
    os.write(mapped[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become_user(home: str, argv: tuple[str, ...], asked: int, mapped: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: else its maps belong to root, and cannot be written
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        os._exit(3)
    os.write(asked, b"x")
    os.read(mapped, 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.chdir(home)
    environment = {
        "HOME": home, "TMPDIR": home, "PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": f"{home}/run",
        "CONTAINERS_CONF": f"{home}/containers.conf", "CONTAINERS_STORAGE_CONF": f"{home}/storage.conf",
        # Podman is told that it need not make the namespace itself.
        "_CONTAINERS_USERNS_CONFIGURED": "done",
        "_CONTAINERS_ROOTLESS_UID": str(USER), "_CONTAINERS_ROOTLESS_GID": str(USER),
    }  # fmt: skip
    os.execvpe(argv[0], argv, environment)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
