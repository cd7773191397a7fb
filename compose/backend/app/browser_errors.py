"""What went wrong in users' browsers, into this log: bounded in number and size, and in text that can be read as it stands."""

import logging
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app import metrics
from app.auth.dependencies import Caller, documented
from app.items.text import readable
from app.problems import answers
from app.reports import Reports

_log = logging.getLogger("app.browser")

Text = AfterValidator(readable)


class BrowserError(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: Annotated[str, Field(min_length=1, max_length=500), Text]
    path: Annotated[str, Field(max_length=200), Text] = ""
    stack: Annotated[str, Field(max_length=4000), Text] = ""


router = APIRouter(prefix="/api/v1", tags=["account"], dependencies=[documented])


@router.post(
    "/browser-errors",
    summary="Report an error of the page, for the operator's log",
    status_code=204,
    responses=answers(401, 413, 422),
)
async def report(request: Request, caller: Caller, error: BrowserError) -> Response:
    reports: Reports = request.app.state.browser_errors
    reports.admit(caller.subject)
    metrics.BROWSER_ERRORS.labels("logged").inc()
    fields = {"user": caller.subject, "path": error.path, "error": error.message, "stack": error.stack}
    _log.warning("error in a browser", extra={"fields": fields})
    return Response(status_code=204)
