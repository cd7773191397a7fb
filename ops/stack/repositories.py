"""Repositories besides the local one, as stack.yaml and `--bootstrap` name them: checked, completed, typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from ops.core.errors import UsageProblem
from ops.stack.yaml_model import Form, Keys, refusal

FORM = "a name with one of path (a folder), s3 and sftp"
LOCAL = "local"
NAME = r"[a-z][a-z0-9-]{0,19}"
OUTWARD = "outward"
"""The one network with a way out that the backup container stands on, where a repository is on another machine."""
GIVEN = "repository-"
"""How the names of secrets begin that an operator gives: they cannot be made up."""
CREDENTIALS = {"folder": (), "s3": ("key", "key-secret"), "sftp": ("key",)}
"""Kind -> parts of its credentials, each a secret of its own."""
DEFAULT_KEEP = 7
EXAMPLES = "docs/runbooks/disaster.md has examples"


@dataclass(frozen=True)
class Repository:
    """One place for backups. where: as docs/reference/backup.md describes `where` of its kind. keep: full sets."""

    name: str
    kind: str
    where: Mapping[str, Any]
    keep: int = DEFAULT_KEEP
    append_only: bool = False

    @property
    def remote(self) -> bool:
        return self.kind != "folder"

    @property
    def secrets(self) -> dict[str, str]:
        """Part of its credentials -> name of the secret that holds it."""
        return {part: f"{GIVEN}{self.name}-{part}" for part in CREDENTIALS[self.kind]}

    @property
    def host(self) -> str:
        """The machine that it is on; empty: this one."""
        if self.kind == "s3":
            return urlsplit(str(self.where["endpoint"])).hostname or ""
        return str(self.where.get("host", ""))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of that machine that programs look up. S3 puts the bucket in front of it, unless told otherwise."""
        if self.kind == "s3" and not self.where.get("path_style"):
            return (f"{self.where['bucket']}.{self.host}", self.host)
        return (self.host,)

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells it from every other one, whatever it is called and however it is reached."""
        if self.kind == "s3":
            return ("s3", str(self.where["bucket"]), str(self.where.get("prefix", "")))
        return (self.kind, self.host, str(self.where["path"]))

    @property
    def url(self) -> str:
        """Where it is, for messages."""
        where = self.where
        if self.kind == "s3":
            return f"s3://{urlsplit(where['endpoint']).netloc}/{where['bucket']}/{where.get('prefix', '')}".rstrip("/")
        return f"sftp://{where['user']}@{where['host']}{where['path']}" if self.kind == "sftp" else str(where["path"])


def given(secret: str) -> str:
    """The repository whose credentials a secret is a part of; empty: it is another secret, which is made up."""
    match = re.fullmatch(rf"{GIVEN}({NAME}?)-(?:key|key-secret)", secret)
    return match[1] if match else ""


# ---- stack.yaml

_HOST = r"^[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}$"
_FOLDER = r"^/[\x21-\x39\x3b-\x7e]+$"
_KEY_TYPES = "ssh-ed25519|ecdsa-sha2-nistp256|ecdsa-sha2-nistp384|ecdsa-sha2-nistp521|ssh-rsa"


def _pem(text: str) -> str:
    text = text.strip()
    if not text.startswith("-----BEGIN CERTIFICATE-----") or not text.endswith("-----END CERTIFICATE-----"):
        raise ValueError(PEM)
    return text + "\n"


PEM = "certificates in PEM form, indented below `ca: |`"
Certificates = Annotated[str, AfterValidator(_pem), Form(PEM)]
"""Roots of a private authority."""
Folder = Annotated[str, Field(pattern=_FOLDER), Form("an absolute path without spaces and colons")]
Address = Annotated[
    str, Field(pattern=r"^\d{1,3}(\.\d{1,3}){3}$"), Form("an IPv4 address, for a name that no DNS server knows")
]  # fmt: skip
# With the scheme. Without TLS whoever listens could write into the repository.
Endpoint = Annotated[
    str, Field(pattern=r"^(https://)?[a-zA-Z0-9.-]+(:\d{1,5})?/?$"),
    AfterValidator(lambda text: f"https://{text.removeprefix('https://').rstrip('/')}"),
    Form("a host such as s3.example.org or s3.example.org:9000, reached by TLS"),
]  # fmt: skip


class S3(Keys):
    endpoint: Endpoint = Field(description="Host of the service.")
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"), Form("the name of a bucket")] = Field(
        description="Bucket, which exists already.",
    )  # fmt: skip
    prefix: (
        Annotated[
            str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$"), Form("a path within the bucket, such as shop/live")
        ]
        | None
    ) = Field(default=None, description="Path within the bucket.")
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$"), Form("a region such as eu-central-1")] | None = Field(
        default=None, description="Region of the bucket.",
    )  # fmt: skip
    path_style: bool = Field(
        default=False, description="Whether the bucket stands in the path of a URL instead of in its host name.",
    )  # fmt: skip
    ca: Certificates | None = Field(default=None, description="Roots that the service's certificate is checked against.")
    address: Address | None = Field(default=None, description="Address of the host.")


class Sftp(Keys):
    host: Annotated[str, Field(pattern=_HOST), Form("a host name or address")] = Field(description="Host of the server.")
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]{0,31}$"), Form("a name of an account there")] = Field(
        description="Account on the server.",
    )  # fmt: skip
    path: Folder = Field(description="Folder on the server.")
    host_key: Annotated[
        str,
        Field(pattern=rf"^(?:{_KEY_TYPES}) [A-Za-z0-9+/=]+$"),
        Form("a line such as `ssh-ed25519 AAAA…`, as ssh-keyscan prints behind the host (compare it on that machine)"),
    ] = Field(description="Public key of the server.")
    port: int = Field(default=22, ge=1, le=65535, description="Port of the server.")
    address: Address | None = Field(default=None, description="Address of the host.")


PLACES: Mapping[str, type[S3 | Sftp]] = {"s3": S3, "sftp": Sftp}


class RepositoryKeys(Keys):
    """A repository in stack.yaml."""

    name: Annotated[
        str, Field(pattern=f"^{NAME}$"), Form("lower-case letters, digits and dashes, other than local, not ending in -key")
    ] = Field(description="Name in commands, metrics and the names of its credentials.")
    keep: int = Field(default=DEFAULT_KEEP, ge=1, le=1000, description="Full sets that are kept there.")
    append_only: bool = Field(
        default=False, description="Whether the credentials cannot delete; then nothing is removed there.",
    )  # fmt: skip
    path: Folder | None = Field(default=None, description="Folder on another disk of this host.")
    s3: S3 | None = Field(default=None, description="Bucket of an S3 service.")
    sftp: Sftp | None = Field(default=None, description="Folder on an SFTP server.")

    @field_validator("name")
    @classmethod
    def _another_name(cls, name: str) -> str:
        if name == LOCAL or name.endswith("-key"):
            raise ValueError("a name other than local, not ending in -key")
        return name

    @model_validator(mode="after")
    def _one_place(self) -> RepositoryKeys:
        if sum(one is not None for one in (self.path, self.s3, self.sftp)) != 1:
            raise ValueError(FORM)
        return self

    @property
    def repository(self) -> Repository:
        if self.path is not None:
            return Repository(self.name, "folder", {"path": self.path}, self.keep, self.append_only)
        kind, place = ("s3", self.s3) if self.s3 else ("sftp", self.sftp)
        return Repository(self.name, kind, _where(place), self.keep, self.append_only)


def _where(place: S3 | Sftp | None) -> dict[str, Any]:
    return place.model_dump(exclude_unset=True, exclude_none=True) if place else {}


def _different(found: tuple[RepositoryKeys, ...]) -> tuple[RepositoryKeys, ...]:
    identities, names = ([getattr(one.repository, key) for one in found] for key in ("identity", "name"))
    if len(set(names)) < len(names):
        raise ValueError("names that differ from each other")
    if len(set(identities)) < len(identities):
        raise ValueError("places that differ from each other")
    return found


Repositories = Annotated[
    tuple[RepositoryKeys, ...], Field(strict=False), AfterValidator(_different), Form(f"a list of places, each {FORM}")
]


# ---- --bootstrap


def from_url(text: str, read: Callable[[str], str]) -> Repository:
    """`s3://HOST/BUCKET/PREFIX?region=…&style=path&ca=FILE`, `sftp://USER@HOST/PATH?host_key=FILE`, or a folder.

    read: gives the content of a file that the URL names.
    Raises UsageProblem for what cannot be meant.
    """
    parts = urlsplit(text)
    if parts.scheme not in PLACES:
        if "://" in text:
            raise UsageProblem(f"{text} is no repository", "s3://…, sftp://… or a folder is needed", EXAMPLES)
        return Repository(LOCAL, "folder", {"path": text})
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    files: dict[str, str] = {key: read(path) for key, path in query.items() if key in ("ca", "host_key")}
    model = PLACES[parts.scheme]
    try:
        where = _where(model.model_validate(_url_place(parts.scheme, text, {**query, **files})))
    except ValidationError as problem:
        raise UsageProblem(f"{text} is no repository", refusal(model, problem), EXAMPLES) from problem
    except ValueError as problem:
        raise UsageProblem(f"{text} is no repository", str(problem), EXAMPLES) from problem
    return Repository("bootstrap", parts.scheme, where)


def _url_place(kind: str, text: str, query: Mapping[str, str]) -> dict[str, Any]:
    parts = urlsplit(text)
    known = {"s3": {"region", "style", "ca", "address"}, "sftp": {"host_key", "address"}}[kind]
    if not query.keys() <= known:
        raise ValueError(f"behind the question mark: {', '.join(sorted(known))}")
    own: dict[str, Any] = {key: value for key, value in query.items() if key != "style"}
    if kind == "s3":
        bucket, _, prefix = parts.path.strip("/").partition("/")
        style = {"path_style": True} if query.get("style") == "path" else {}
        return {**own, **style, "endpoint": parts.netloc, "bucket": bucket, **({"prefix": prefix} if prefix else {})}
    if "host_key" in own:
        own["host_key"] = host_key(own["host_key"])
    port = {"port": parts.port} if parts.port else {}
    place = {"host": parts.hostname, "user": parts.username, "path": parts.path}
    return {**own, **port, **{key: value for key, value in place.items() if value}}


def host_key(text: str) -> str:
    """The key in a line of `known_hosts`, of ssh-keyscan, or of the server's own .pub file; empty where there is none."""
    match = re.search(rf"(?:{_KEY_TYPES}) [A-Za-z0-9+/=]+", text)
    return match[0] if match else ""


# ---- Credentials


def read_credentials(kind: str, text: str, source: str) -> dict[str, str]:
    """Part -> value, out of a file that an operator gives.

    text: of S3, lines `key = …` and `key_secret = …`, or those of an AWS credentials file; of SFTP, a private key.
    Raises UsageProblem where the file is neither.
    """
    if kind == "sftp":
        if not re.match(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", text.strip()) or "ENCRYPTED" in text:
            raise UsageProblem(
                f"{source} is no private key that can be used", "a key in PEM or OpenSSH form without a password is needed",
                "ssh-keygen -t ed25519 -N '' -f FILE",
            )  # fmt: skip
        return {"key": text.strip() + "\n"}
    said = {key.lower(): value for key, value in re.findall(r"^\s*(\w+)\s*[=:]\s*(\S+)\s*$", text, re.MULTILINE)}
    key = said.get("key") or said.get("aws_access_key_id")
    secret = said.get("key_secret") or said.get("aws_secret_access_key")
    if not key or not secret:
        raise UsageProblem(
            f"{source} holds no credentials of S3", "lines `key = …` and `key_secret = …` are needed",
            "correct the file; it is read once and not kept",
        )  # fmt: skip
    return {"key": key, "key-secret": secret}
