"""A stack whose settings name two issuers, and those issuers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.core.machine import REPOSITORY
from ops.core.process import Result
from tests.drill.acme.servers import Names, Pebble, build
from tests.drill.certs.strict import Handshakes, shown
from tests.drill.stack import Drill, inv

PUBLIC = "public at nginx:8443"


def refused_by_nginx(met: Handshakes) -> list[str]:
    """What strict clients of nginx met. No other listener's certificate is touched here: how those bear a load is not asked."""
    return [why for why in met.refused if " at nginx:" in why]


@dataclass(frozen=True)
class Acme:
    """`first`, `second`: issuers, in that order. `folder`: for whatever a test needs."""

    drill: Drill
    names: Names
    first: Pebble
    second: Pebble
    folder: Path
    settings: Path

    def declare(self, *entries: dict[str, Any], **more: str) -> None:
        """What stack.yaml says of issuers from now on; by default, of both."""
        content = yaml.safe_load((REPOSITORY / "config" / "stack.yaml").read_text())
        known = list(entries) or [self.first.entry(), self.second.entry()]
        content["certificates"] = {"acme": {"email": "ops@example.com", "issuers": known, **more}}
        self.settings.write_text(yaml.safe_dump(content))

    def ask(self, *arguments: str) -> Result:
        return inv("certs.acme", "--yes", *arguments)

    def certify(self, *arguments: str) -> int:
        """Have one issued, which has to succeed; its serial, as it is seen on the wire."""
        answer = self.ask("--accept-terms", *arguments)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return self.serial()

    def serial(self) -> int:
        return shown(self.drill)[PUBLIC]

    @property
    def book(self) -> Path:
        return self.drill.project.state.acme / "book.json"

    def known(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.book.read_text())
        return found

    def amend(self, **issued: float) -> None:
        """Have what is known of the certificates that were issued say something else, as if time had passed."""
        content = self.known()
        content["issued"] = {mark: {**one, **issued} for mark, one in content["issued"].items()}
        self.book.write_text(json.dumps({**content, "look_at": 0.0}))

    def forget(self) -> None:
        """As if no issuer had ever been asked, and no renewal had failed."""
        state = self.drill.project.state
        shutil.rmtree(state.acme)
        state.acme.mkdir(mode=0o700)
        (state.ticker / "acme.json").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def issuers(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Names, Pebble, Pebble]]:
    folder = tmp_path_factory.mktemp("issuers")
    build(drill)
    names = Names(drill, folder)
    first, second = (Pebble(drill, name, folder / name, names) for name in ("first", "second"))
    started = [names, first, second]
    try:
        for one in (names, first, second):
            one.remove()
            one.start()
        yield names, first, second
    finally:
        for container in started:
            container.remove()


@pytest.fixture
def acme(
    drill: Drill, issuers: tuple[Names, Pebble, Pebble], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Acme]:  # fmt: skip
    """The stack as it should be, with the project's own certificate under the public name, and in the end again."""
    names, first, second = issuers
    found = Acme(drill, names, first, second, tmp_path, tmp_path / "stack.yaml")
    found.declare()
    monkeypatch.setenv("CC03_STACK", str(found.settings))
    drill.deploy()
    drill.await_healthy()
    yield found
    answer = inv("certs.import", "--remove", "--yes")
    found.forget()
    assert answer.returncode == 0, answer.stdout + answer.stderr
