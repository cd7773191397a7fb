"""A set is good where any key that this stack has ever signed with has signed it, and nobody else."""

from pathlib import Path

import pytest
from backup import manifest
from backup.configuration import signing_key
from backup.errors import JobError


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A folder with a manifest that the older of two keys has signed; both lie beside it."""
    for name in ("older", "newer"):
        (tmp_path / name).write_bytes(signing_key(f"secret of the {name} one"))
    folder = tmp_path / "set"
    folder.mkdir()
    manifest.write({"version": manifest.VERSION, "set": "20261127T000000Z"}, folder, tmp_path / "older")
    return folder


def test_what_an_older_key_has_signed_stays_good(signed: Path, tmp_path: Path) -> None:
    signers = tmp_path / "signers.pem"
    signers.write_text(manifest.public_key(tmp_path / "older") + manifest.public_key(tmp_path / "newer"))

    assert manifest.read(signed, manifest.public_keys(tmp_path / "newer", signers))["set"] == "20261127T000000Z"


def test_what_a_stranger_has_signed_is_refused(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="not signed by this stack"):
        manifest.read(signed, manifest.public_keys(tmp_path / "newer", tmp_path / "there is no such file"))


def test_what_was_altered_since_is_refused(signed: Path, tmp_path: Path) -> None:
    (signed / manifest.NAME).write_text((signed / manifest.NAME).read_text().replace("20261127", "20261128"))

    with pytest.raises(JobError, match="altered since"):
        manifest.read(signed, manifest.public_key(tmp_path / "older"))
