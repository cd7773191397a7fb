"""Repositories besides the local one, as stack.yaml and `--bootstrap` name them: checked, completed, typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ops.core.errors import UsageProblem

FORM = (
    "a list of {name, keep, append_only} with one of path (a folder), s3: {endpoint, bucket, prefix, region, path_style, ca, "
    "address} and sftp: {host, port, user, path, host_key, address}"
)
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

Check = Callable[[Any], Any]


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
    def told(self) -> str:
        """Where it is, in a word for people."""
        where = self.where
        if self.kind == "s3":
            return f"s3://{urlsplit(where['endpoint']).netloc}/{where['bucket']}/{where.get('prefix', '')}".rstrip("/")
        return f"sftp://{where['user']}@{where['host']}{where['path']}" if self.kind == "sftp" else str(where["path"])


def of(entries: list[dict[str, Any]]) -> tuple[Repository, ...]:
    """The value of `backup.repositories` as objects."""
    return tuple(Repository(**entry) for entry in entries)


def given(secret: str) -> str:
    """The repository whose credentials a secret is a part of; empty: it is another secret, which is made up."""
    match = re.fullmatch(rf"{GIVEN}({NAME}?)-(?:key|key-secret)", secret)
    return match[1] if match else ""


# ---- stack.yaml


def _text(pattern: str, meaning: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(meaning)
        return value

    return check


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError("port: a whole number from 1 to 65535")
    return value


def _flag(name: str) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name}: true or false")
        return value

    return check


def _endpoint(value: Any) -> str:
    """With the scheme. Without TLS whoever listens could write into the repository."""
    match = re.fullmatch(r"(?:https://)?([a-zA-Z0-9.-]+(?::\d{1,5})?)/?", str(value))
    if not match:
        raise ValueError("endpoint: a host such as s3.example.org or s3.example.org:9000, reached by TLS")
    return f"https://{match[1]}"


def certificates(value: Any) -> str:
    """Roots of a private authority. Raises ValueError where they are not in PEM form."""
    text = str(value).strip()
    if not text.startswith("-----BEGIN CERTIFICATE-----") or not text.endswith("-----END CERTIFICATE-----"):
        raise ValueError("ca: certificates in PEM form, indented below `ca: |`")
    return text + "\n"


_HOST = r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}"
_FOLDER = r"/[\x21-\x39\x3b-\x7e]+"
_ADDRESS = _text(r"\d{1,3}(\.\d{1,3}){3}", "address: an IPv4 address, for a name that no DNS server knows")
_KEY_TYPES = "ssh-ed25519|ecdsa-sha2-nistp256|ecdsa-sha2-nistp384|ecdsa-sha2-nistp521|ssh-rsa"
PLACES: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "s3": (
        {"endpoint": _endpoint, "bucket": _text(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "bucket: the name of a bucket")},
        {
            "prefix": _text(r"[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]", "prefix: a path within the bucket, such as shop/live"),
            "region": _text(r"[a-z0-9-]+", "region: such as eu-central-1"),
            "path_style": _flag("path_style"),
            "ca": certificates,
            "address": _ADDRESS,
        },
    ),
    "sftp": (
        {
            "host": _text(_HOST, "host: a host name or address"),
            "user": _text(r"[a-z_][a-z0-9_.-]{0,31}", "user: a name of an account there"),
            "path": _text(_FOLDER, "path: an absolute path there, without spaces and colons"),
            "host_key": _text(rf"(?:{_KEY_TYPES}) [A-Za-z0-9+/=]+", "host_key: a line such as `ssh-ed25519 AAAA…`, as "
                              "ssh-keyscan prints behind the host (compare it on that machine)"),
        },
        {"port": _port, "address": _ADDRESS},
    ),
}  # fmt: skip
"""Kind -> (keys that must be there, keys that may be), each with what checks and completes its value."""


def parse(value: Any) -> list[dict[str, Any]]:
    """The list under `backup.repositories`, complete with its defaults. A list: a release keeps it as JSON.

    Raises ValueError with what it must be.
    """
    if not isinstance(value, list):
        raise ValueError(FORM)
    found = [_one(entry) for entry in value]
    if len({entry["name"] for entry in found}) < len(found):
        raise ValueError("names that differ from each other")
    identities = [one.identity for one in of(found)]
    if len(set(identities)) < len(identities):
        raise ValueError("places that differ from each other")
    return found


def _one(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise ValueError(FORM)
    kinds = entry.keys() & {"path", *PLACES}
    if not {"name"} <= entry.keys() <= {"name", "keep", "append_only", *kinds} or len(kinds) != 1:
        raise ValueError(FORM)
    if not re.fullmatch(NAME, str(entry["name"])) or entry["name"] == LOCAL or str(entry["name"]).endswith("-key"):
        raise ValueError("names of lower-case letters, digits and dashes, other than local, not ending in -key")
    keep = entry.get("keep", DEFAULT_KEEP)
    if isinstance(keep, bool) or not isinstance(keep, int) or not 1 <= keep <= 1000:
        raise ValueError("keep: a whole number from 1 to 1000")
    (kind,) = kinds
    return {
        "name": str(entry["name"]), "kind": "folder" if kind == "path" else kind, "where": _where(kind, entry[kind]),
        "keep": keep, "append_only": _flag("append_only")(entry.get("append_only", False)),
    }  # fmt: skip


def _where(kind: str, value: Any) -> dict[str, Any]:
    if kind == "path":
        return {"path": _text(_FOLDER, "absolute paths without spaces and colons")(value)}
    required, optional = PLACES[kind]
    if not isinstance(value, Mapping) or not required.keys() <= value.keys() <= {*required, *optional}:
        raise ValueError(f"{kind}: {{{', '.join([*required, *optional])}}}, of which {', '.join(required)} must be there")
    return {key: check(value[key]) for key, check in {**required, **optional}.items() if key in value}


# ---- --bootstrap


def from_url(text: str, read: Callable[[str], str]) -> Repository:
    """`s3://HOST/BUCKET/PREFIX?region=…&style=path&ca=FILE`, `sftp://USER@HOST/PATH?host_key=FILE`, or a folder.

    Parameters
    ----------
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
    try:
        where = _where(parts.scheme, _url_place(parts.scheme, text, {**query, **files}))
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
    return {**own, **port, "host": parts.hostname or "", "user": parts.username or "", "path": parts.path}


def host_key(text: str) -> str:
    """The key in a line of `known_hosts`, of ssh-keyscan, or of the server's own .pub file; empty where there is none."""
    match = re.search(rf"(?:{_KEY_TYPES}) [A-Za-z0-9+/=]+", text)
    return match[0] if match else ""


# ---- Credentials


def read_credentials(kind: str, text: str, source: str) -> dict[str, str]:
    """Part -> value, out of a file that an operator gives.

    Parameters
    ----------
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
