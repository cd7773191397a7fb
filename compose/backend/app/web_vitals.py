"""How fast pages were in users' browsers, into histograms: by metric alone, neither by user nor by page."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app import metrics
from app.auth.dependencies import Caller, documented
from app.problems import answers
from app.reports import Reports

Seconds = Annotated[float | None, Field(ge=0, le=600, allow_inf_nan=False)]


class WebVitals(BaseModel):
    model_config = ConfigDict(extra="forbid")

    lcp: Seconds = None
    inp: Seconds = None
    ttfb: Seconds = None
    cls: Annotated[float | None, Field(ge=0, le=100, allow_inf_nan=False)] = None


router = APIRouter(prefix="/api/v1", tags=["account"], dependencies=[documented])


@router.post(
    "/web-vitals",
    summary="Report how fast a page was, for the operator",
    status_code=204,
    responses=answers(401, 413, 422),
)
async def report(request: Request, caller: Caller, vitals: WebVitals) -> Response:
    reports: Reports = request.app.state.web_vitals
    reports.admit(caller.subject)
    for name, seconds in (("lcp", vitals.lcp), ("inp", vitals.inp), ("ttfb", vitals.ttfb)):
        if seconds is not None:
            metrics.WEB_VITALS.labels(name).observe(seconds)
    if vitals.cls is not None:
        metrics.LAYOUT_SHIFT.observe(vitals.cls)
    return Response(status_code=204)
