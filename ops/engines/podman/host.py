"""One project on this host: its folder, and Podman run with the containers.conf that this host needs."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ops.core import files
from ops.core.machine import REPOSITORY, SECCOMP_DEFAULTS, HostFacts, host_facts
from ops.core.process import PATH, Result, run, stream
from ops.core.state import State
from ops.engines.engine import OVERDUE, QUICK
from ops.stack.render import digest
from ops.stack.seccomp import rendered

CONTAINER_NOFILE = 16384
CONTAINER_NPROC = 32768


@dataclass(frozen=True)
class Host:
    """Everything that needs a path or a program of this machine goes through here."""

    project: str
    state: State
    repository: Path = REPOSITORY

    @property
    def environment(self) -> dict[str, str]:
        """Variables that Podman needs here: for this command only, unless `prepare` has been called before."""
        return _environment(self.state.containers_conf if self._prepared() else _scratch_conf(seccomp_profile()))

    @property
    def lasting_environment(self) -> dict[str, str]:
        """The same for what outlives this command and begins after a deploy (the unit that starts the stack at boot)."""
        return _environment(self.state.containers_conf)

    @property
    def seccomp(self) -> Path | None:
        """Where the profile of new containers is, once this host is prepared; None where the host has no default."""
        profile = seccomp_profile()
        return self.state.seccomp / f"{digest(profile)}.json" if profile else None

    @property
    def _conf(self) -> str:
        return wanted_conf(self.seccomp)

    def _prepared(self) -> bool:
        kept, profile = self.state.containers_conf, self.seccomp
        return kept.is_file() and kept.read_text() == self._conf and (profile is None or profile.is_file())

    def prepare(self) -> None:
        """Make the state folder, with the containers.conf and the seccomp profile that every container is created under.
        Only what is about to change something calls this: a question about a project leaves no trace of it."""
        self.state.prepare()
        if not self._prepared():
            if profile := self.seccomp:
                files.write(profile, seccomp_profile())
            files.write(self.state.containers_conf, self._conf)

    def run(
        self, argv: Sequence[str], *, timeout: float = QUICK, ok: Sequence[int] | None = (0,),
        stdin: str | None = None, log: Path | None = None, env: Mapping[str, str] | None = None,
        source: Path | None = None, target: Path | None = None, each: Callable[[str], None] | None = None,
    ) -> Result:  # fmt: skip
        """`ops.core.process.run` with this project's environment. podman-compose comes from the environment of this Python.

        each: as of `ops.engines.engine.How`.
        """
        program = own_program(argv[0])
        environment = {**self.environment, **(env or {})}
        if each is not None:
            environment = {"PATH": PATH, **environment}
            code = stream(argv, timeout=timeout, stdin=stdin or "", env=environment, cwd=Path("/"), each=each)
            return Result(tuple(argv), OVERDUE if code is None else code, "", "", 0.0)
        return run(
            (program, *argv[1:]), timeout=timeout, ok=ok, stdin=stdin, log=log, env=environment, source=source, target=target
        )


def _environment(conf: Path) -> dict[str, str]:
    return {"CONTAINERS_CONF": str(conf), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}


@cache
def wanted_conf(seccomp: Path | None) -> str:
    """The containers.conf that this host needs. `seccomp`: the profile of its containers."""
    return containers_conf(host_facts(), str(seccomp or ""))


@cache
def seccomp_profile() -> str:
    """Text of the profile of new containers; empty where this host has no default to make it from."""
    default = next((path for path in SECCOMP_DEFAULTS if path.is_file()), None)
    return rendered(json.loads(default.read_text(encoding="utf-8"))) if default else ""


@cache
def _scratch_conf(profile: str) -> Path:
    """A containers.conf, and the seccomp profile that it names, that go with this process."""
    folder = Path(tempfile.mkdtemp(prefix="cc03-containers-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    seccomp = folder / "seccomp.json" if profile else None
    if seccomp:
        seccomp.write_text(profile, encoding="utf-8")
    conf = folder / "containers.conf"
    conf.write_text(wanted_conf(seccomp), encoding="utf-8")
    return conf


def own_program(name: str) -> str:
    """A program of this virtual environment, wherever it is called from; others by their name."""
    beside = Path(sys.executable).parent / name
    return str(beside) if name == "podman-compose" and beside.exists() else name


def containers_conf(facts: HostFacts, seccomp: str = "") -> str:
    """The file that CONTAINERS_CONF names.

    crun refuses hybrid cgroups, so runc runs there. Without CAP_SYS_RESOURCE a container may not be given higher limits than
    the host's own, which Podman 4.3 tries by default; so limits are set that fit within them. Podman 4.3 prefers CNI where
    networks of that kind exist, so netavark is named.

    seccomp: path of the profile of every container that names none, one-off containers included; empty for Podman's own.
    """
    lines = ["[network]", 'network_backend = "netavark"', "", "[engine]", 'events_logger = "file"']
    if not facts.systemd:
        lines.append('cgroup_manager = "cgroupfs"')
    runtime = "runc" if "runc" in facts.programs and (facts.cgroups != "v2" or "crun" not in facts.programs) else None
    if runtime:
        lines.append(f'runtime = "{runtime}"')
    nofile = min(CONTAINER_NOFILE, facts.nofile or CONTAINER_NOFILE)
    nproc = min(CONTAINER_NPROC, facts.nproc or CONTAINER_NPROC)
    lines += ["", "[containers]", f'default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]']
    if seccomp:
        lines.append(f'seccomp_profile = "{seccomp}"')
    return "\n".join(lines) + "\n"
