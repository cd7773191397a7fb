"""What an item is, in requests and in responses."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.items.text import line, paragraphs

TRIMMED = StringConstraints(strip_whitespace=True)


class ItemInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, TRIMMED, AfterValidator(line), Field(min_length=1, max_length=200)]
    sku: Annotated[
        str,
        StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"),
        Field(min_length=1, max_length=64),
    ]
    quantity: Annotated[int, Field(ge=0, le=2_147_483_647, strict=True)]
    location: Annotated[str, TRIMMED, AfterValidator(line), Field(max_length=200)] = ""
    notes: Annotated[str, AfterValidator(paragraphs), Field(max_length=4000)] = ""


class Item(BaseModel):
    id: UUID
    name: str
    sku: str
    quantity: int
    location: str
    notes: str
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


class ItemChange(BaseModel):
    """One line of an item's history: who did what when, and the item as it was from then on (deleted: until then)."""

    version: int
    action: Literal["created", "updated", "deleted"]
    at: datetime
    subject: str
    username: str
    name: str
    sku: str
    quantity: int
    location: str
    notes: str


class ItemHistory(BaseModel):
    changes: list[ItemChange]


class ItemPage(BaseModel):
    items: list[Item]
    total: Annotated[
        int, Field(description="How many items the search finds; changes of others show within five seconds")
    ]
    limit: int
    offset: int
