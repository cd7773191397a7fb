"""The OpenAPI document says what is answered: every status, and problem documents as such."""

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from app import main, metrics
from app.middleware import RequestContext
from app.settings import Settings

PROBLEM = "application/problem+json"
ITEM = "/api/v1/items/00000000-0000-4000-8000-000000000000"


class Caller:
    """A verifier that takes every token for an administrator's."""

    async def verify(self, _token, _keys):
        from app.auth.tokens import Principal

        return Principal("u-1", "olga", "Olga", "", ("admin",), 3, 0.0)


@pytest.fixture
def client(tmp_path, tls, monkeypatch):
    for name in ("postgres-app", "redis-app"):
        (tmp_path / name).write_text("secret\n")
    nowhere = {"CC03_DATABASE_HOST": "127.0.0.1", "CC03_DATABASE_PORT": "1", "CC03_REDIS_HOST": "127.0.0.1"}
    realm = {"CC03_ISSUER": "https://example.test", "CC03_JWKS_URL": "http://127.0.0.1:1/", "CC03_REDIS_PORT": "1"}
    monkeypatch.setattr(metrics, "REGISTRY", CollectorRegistry())
    app = main.create_app(Settings.load({**nowhere, **realm}, tmp_path), tls)
    with TestClient(RequestContext(app), raise_server_exceptions=False) as client:
        client.state = app.state
        yield client


@pytest.fixture
def document(client):
    return client.get("/api/v1/openapi.json").json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_errors_are_problem_documents_and_nothing_else(document):
    assert set(document["components"]["schemas"]["Problem"]["required"]) >= {"type", "title", "status", "detail"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and "/health/" not in name:
                assert list(response["content"]) == [PROBLEM], (name, status)
                assert response["content"][PROBLEM]["schema"] == {"$ref": "#/components/schemas/Problem"}


OF_ANY_ROLE = {"GET /api/v1/me", "POST /api/v1/browser-errors", "POST /api/v1/web-vitals"}


def test_every_protected_route_says_how_it_refuses(document):
    protected = {name: operation["responses"] for name, operation in operations(document) if operation.get("security")}
    assert OF_ANY_ROLE < protected.keys()
    for name, responses in protected.items():
        expected = {"401", "429", "500", "503"} | (set() if name in OF_ANY_ROLE else {"403"})
        assert expected <= responses.keys(), name


VALID = {"name": "Bolt", "sku": "B", "quantity": 1}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/api/v1/items", {}, 503),
        ("GET", "/api/v1/items", {"params": {"limit": 0}}, 422),
        ("GET", ITEM, {}, 503),
        ("GET", "/api/v1/items/x", {}, 422),
        ("GET", f"{ITEM}/history", {}, 503),
        ("POST", "/api/v1/items", {"json": VALID}, 503),
        ("POST", "/api/v1/items", {"json": {}}, 422),
        ("POST", "/api/v1/items", {"json": VALID, "headers": {"Idempotency-Key": " "}}, 400),
        ("POST", "/api/v1/items", {"content": b"x" * 70_000}, 413),
        ("PUT", ITEM, {"json": VALID}, 428),
        ("PUT", ITEM, {"json": VALID, "headers": {"If-Match": "x"}}, 400),
        ("PUT", ITEM, {"json": VALID, "headers": {"If-Match": "*"}}, 503),
        ("DELETE", ITEM, {"headers": {"If-Match": "x"}}, 400),
        ("DELETE", ITEM, {}, 503),
        ("GET", "/api/v1/me", {}, 200),
    ],
)
def test_what_is_answered_is_declared(client, document, method, path, options, status):
    client.state.tokens = Caller()
    headers = {"Authorization": "Bearer x", **options.pop("headers", {})}
    answer = client.request(method, path, headers=headers, **options)
    assert answer.status_code == status, answer.text
    template = path.replace(ITEM, "/api/v1/items/{item_id}").replace("/items/x", "/items/{item_id}")
    declared = document["paths"][template][method.lower()]["responses"][str(status)]
    assert answer.headers["content-type"] in declared["content"]
