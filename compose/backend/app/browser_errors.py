"""What went wrong in users' browsers, into this log: bounded in number and size, and in text that can be read as it stands."""

import logging
import time
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app import metrics
from app.auth.dependencies import Caller, documented
from app.items.text import readable
from app.problems import Problem, answers

_log = logging.getLogger("app.browser")

WINDOW_SECONDS = 60.0
OF_ONE_USER = 10
OF_ALL = 100
"""Reports that are written in a minute by this replica."""

Text = AfterValidator(readable)


class BrowserError(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: Annotated[str, Field(min_length=1, max_length=500), Text]
    path: Annotated[str, Field(max_length=200), Text] = ""
    stack: Annotated[str, Field(max_length=4000), Text] = ""


class Reports:
    """Counts reports by user in windows of a minute."""

    def __init__(self) -> None:
        self._until = 0.0
        self._counts: dict[str, int] = {}
        self._all = 0

    def admit(self, subject: str, now: float) -> bool:
        if now >= self._until:
            self._until, self._all = now + WINDOW_SECONDS, 0
            self._counts.clear()
        count = self._counts.get(subject, 0)
        if count >= OF_ONE_USER or self._all >= OF_ALL:
            return False
        self._counts[subject] = count + 1
        self._all += 1
        return True


router = APIRouter(prefix="/api/v1", tags=["account"], dependencies=[documented])


@router.post(
    "/browser-errors",
    summary="Report an error of the page, for the operator's log",
    status_code=204,
    responses=answers(401, 413, 422),
)
async def report(request: Request, caller: Caller, error: BrowserError) -> Response:
    reports: Reports = request.app.state.browser_errors
    if not reports.admit(caller.subject, time.monotonic()):
        metrics.BROWSER_ERRORS.labels("dropped").inc()
        raise Problem(429, "Enough errors were reported for now.", headers={"Retry-After": str(int(WINDOW_SECONDS))})
    metrics.BROWSER_ERRORS.labels("logged").inc()
    fields = {"user": caller.subject, "path": error.path, "error": error.message, "stack": error.stack}
    _log.warning("error in a browser", extra={"fields": fields})
    return Response(status_code=204)
