"""Those who check secrets, at the edge of the process: each account accepts what it was last told, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from ops import composition
from ops.core.errors import OpsError
from ops.project import Project
from ops.secrets import verifiers


@dataclass
class Logins:
    """values: account -> the values that it accepts. told: accounts in the order in which they were told. deaf: accounts that
    refuse to be told."""

    values: dict[str, set[str]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)

    def tell(self, project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
        if name in self.deaf:
            raise OpsError(f"{name} cannot be told", "refused", "inv status")
        self.told.append(name)
        self.values[name] = {value for _, value in values}

    def accepts(self, project: Project, name: str, version: int, value: str) -> bool:
        return value in self.values.get(name, set())


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Logins:
    made = Logins()
    for kind in composition.VERIFIERS:
        monkeypatch.setitem(composition.VERIFIERS, kind, verifiers.Verifier(made.tell, made.accepts))
    return made
