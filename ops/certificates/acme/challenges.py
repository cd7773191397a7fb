"""How an issuer sees that the public name is ours: a file that nginx shows on port 80, or a record that a hook sets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests

from ops.certificates.acme.client import Answer
from ops.core import state as files
from ops.core.errors import OpsError
from ops.core.logfile import tell
from ops.core.process import stream
from ops.core.wait import until
from ops.deploy.hooks import environment
from ops.project import Project
from ops.stack.issuers import DNS

OWN_LOOK_SECONDS = 10.0
"""Until nginx must show an answer; it reads the folder at each request."""
ADD, REMOVE = "add", "remove"


def answer_for(project: Project) -> Answer:
    """As the settings say."""
    if project.settings.certificates.acme.challenge == DNS:
        return partial(_in_the_dns, project)
    return partial(_on_port_80, project)


@contextmanager
def _on_port_80(project: Project, name: str, token: str, value: str) -> Iterator[None]:
    """Raises OpsError where nginx does not show it: the issuer is not asked then, which would count against its limits."""
    # What a killed command has left says nothing to anybody any more.
    for left in project.state.challenges.iterdir():
        left.unlink(missing_ok=True)
    file = project.state.challenges / token
    files.write(file, value)
    try:
        if why := until(partial(_own_look, project.ports["http"], name, token, value), OWN_LOOK_SECONDS):
            raise OpsError(
                "nginx does not show what an issuer would look for",
                why,
                "inv status; inv deploy, where it is of a release before",
            )
        yield
    finally:
        file.unlink(missing_ok=True)


def _own_look(port: int, name: str, token: str, value: str) -> str:
    url = f"http://127.0.0.1:{port}/.well-known/acme-challenge/{token}"
    try:
        with requests.Session() as session:
            # This host's own nginx is asked, whatever proxy leads out of here.
            session.trust_env = False
            answer = session.get(url, headers={"Host": name}, timeout=OWN_LOOK_SECONDS, allow_redirects=False)
    except requests.RequestException as problem:
        return f"{url}: {problem}"
    return "" if answer.status_code == 200 and answer.text == value else f"{url} answers {answer.status_code}"


@contextmanager
def _in_the_dns(project: Project, name: str, record: str, value: str) -> Iterator[None]:
    """Raises OpsError where the hook fails. What it cannot remove is worth a line in its log, no more."""
    _hook(project, ADD, record, value)
    try:
        yield
    finally:
        try:
            _hook(project, REMOVE, record, value)
        except OpsError as problem:
            tell(project.state.logs, "hooks", f"{record} was not removed: {problem.why}", hook=DNS, level="warning")


def _hook(project: Project, action: str, record: str, value: str) -> None:
    hook = Path(project.settings.certificates.acme.hook)
    seconds = project.settings.hooks.seconds
    said: list[str] = []

    def each(line: str) -> None:
        said[:] = [line] if line.strip() else said
        tell(project.state.logs, "hooks", line, hook=DNS, program=str(hook))

    argv, env = (str(hook), action, record, value), environment(project, DNS)
    code = stream(argv, timeout=seconds, stdin="", env=env, cwd=Path("/"), each=each)
    if code != 0:
        why = f"it did not end within {seconds} s" if code is None else said[-1].strip() if said else f"exit code {code}"
        raise OpsError(f"{hook} {action} {record} failed", why, f"run it by hand: {hook} {action} {record} test")
