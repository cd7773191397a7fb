"""The lock files serve each supported Python: a package that only another version requires is locked too."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
"""Of Debian 12, Ubuntu 24.04 and Debian 13."""


def locked(*files: str) -> list[Requirement]:
    lines = "".join((ROOT / name).read_text() for name in files)
    return [Requirement(line) for line in re.findall(r"^(\S+==.+?) *\\$", lines, re.MULTILINE)]


@pytest.mark.parametrize("python", PYTHONS)
def test_locked_packages_require_locked_packages_alone(python: str) -> None:
    packages = locked("requirements.txt", "requirements-dev.txt")
    known = {canonicalize_name(package.name) for package in packages}
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    missing = {
        f"{package.name} requires {line}"
        for package in packages
        # What is locked for another Python is not installed here.
        if package.marker is None or package.marker.evaluate()
        for line in distribution(package.name).requires or ()
        if (need := Requirement(line)).marker is None or need.marker.evaluate(environment)
        if canonicalize_name(need.name) not in known
    }
    assert not missing
