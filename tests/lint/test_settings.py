"""config/stack.yaml by its JSON schema, which editors use: it accepts and refuses what the deployer does."""

from __future__ import annotations

from pathlib import Path

from ops.core.machine import REPOSITORY
from ops.core.process import Result, run

CONFIG = REPOSITORY / "config"
REFUSED = (
    "domian: a", "ports: {http: eighty}", "ports: {http: 0}", "ports: 80", "replicas: {backend: 2.5}", "replicas: {backnd: 2}",
    "limits: {postgre: {}}", "limits: {redis: {mem: 1g}}", "limits: {redis: {memory: lots}}", "limits: {redis: {cpus: 0}}",
    "project: Shop", "domain: https://shop", "domain: {name: a}", "retention: {logs: 3}", "backup: {full_at: '25:00'}",
    "backup: {repositories: [{path: /x}]}", "backup: {repositories: [{name: a, s3: {bucket: shop}}]}",
    "certificates: {acme: {issuers: [{name: a, directory: 'http://a.example/'}]}}",
    "alerts: {destinations: [smtp.example.com]}",
)  # fmt: skip
ACCEPTED = (
    "", "limits: {redis: {memory: 512m, cpus: 0.5}, nginx: {memory: 1073741824}}", "backup: {full_at: 10:30, keep: 3}",
    "backup: {repositories: [{name: d, path: /mnt/d}, {name: o, s3: {endpoint: s3.example.org, bucket: shop}}]}",
    "certificates: {acme: {issuers: [letsencrypt, {name: zerossl, eab: {key_id: a, key_file: /b}}]}}",
    "deadlines: {start: {keycloak: 900}}", "load_balancer: {addresses: [192.0.2.7]}",
)  # fmt: skip


def by_schema(*files: Path) -> Result:
    return run(("check-jsonschema", "--schemafile", str(CONFIG / "stack.schema.json"), *map(str, files)), timeout=60, ok=None)


def written(folder: Path, texts: tuple[str, ...]) -> list[Path]:
    paths = [folder / f"{number}.yaml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text((text or "{}") + "\n")
    return paths


def test_shipped_file_names_its_schema_and_follows_it() -> None:
    assert (CONFIG / "stack.yaml").read_text().startswith("# yaml-language-server: $schema=stack.schema.json\n")
    answer = by_schema(CONFIG / "stack.yaml")
    assert answer.returncode == 0, answer.stdout


def test_schema_accepts_what_can_be_meant(tmp_path: Path) -> None:
    answer = by_schema(*written(tmp_path, ACCEPTED))
    assert answer.returncode == 0, answer.stdout


def test_schema_refuses_what_cannot_be_meant(tmp_path: Path) -> None:
    paths = written(tmp_path, REFUSED)
    answer = by_schema(*paths)
    assert [text for path, text in zip(paths, REFUSED, strict=True) if f"{path}::" not in answer.stdout] == [], answer.stdout
