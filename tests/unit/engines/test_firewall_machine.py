"""Whether the kernel has the packet filter as it was loaded; what the health ticker does where it has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.core.errors import OpsError
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.main import Supervisor

RULES = "table ip cc03-filter {}\ndelete table ip cc03-filter\ntable ip cc03-filter {\n}\n"
LISTED = "table ip cc03-filter {\n}\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = firewall.folder(tmp_path)
    folder.mkdir()
    (folder / firewall.RULES).write_text(RULES)
    (folder / firewall.LISTED).write_text(LISTED)
    return tmp_path


@pytest.mark.parametrize(
    ("listed", "found"), [(LISTED, RULES), ("", firewall.ALTERED), (LISTED.replace("{", "{ x"), firewall.ALTERED)]
)
def test_rules_count_as_loaded_where_the_kernel_lists_them_as_it_did_then(
    state: Path, monkeypatch: pytest.MonkeyPatch, listed: str, found: str
) -> None:
    monkeypatch.setattr(firewall, "_listing", {"cc03-filter": listed}.__getitem__)

    assert firewall.loaded(state) == found


def test_where_nothing_was_ever_loaded_nothing_is_asked_or_loaded(tmp_path: Path) -> None:
    assert firewall.loaded(tmp_path) == ""
    assert not firewall.ensure(tmp_path)


def test_ticker_loads_what_is_gone_and_goes_on_where_that_fails(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(firewall, "_listing", lambda table: "")
    monkeypatch.setattr(firewall, "load", lambda root, rules: loaded.append(rules))
    Supervisor(state).keep_filter()
    assert loaded == [RULES]

    def refuse(root: Path, rules: str) -> None:
        raise OpsError("it cannot be loaded", "no module nf_tables", "modprobe nf_tables")

    monkeypatch.setattr(firewall, "load", refuse)
    Supervisor(state).keep_filter()
    assert "no module nf_tables" in capsys.readouterr().out
