"""The items resource."""

import hashlib
import re
import unicodedata
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from app.auth.dependencies import Admin, Editor, Viewer, documented
from app.items.conditions import ANY, etag, matched, versions
from app.items.models import Item, ItemHistory, ItemInput, ItemPage
from app.items.storage import SORTS, Conflict, ItemStore, KeyReused, SkuTaken
from app.problems import Problem, answers

JSON = "application/json"
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_SORT_PATTERN = f"^-?({'|'.join(SORTS)})$"

_TAG: dict[str, Any] = {"ETag": {"description": "Names this version", "schema": {"type": "string"}}}
_WITH_TAG: dict[str, Any] = {"headers": _TAG}

router = APIRouter(prefix="/api/v1/items", tags=["items"], dependencies=[documented])


def pack(item: Item) -> bytes:
    """What the cache holds: the version, a newline, the body as it will be sent."""
    return b"%d\n%b" % (item.version, item.model_dump_json().encode())


def _answer(item: Item, status: int = 200, **headers: str) -> Response:
    return Response(
        item.model_dump_json(),
        status,
        {"ETag": etag(item.version), "Cache-Control": "no-cache", **headers},
        JSON,
    )


def _store(request: Request) -> ItemStore:
    return request.app.state.items


def _not_found(item_id: UUID) -> Problem:
    return Problem(404, f"There is no item {item_id}.")


def _version_conflict(conflict: Conflict) -> Problem:
    return Problem(
        412,
        f"The item was changed by {conflict.current.updated_by} meanwhile.",
        headers={"ETag": etag(conflict.current.version)},
        current=conflict.current.model_dump(mode="json"),
    )


def _sku_taken(sku: str) -> Problem:
    return Problem(409, f"The sku {sku} belongs to another item.", errors=[{"field": "body.sku", "message": "taken"}])


async def _changed(request: Request, action: str, item: Item) -> None:
    state: Any = request.app.state
    state.totals.changed(action)
    if action != "created":  # nobody can have cached what was not there
        await state.cache.invalidate(str(item.id))
    await state.events.publish({"type": "item", "action": action, "id": str(item.id), "version": item.version})


@router.get("", summary="Items, a page at a time", responses=answers(401, 403, 422))
async def list_items(
    request: Request,
    caller: Viewer,
    q: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$", description="Part of name, sku or location")] = "",
    sort: Annotated[str, Query(pattern=_SORT_PATTERN, description="A column; '-' in front: descending")] = "name",
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> ItemPage:
    search = unicodedata.normalize("NFC", q).strip()
    items = await _store(request).page(search, sort, limit, offset)
    total = await request.app.state.totals.of(search, offset, limit, len(items))
    page = ItemPage.model_construct(items=items, total=total, limit=limit, offset=offset)
    return Response(page.model_dump_json(), headers={"Cache-Control": "no-cache"}, media_type=JSON)  # type: ignore[return-value]


@router.get(
    "/{item_id}",
    summary="One item",
    response_model=Item,
    responses={
        200: _WITH_TAG,
        304: {"description": "The version that If-None-Match names is still the newest", **_WITH_TAG},
        **answers(401, 403, 404, 422),
    },
)
async def read_item(
    request: Request, caller: Viewer, item_id: UUID, if_none_match: Annotated[list[str] | None, Header()] = None
) -> Response:
    cache = request.app.state.cache
    key = str(item_id)
    packed, outcome = await cache.get(key)
    if packed is None:
        item = await _store(request).get(item_id)
        if item is None:
            raise _not_found(item_id)
        packed = pack(item)
        if outcome == "miss":
            await cache.offer(key, packed)
    version, _, body = packed.partition(b"\n")
    headers = {"Cache-Control": "no-cache", "X-Cache": outcome}
    known = matched(if_none_match or (), int(version))
    if known is not None:
        return Response(status_code=304, headers={"ETag": known, **headers})
    return Response(body, headers={"ETag": etag(int(version)), **headers}, media_type=JSON)


@router.get(
    "/{item_id}/history", summary="Who changed an item, the newest change first", responses=answers(401, 403, 404, 422)
)
async def read_history(
    request: Request, caller: Viewer, item_id: UUID, limit: Annotated[int, Query(ge=1, le=100)] = 25
) -> ItemHistory:
    changes = await _store(request).history(item_id, limit)
    if not changes and await _store(request).get(item_id) is None:
        raise _not_found(item_id)
    return ItemHistory.model_construct(changes=changes)


@router.post(
    "",
    summary="A new item",
    status_code=201,
    response_model=Item,
    responses={201: _WITH_TAG, **answers(400, 401, 403, 409, 413, 422)},
)
async def create_item(
    request: Request,
    caller: Editor,
    item: ItemInput,
    idempotency_key: Annotated[str | None, Header(description="Makes a repetition safe for 24 hours")] = None,
) -> Response:
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise Problem(400, "Idempotency-Key must be 1 to 128 visible ASCII characters.")
    fingerprint = hashlib.sha256(item.model_dump_json().encode()).hexdigest()
    try:
        created, replayed = await _store(request).create(item, caller, key=idempotency_key, fingerprint=fingerprint)
    except SkuTaken as error:
        raise _sku_taken(item.sku) from error
    except KeyReused as error:
        raise Problem(422, "This Idempotency-Key was used for a different request.") from error
    headers = {"Location": f"{router.prefix}/{created.id}"}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    else:
        await _changed(request, "created", created)
    return _answer(created, 201, **headers)


@router.put(
    "/{item_id}",
    summary="Replace an item that is still as it was read",
    response_model=Item,
    responses={200: _WITH_TAG, **answers(400, 401, 403, 404, 409, 412, 413, 422, 428)},
)
async def update_item(
    request: Request,
    caller: Editor,
    item_id: UUID,
    item: ItemInput,
    if_match: Annotated[list[str] | None, Header(description="The ETag as read")] = None,
) -> Response:
    if not if_match:
        raise Problem(428, "If-Match with the ETag of the item as it was read is required.")
    try:
        result = await _store(request).update(item_id, item, versions("If-Match", if_match), caller)
    except SkuTaken as error:
        raise _sku_taken(item.sku) from error
    if result is None:
        raise _not_found(item_id)
    if isinstance(result, Conflict):
        raise _version_conflict(result)
    await _changed(request, "updated", result)
    return _answer(result)


@router.delete(
    "/{item_id}", summary="Remove an item", status_code=204, responses=answers(400, 401, 403, 404, 412, 413, 422)
)
async def delete_item(
    request: Request, caller: Admin, item_id: UUID, if_match: Annotated[list[str] | None, Header()] = None
) -> Response:
    expected = versions("If-Match", if_match) if if_match else ANY
    result = await _store(request).delete(item_id, expected, caller)
    if result is None:
        raise _not_found(item_id)
    if isinstance(result, Conflict):
        raise _version_conflict(result)
    await _changed(request, "deleted", result)
    return Response(status_code=204)
