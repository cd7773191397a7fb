"""An S3 server and an SFTP server for the length of a drill, on an address of this host that containers reach."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops.certificates import pki
from ops.core.machine import REPOSITORY
from ops.core.process import run, until
from tests.drill.stack import Drill

BUCKET, PREFIX, S3_NAME, SFTP_NAME = "backups", "shop", "s3.cc03.test", "nas.cc03.test"
START_SECONDS, STARTS = 60.0, 3
"""Requests of the S3 server that need no credentials: what makes its administrator."""
HOST_MAY = ("ListBucket", "GetBucketLocation", "GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
"""As docs/how-to/backup.md says for an append-only bucket: what it deletes stays as an older version."""
Keys = Mapping[str, str]


def own_address() -> str:
    """Of this host, as its own containers reach it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


class S3:
    """moto with TLS, accounts and policies. `admin` may do everything, `host` what the documentation tells to allow."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.admin: Keys = {}
        self.host: Keys = {}
        self.pid = 0

    @property
    def ca(self) -> str:
        return (self.folder / "ca.pem").read_text()

    def client(self, service: str, keys: Keys) -> Any:
        return boto3.client(
            service, endpoint_url=f"https://localhost:{self.port}", verify=str(self.folder / "ca.pem"), region_name="us-east-1",
            aws_access_key_id=keys.get("AccessKeyId", "none"), aws_secret_access_key=keys.get("SecretAccessKey", "none"),
        )  # fmt: skip

    def credentials(self, keys: Keys) -> Path:
        """A file as an operator gives it."""
        path = self.folder / f"{keys['UserName']}.txt"
        path.write_text(f"key = {keys['AccessKeyId']}\nkey_secret = {keys['SecretAccessKey']}\n")
        path.chmod(0o600)
        return path

    def entry(self) -> dict[str, Any]:
        """Of stack.yaml."""
        place = {
            "endpoint": f"{S3_NAME}:{self.port}", "bucket": BUCKET, "prefix": PREFIX, "path_style": True, "ca": self.ca,
            "address": own_address(),
        }  # fmt: skip
        return {"name": "offsite", "keep": 1, "append_only": True, "s3": place}

    def url(self) -> str:
        place = f"{S3_NAME}:{self.port}/{BUCKET}/{PREFIX}"
        return f"s3://{place}?style=path&ca={self.folder / 'ca.pem'}&address={own_address()}"

    def accounts(self) -> None:
        iam = self.client("iam", {})
        self.admin = _account(iam, "admin", ["*"])
        self.host = _account(self.client("iam", self.admin), "host", [f"s3:{action}" for action in HOST_MAY])
        bucket = self.client("s3", self.admin)
        bucket.create_bucket(Bucket=BUCKET)
        bucket.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def problem(self) -> str:
        """Why it does not answer; empty when it does."""
        try:
            self.client("s3", {}).list_buckets()
        except ClientError:
            return ""
        except BotoCoreError as problem:
            return str(problem)
        return ""

    @contextmanager
    def away(self) -> Iterator[None]:
        """It takes connections and says nothing within the block: the worst kind of server that is away."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def _account(iam: Any, name: str, actions: list[str]) -> Keys:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    keys: Keys = iam.create_access_key(UserName=name)["AccessKey"]
    return keys


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    now, found = datetime.now(UTC), S3(folder, free_port())
    root = pki.make_root("drill", now)
    authority = pki.make_intermediate(root, "drill", now)
    leaf = pki.issue(authority, S3_NAME, [S3_NAME, "localhost"], now)
    (folder / "ca.pem").write_bytes(root.certificate)
    (folder / "cert.pem").write_bytes(leaf.certificate + authority.certificate)
    (folder / "key.pem").write_bytes(leaf.key)
    place = (str(found.port), str(folder / "cert.pem"), str(folder / "key.pem"))
    argv = (sys.executable, "-P", "-m", "tests.drill.backup.s3_server", *place)
    env = {"INITIAL_NO_AUTH_ACTION_COUNT": str(STARTS), "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true", "PYTHONPATH": str(REPOSITORY)}
    with started(argv, folder / "s3.log", env) as found.pid:
        reason = until(lambda: listening(found.port), START_SECONDS)
        assert not reason, f"{reason}: {(folder / 's3.log').read_text()[-500:]}"
        found.accounts()
        yield found


@contextmanager
def started(argv: tuple[str, ...], log: Path, env: Mapping[str, str]) -> Iterator[int]:
    """A program for the length of the block: its process id."""
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **env})
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def listening(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except OSError as problem:
        return str(problem)
    return ""


class Sftp:
    """OpenSSH in a container of its own: one account, locked into its folder, with nothing but SFTP."""

    def __init__(self, drill: Drill, folder: Path) -> None:
        self.host, self.folder, self.port = drill.project.host, folder, free_port()
        self.name, self.image = f"{drill.project.name}-sftp-server", "localhost/cc03-drill/sftp"

    def build(self, base: str) -> None:
        context = Path(__file__).parent / "sftp"
        argv = (
            "podman",
            "build",
            "--quiet",
            "--pull=never",
            "--network",
            "host",
            "--build-arg",
            f"BASE={base}",
            "--tag",
            self.image,
        )
        self.host.run((*argv, str(context)), timeout=600)

    def start(self) -> None:
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host_key")), timeout=30)
        argv = (
            "podman", "run", "--detach", "--name", self.name, "--network", "host", "--pull=never",
            # The profile of the stack's containers knows no chroot, which sshd needs.
            "--security-opt", "seccomp=unconfined",
            "--volume", f"{self.folder / 'host_key'}:/etc/ssh/host_key:ro", self.image, "-p", str(self.port),
        )  # fmt: skip
        self.host.run(argv)
        reason = until(lambda: listening(self.port), START_SECONDS)
        assert not reason, reason

    def allow(self, public: str) -> None:
        """The line that `inv backup.credentials` prints, in the place where the administrator there puts it."""
        argv = ("podman", "exec", "--interactive", self.name, "tee", "/etc/ssh/authorized/backup")
        self.host.run(argv, stdin=public + "\n")

    @contextmanager
    def away(self) -> Iterator[None]:
        """As S3's."""
        self.host.run(("podman", "pause", self.name))
        try:
            yield
        finally:
            self.host.run(("podman", "unpause", self.name))

    def entry(self) -> dict[str, Any]:
        key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        place = {
            "host": SFTP_NAME, "port": self.port, "user": "backup", "path": "/data/shop", "host_key": key,
            "address": own_address(),
        }  # fmt: skip
        return {"name": "nas", "keep": 2, "sftp": place}

    def url(self) -> str:
        place = f"backup@{SFTP_NAME}:{self.port}/data/shop"
        return f"sftp://{place}?host_key={self.folder / 'host_key.pub'}&address={own_address()}"

    def remove(self) -> None:
        self.host.run(("podman", "rm", "--force", "--time", "0", "--ignore", self.name))
