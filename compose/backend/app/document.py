"""python -m app.document: the OpenAPI document on standard output, from which the frontend's types are made."""

import json
import sys

from fastapi import FastAPI

from app import problems
from app.main import ROUTERS, TITLE


def document() -> dict:
    """The document without a release: it changes when the API does."""
    app = FastAPI(title=TITLE, version="v1")
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app.openapi()


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2, sort_keys=True, ensure_ascii=False)
    sys.stdout.write("\n")
