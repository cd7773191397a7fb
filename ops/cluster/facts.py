"""What a cluster has of a project, and what this machine keeps of it: secrets and the CA, of which the cluster is the truth."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ops.core import files
from ops.core.errors import HostLacks
from ops.core.state import State
from ops.engines.kubernetes.api import Absent, Api
from ops.engines.kubernetes.objects import (
    AUTHORITY,
    CERTIFICATE,
    KINDS,
    LABEL_KIND,
    LABEL_VERSION,
    RELEASE,
    SECRET,
    Object,
    hash_of,
    identity,
    labels,
    secret_object_name,
)
from ops.stack.model import LABEL_HASH, LABEL_PROJECT, LABEL_SERVICE
from ops.stack.render import digest

LABEL_SECRET = "cc03.secret"  # noqa: S105  (the name of a label)
NAMES, RENEW = "cc03.names", "cc03.renew-after"
"""Annotations of a certificate: what it is for, and when another one has to be issued (seconds of the epoch)."""
AUTHORITY_NAME, CURRENT_NAME = "certificate-authority", "release"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
LISTED = tuple(kind for kind in KINDS if kind != "Secret")
KEPT_ACTIVATIONS = 50


@dataclass(frozen=True)
class Certificate:
    """The newest one of a service. names: what it is for. renew_after: seconds of the epoch."""

    version: int
    names: tuple[str, ...]
    renew_after: float


@dataclass(frozen=True)
class Observed:
    """objects: (kind, name) -> object, without Secrets. secrets: name of a Secret of a secret's version. stored: secret ->
    newest version. current: what the ConfigMap of releases says."""

    objects: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    stored: Mapping[str, int] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    current: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[int, str] = field(default_factory=dict)
    """Number of each release that is kept -> digest of what it consists of."""
    authority: str = ""
    """Hash of the CA's files; empty where the cluster has none."""

    @property
    def number(self) -> int | None:
        """Of the release that runs."""
        return int(self.current["current"]) if self.current.get("current") else None

    @property
    def images(self) -> dict[str, str]:
        """Tag of an image -> its reference by digest, of the release that runs."""
        found: dict[str, str] = json.loads(self.current.get("images", "{}"))
        return found

    @property
    def activations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.current.get("activations", "[]"))
        return found

    @property
    def next_number(self) -> int:
        """Of a new release. Numbers are never used twice."""
        return max([*self.releases, *(one["release"] for one in self.activations)], default=0) + 1


def observe(api: Api) -> Observed:
    """Everything that a plan compares with. Raises as `Api.ask`."""
    with ThreadPoolExecutor(max_workers=len(LISTED) + 1) as pool:
        kept = pool.submit(_secrets, api)
        lists = list(pool.map(api.all_of, LISTED))
    objects = {identity(one): one for found in lists for one in found}
    current = objects.pop(("ConfigMap", CURRENT_NAME), None)
    return judged(objects, (current or {}).get("data") or {}, kept.result())


def _secrets(api: Api) -> list[Object]:
    """Labels and annotations of the project's Secrets, without what they hold."""
    path = KINDS["Secret"].path(api.namespace)
    found = api.ask("GET", path, accept=METADATA, labelSelector=f"{LABEL_PROJECT}={api.project}")
    return list(found["items"] or ())


def judged(objects: Mapping[tuple[str, str], Object], current: Mapping[str, str], kept: Iterable[Object]) -> Observed:
    secrets: set[str] = set()
    stored: dict[str, int] = {}
    certificates: dict[str, Certificate] = {}
    releases: dict[int, str] = {}
    authority = ""
    for one in (one["metadata"] for one in kept):
        marks, said = one["labels"], one.get("annotations") or {}
        kind, version = marks.get(LABEL_KIND), int(marks.get(LABEL_VERSION, 0))
        if kind == SECRET:
            secrets.add(one["name"])
            stored[marks[LABEL_SECRET]] = max(version, stored.get(marks[LABEL_SECRET], 0))
        elif kind == CERTIFICATE and version > getattr(certificates.get(marks[LABEL_SERVICE]), "version", 0):
            names = tuple(said[NAMES].split(","))
            certificates[marks[LABEL_SERVICE]] = Certificate(version, names, float(said[RENEW]))
        elif kind == RELEASE:
            releases[version] = said.get(LABEL_HASH, "")
        elif kind == AUTHORITY:
            authority = said.get(LABEL_HASH, "")
    return Observed(objects, frozenset(secrets), stored, certificates, current, dict(sorted(releases.items())), authority)


# Secrets and the CA: copies of this machine, for what reads the state folder.


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def held(project: str, name: str, kind: str, data: Mapping[str, bytes], *, immutable: bool = True, service: str = "",
         annotations: Mapping[str, str] | None = None, marks: Mapping[str, str] | None = None) -> Object:  # fmt: skip
    """A Secret. data: key -> content. marks: more labels."""
    return {
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": immutable,
        "metadata": {
            "name": name, "labels": {**labels(project, service), LABEL_KIND: kind, **(marks or {})},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "data": {key: encoded(content) for key, content in data.items()},
    }  # fmt: skip


def content_of(secret: Object) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def must_get(api: Api, name: str, what: str) -> dict[str, bytes]:
    """What a Secret holds. Raises Absent, naming what it is."""
    found = api.get("Secret", name)
    if found is None:
        raise Absent(f"the cluster has no {what}", f"there is no Secret {name} in {api.namespace}", "inv deploy")
    return content_of(found)


def authority_files(state: State) -> dict[str, bytes]:
    """File of the CA -> its content."""
    folder = state.ca.iterdir() if state.ca.is_dir() else ()
    return {path.name: path.read_bytes() for path in sorted(folder) if path.is_file() and not path.name.startswith(".")}


def authority_hash(found: Mapping[str, bytes]) -> str:
    return digest({name: encoded(content) for name, content in found.items()}) if found else ""


def pull_scale(state: State, seen: Observed) -> None:
    """Have the state folder say what `inv scale` has said, from whatever machine."""
    state.prepare()
    files.write(state.scale, seen.current.get("scale", "{}"))


def pull(api: Api, state: State, seen: Observed) -> None:
    """Have the state folder hold the secrets and the CA of the cluster, which may have been made from another machine."""
    for name, version in seen.stored.items():
        path = state.secrets / name / str(version)
        if not path.is_file():
            value = must_get(api, secret_object_name(name, version), f"secret {name}")["value"]
            files.make_folder(path.parent, mode=0o700)
            files.write(path, value, mode=0o600)
    if seen.authority and authority_hash(authority_files(state)) != seen.authority:
        for name, content in must_get(api, AUTHORITY_NAME, "certificate authority").items():
            files.write(state.ca / name, content, mode=0o644 if name.endswith(".pem") else 0o600)


# Releases.


def packed(objects: Iterable[Object], more: Mapping[str, Any]) -> bytes:
    return gzip.compress(json.dumps({**more, "objects": list(objects)}, sort_keys=True).encode(), mtime=0)


def release_name(number: int) -> str:
    return f"release-{number}"


def load_release(api: Api, seen: Observed, number: int) -> dict[str, Any]:
    """What a release consists of. Raises HostLacks where there is none of that number."""
    if number not in seen.releases:
        known = ", ".join(map(str, seen.releases)) or "none"
        raise HostLacks(f"there is no release {number}", f"releases on this cluster: {known}", "inv releases")
    content = must_get(api, release_name(number), f"release {number}")
    found: dict[str, Any] = json.loads(gzip.decompress(content["release"]))
    return found


def previous_good(seen: Observed) -> int | None:
    """The newest release before the current one that has served."""
    good = {one["release"] for one in seen.activations if one["outcome"] == "good"}
    older = [number for number in seen.releases if number in good and number < (seen.number or 0)]
    return max(older, default=None)


def digest_of(objects: Iterable[Object], versions: Mapping[str, int], realm: str) -> str:
    return digest([sorted((*identity(one), hash_of(one)) for one in objects), dict(versions), realm])
