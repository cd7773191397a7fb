from __future__ import annotations

import pytest

from ops.project import open_project

from .deployed import Deployed


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return Deployed(open_project(), tmp_path_factory.mktemp("lint"))
