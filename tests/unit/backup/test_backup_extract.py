"""A member of a host's archive is written within the state folder only, by every version of Python."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ops.backup import host_archive as archive
from ops.core.errors import OpsError


@pytest.mark.parametrize("name", ["state/../../outside", "state//etc/outside"])
def test_member_that_leads_outside_is_refused_by_python_without_filters_too(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "tar_filter", raising=False)
    (tmp_path / "state").mkdir()
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as made, pytest.raises(OpsError, match="outside of"):
        archive._extract(made, tarfile.TarInfo(name), tmp_path / "state", name.removeprefix("state/"))

    assert not (tmp_path / "outside").exists()
