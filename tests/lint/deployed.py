"""Configuration as the deployer renders it, checked by the program in the very image that is deployed."""

from __future__ import annotations

import shlex
import tempfile
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from ops.certificates.authority import issue_certificate
from ops.core.state import State
from ops.engines.engine import OneOff
from ops.project import Project
from ops.stack.allocate import allocate
from ops.stack.compose import fill_config, placeholders
from ops.stack.model import Allocation
from ops.stack.render import hosts_of

CONFIG = "/etc/cc03/current"
DEADLINE = 300.0
"""Seconds for everything that is asked of one image."""


@dataclass(frozen=True)
class Question:
    """A program of an image, and the files it shall judge: path within the mounted folder -> text."""

    argv: Sequence[str]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    returncode: int
    output: str

    def __str__(self) -> str:
        return f"exit code {self.returncode}\n{self.output}"


@dataclass
class Deployed:
    """The stack of this checkout, with addresses and certificates that exist for the test alone."""

    project: Project
    scratch: Path

    @cached_property
    def allocation(self) -> Allocation:
        return allocate(self.project.stack, self.project.ports, None, ())

    def config(self, service: str) -> dict[str, str]:
        """Mounted files of a service, placeholders filled."""
        return self.project.config()[service]

    def filled(self, service: str, folder: str) -> dict[str, str]:
        """Files beside the configuration that are not mounted, such as the tests of alerts."""
        root = self.project.host.repository / "config" / service
        values = placeholders(self.project.settings, self.project.ports)
        slots = {other.name: other.slots() for other in self.project.stack.services.values()}
        return {
            str(path.relative_to(root)): fill_config(path.read_text(), values, slots, str(path))
            for path in sorted((root / folder).rglob("*.yml"))
        }

    def image(self, service: str) -> str:
        tag = self.project.images[service].tag
        if self.project.host.run(("podman", "image", "exists", tag), ok=None).returncode:
            pytest.fail(f"{tag} is not on this host, so its configuration cannot be checked: inv build", pytrace=False)
        return tag

    def ask(self, service: str, questions: Sequence[Question]) -> list[Answer]:
        """All questions to one image in one container: its start costs more than most of them.

        As in a deploy, `current` is a link. Here it leads by way of /tmp, where the container may point it elsewhere.
        """
        definition = self.project.stack.services[service]
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        folder.chmod(0o755)
        (folder / "current").symlink_to("/tmp/current")
        for number, question in enumerate(questions):
            for path, text in question.files.items():
                (folder / str(number) / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / str(number) / path).write_text(text)
        mounts = {folder: "/etc/cc03:ro"}
        if definition.has_tls:
            mounts[self._certificates(service)] = "/etc/tls:ro"
        hosts = hosts_of(self.project.stack, self.allocation, definition)
        user = str(definition.definition["user"])
        one = OneOff(self.image(service), ("bash", "-c", _script(questions)), mounts=mounts, user=user, hosts=hosts)
        result = self.project.engine.run(one, timeout=DEADLINE)
        return _answers(result.stdout)

    def _certificates(self, service: str) -> Path:
        state = State(self.scratch / "state")
        folder = state.certs / service
        if not folder.exists():
            state.prepare()
            owner = self.project.stack.services[service].owner
            issue_certificate(state, self.project.name, service, owner, (service, "localhost"))
        return folder


def _script(questions: Sequence[Question]) -> str:
    lines = [
        # Appended to: a program that opens its standard output anew, as nginx does, else overwrites what it has written.
        f"ln -sfn /etc/cc03/{number} /tmp/current; rm -f /tmp/output; "
        f"{shlex.join(question.argv)} </dev/null >>/tmp/output 2>&1; "
        'printf "%s %s\\n" "$?" "$(base64 --wrap=0 /tmp/output)"'
        for number, question in enumerate(questions)
    ]
    return "\n".join(lines)


def _answers(lines: str) -> list[Answer]:
    pairs = (line.partition(" ") for line in lines.splitlines())
    return [Answer(int(code), b64decode(output).decode(errors="replace")) for code, _, output in pairs]
