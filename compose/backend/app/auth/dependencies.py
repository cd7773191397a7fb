"""What routes ask for: a caller who holds a role."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from app import metrics
from app.auth.tokens import KeysUnavailable, Principal, TokenRefused
from app.problems import Problem, answers

# For the OpenAPI document; the header itself is read below, with our own error bodies.
_scheme = HTTPBearer(auto_error=False, bearerFormat="JWT", description="Access token of the realm")


def _challenge(**parameters: str) -> dict[str, str]:
    return {"WWW-Authenticate": ", ".join(['Bearer realm="cc03"', *(f'{k}="{v}"' for k, v in parameters.items())])}


async def authenticated(request: Request) -> Principal:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        # RFC 6750: without credentials the challenge carries no error code.
        raise Problem(401, "A bearer token is required.", headers=_challenge())
    state = request.app.state
    try:
        caller = await state.tokens.verify(token.strip(), state.keys)
    except TokenRefused as refused:
        metrics.TOKENS_REFUSED.labels(refused.label).inc()
        raise Problem(
            401,
            f"Not accepted: {refused.reason}.",
            headers=_challenge(error="invalid_token", error_description=refused.reason),
        ) from refused
    except KeysUnavailable as error:
        raise Problem(503, "The realm's keys are not available yet.", headers={"Retry-After": "5"}) from error
    request.scope["cc03.subject"] = caller.subject
    return caller


def require(role: str) -> Callable[[Request], Awaitable[Principal]]:
    async def holder(request: Request) -> Principal:
        caller = await authenticated(request)
        if not caller.allows(role):
            raise Problem(
                403,
                f"This needs the role '{role}'.",
                headers=_challenge(error="insufficient_scope", scope=role),
                required_role=role,
            )
        return caller

    return holder


Viewer = Annotated[Principal, Depends(require("viewer"))]
Editor = Annotated[Principal, Depends(require("editor"))]
Admin = Annotated[Principal, Depends(require("admin"))]
Caller = Annotated[Principal, Depends(authenticated)]

documented = Depends(_scheme)
router = APIRouter(prefix="/api/v1", tags=["account"], dependencies=[documented])


class Me(BaseModel):
    subject: str
    username: str
    name: str
    email: str
    roles: list[str]


@router.get("/me", summary="The caller, as the token tells", responses=answers(401))
async def me(caller: Caller) -> Me:
    return Me(
        subject=caller.subject,
        username=caller.username,
        name=caller.name,
        email=caller.email,
        roles=list(caller.roles),
    )
