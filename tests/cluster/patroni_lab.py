"""Three members of a PostgreSQL cluster as containers, and a Kubernetes API (etcd and kube-apiserver, no nodes) that keeps its
state: enough to break members and see what their clients notice."""

from __future__ import annotations

import json
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from ops.certificates import pki
from ops.core.errors import OpsError
from ops.core.machine import host_facts
from ops.core.process import Result, run, until
from ops.engines.podman.host import containers_conf
from ops.project import open_project
from tests.cluster.build import built
from tests.cluster.control import ADMIN, ControlPlane

REPOSITORY = Path(__file__).parents[2]
NAME = "patroni-lab"
LABEL = f"{NAME}=1"
FOLDER = Path("/run") / NAME
NETWORK = "10.249.0"
API, BACKUP = f"{NETWORK}.2", f"{NETWORK}.9"
NAMESPACE, ACCOUNT = "cc03", "postgres"
OWNER = 60705
SMALL = "\nshared_buffers = 32MB\nmax_wal_size = 128MB\nmin_wal_size = 64MB\n"
SECRETS = ("superuser", "app", "migration", "keycloak", "grafana", "exporter", "backup", "receiver")
CONFIG_MAPS = ["postgres-config", "postgres-leader", "postgres-sync", "postgres-failover"]
QUICK = 60.0


def podman(*argv: str, ok: tuple[int, ...] | None = (0,), timeout: float = QUICK, **options: Any) -> Result:
    conf = FOLDER / "containers.conf"
    if not conf.exists():
        FOLDER.mkdir(exist_ok=True)
        conf.write_text(containers_conf(host_facts()))
    env = {"CONTAINERS_CONF": str(conf), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    return run(("podman", *argv), timeout=timeout, ok=ok, env=env, **options)


@dataclass(frozen=True)
class Member:
    number: int

    @property
    def name(self) -> str:
        return f"postgres-{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    @property
    def container(self) -> str:
        return f"{NAME}-{self.name}"

    def exec(self, *argv: str, **options: Any) -> Result:
        return podman("exec", "--interactive", self.container, *argv, **options)

    def psql(self, query: str, database: str = "postgres", **options: Any) -> str:
        argv = ("psql", "--username=postgres", f"--dbname={database}", "--no-psqlrc", "-Atq", f"--command={query}")
        return str(self.exec(*argv, **options).stdout.strip())

    def state(self) -> dict[str, Any]:
        """What Patroni says of it; nothing where it does not answer."""
        unverified = ssl._create_unverified_context()  # noqa: S323 - this machine knows no name of a member
        try:
            with urlopen(f"https://{self.address}:8008/patroni", timeout=2, context=unverified) as answer:
                return dict(json.load(answer))
        except HTTPError as refusal:
            return dict(json.load(refusal))
        except (OSError, ValueError):
            return {}

    def wire(self) -> str:
        """This machine's end of its network interface."""
        pid = podman("inspect", "--format={{.State.Pid}}", self.container).stdout.strip()
        shown = run(("nsenter", f"--target={pid}", "--net", "ip", "-oneline", "link", "show", "eth0"), timeout=QUICK).stdout
        index = shown.partition("@if")[2].partition(":")[0]
        return next(one.parent.name for one in Path("/sys/class/net").glob("veth*/ifindex") if one.read_text().strip() == index)


MEMBERS = tuple(map(Member, range(3)))
HOSTS = {**{member.name: member.address for member in MEMBERS}, "backup": BACKUP}
ADDED = tuple(f"--add-host={name}:{address}" for name, address in HOSTS.items())


def conninfo(*members: Member, wanted: str, role: str = "app") -> str:
    secret = (FOLDER / "secrets" / f"postgres-{role}").read_text()
    certificate = "sslmode=verify-full sslrootcert=/etc/tls/ca.pem sslcert=/etc/tls/tls.pem sslkey=/etc/tls/tls.pem"
    hosts = ",".join(member.name for member in members)
    return (
        f"host={hosts} dbname=app user={role} password={secret} connect_timeout=2 target_session_attrs={wanted} {certificate}"
    )


@dataclass(frozen=True)
class Client:
    """patroni_client.py, in a container."""

    container: str

    @property
    def log(self) -> Path:
        return FOLDER / f"{self.container}.log"

    def stop(self) -> None:
        podman("rm", "--force", "--time=0", self.container)

    def answers(self) -> list[tuple[float, str]]:
        """When, and what: an id or a number; or "-" and a reason."""
        lines = (line.split(" ", 4) for line in self.log.read_text().splitlines())
        return [(float(line[3]), line[4]) for line in lines if len(line) == 5]

    def done(self) -> list[tuple[float, int]]:
        return [(when, int(what)) for when, what in self.answers() if not what.startswith("-")]

    def failures(self, since: float = 0.0) -> list[str]:
        return [what for when, what in self.answers() if what.startswith("-") and when > since]

    def pause_after(self, moment: float) -> float:
        """The longest time between two successes, from a moment on."""
        times = [moment, *(when for when, _ in self.done() if when > moment)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def done_after(self, moment: float) -> bool:
        return any(when > moment for when, _ in self.done())


class Lab:
    """image: of PostgreSQL."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.programs = built(("etcd", "kubernetes"))
        self.control = ControlPlane(FOLDER / "control", API)
        self.signer: pki.Signed | None = None

    def kubectl(self, *argv: str, stdin: str | None = None, ok: tuple[int, ...] | None = (0,), user: str = ADMIN) -> Result:
        config = self.control.folder / f"{user}.kubeconfig"
        return run((str(FOLDER / "kubectl"), f"--kubeconfig={config}", *argv), timeout=QUICK, stdin=stdin, ok=ok)

    def prepare(self) -> None:
        """The network, the API, and the files that the members mount."""
        remove()
        FOLDER.mkdir()
        (FOLDER / "kubectl").symlink_to(self.programs["kubernetes"])
        podman("network", "create", "--disable-dns", "--subnet", f"{NETWORK}.0/24", "--label", LABEL, NAME)
        self.control.prepare()
        self._start_api()
        for name in SECRETS:
            self._write(f"secrets/postgres-{name}", f"secret-of-{name}")
        shutil.copytree(REPOSITORY / "config" / "postgres", FOLDER / "config")
        hba = FOLDER / "config" / "pg_hba.conf"
        hba.write_text(hba.read_text().replace("${CC03_NEIGHBOURS}", "samenet"))
        with (FOLDER / "config" / "postgresql.conf").open("a") as file:
            file.write(SMALL)
        self.certify()
        self._grant()

    def _write(self, name: str, content: str | bytes) -> None:
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        run(("chown", "--recursive", f"{OWNER}:{OWNER}", str(path.parent)), timeout=QUICK)

    def certify(self) -> None:
        """Issue new certificates by the same authority, as a renewal does."""
        now = datetime.now(UTC)
        if self.signer is None:
            root = pki.make_root(NAME, now)
            self.signer = pki.make_intermediate(root, NAME, now)
            for owner in ("postgres", "backend", "backup"):
                self._write(f"tls-{owner}/ca.pem", root.certificate)
        names = {
            "postgres": [*(member.name for member in MEMBERS), "localhost", "127.0.0.1"],
            "backup": ["backup"],
            "backend": ["backend"],
        }
        for owner, of in names.items():
            leaf = pki.issue(self.signer, owner, of, now)
            self._write(f"tls-{owner}/tls.pem", leaf.key + leaf.certificate + self.signer.certificate)

    def _start_api(self) -> None:
        base = dict(open_project().images["postgres"].bases)["bookworm"]
        where: tuple[str, ...] = ("--network", NAME, "--ip", API)
        for program in ("etcd", "kube-apiserver"):
            argv = self.control.programs()[program]
            binary = self.programs["etcd" if program == "etcd" else "kubernetes"]
            mounts = (f"{binary}:/usr/local/bin/{program}:ro", f"{self.control.folder}:{self.control.folder}:ro")
            volumes = (part for mount in mounts for part in ("--volume", mount))
            name = f"{NAME}-{program}"
            podman(
                "run", "--detach", "--name", name, "--label", LABEL, *where, *volumes, "--entrypoint", argv[0], base, *argv[1:]
            )
            where = ("--network", f"container:{NAME}-etcd")
        until_true(lambda: self.kubectl("get", "--raw=/readyz", ok=None).returncode == 0, 120, "the apiserver is ready")

    def _grant(self) -> None:
        """A ServiceAccount with exactly the rights of docs/explanation/postgresql-cluster.md, and the pods as objects: Patroni
        keeps a member's state at its pod."""
        inside: dict[str, Any] = {"metadata": {"name": ACCOUNT, "namespace": NAMESPACE}}
        rbac = "rbac.authorization.k8s.io"
        role = {"apiGroup": rbac, "kind": "Role", "name": ACCOUNT}
        subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]
        objects = [
            {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": NAMESPACE}},
            {"kind": "ServiceAccount", "apiVersion": "v1", **inside},
            {"kind": "Role", "apiVersion": f"{rbac}/v1", **inside, "rules": rules()},
            {"kind": "RoleBinding", "apiVersion": f"{rbac}/v1", **inside, "roleRef": role, "subjects": subjects},
            *(pod(member) for member in MEMBERS),
        ]
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        token = self.kubectl("create", "token", ACCOUNT, f"--namespace={NAMESPACE}", "--duration=4h").stdout.strip()
        account = "secrets/kubernetes.io/serviceaccount"
        self._write(f"{account}/token", token)
        self._write(f"{account}/ca.crt", (self.control.folder / "ca.pem").read_bytes())
        self._write(f"{account}/namespace", NAMESPACE)
        run(("chown", "--recursive", f"{OWNER}:{OWNER}", str(FOLDER / "secrets")), timeout=QUICK)

    def start(self, member: Member, *, alone: bool = False) -> None:
        """Start a member. alone: PostgreSQL by itself, as on one host."""
        podman("rm", "--force", "--ignore", "--time=0", member.container)
        mounts = {"config": "/etc/cc03/current:ro", "secrets": "/run/secrets:ro", "tls-postgres": "/etc/tls:ro"}
        environment = {} if alone else {
            "PATRONI_NAME": member.name, "PATRONI_KUBERNETES_NAMESPACE": NAMESPACE,
            "PATRONI_KUBERNETES_LABELS": '{"app": "postgres"}', "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{member.name}:5432",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{member.name}:8008", "KUBERNETES_SERVICE_HOST": API,
            "KUBERNETES_SERVICE_PORT": "6443",
        }  # fmt: skip
        podman(
            "run", "--detach", "--name", member.container, "--label", LABEL, "--network", NAME, "--ip", member.address, *ADDED,
            "--read-only", "--cap-drop=all", "--user", f"{OWNER}:{OWNER}", "--memory=1g", "--shm-size=64m",
            "--tmpfs=/tmp:mode=1777,size=64m", "--tmpfs=/run:mode=1777,size=16m",
            "--volume", f"{member.container}:/var/lib/postgresql",
            *(part for source, target in mounts.items() for part in ("--volume", f"{FOLDER / source}:{target}")),
            *(part for key, value in environment.items() for part in ("--env", f"{key}={value}")), self.image,
        )  # fmt: skip

    def start_backup(self) -> None:
        """The repository host: pgBackRest's server, on the same image."""
        content = (REPOSITORY / "config" / "backup" / "pgbackrest.conf").read_text().partition("\n[main]")[0]
        hosts = "".join(
            f"pg{n}-host={member.name}\npg{n}-host-type=tls\npg{n}-host-port=8432\npg{n}-host-ca-file=/etc/tls/ca.pem\n"
            f"pg{n}-host-cert-file=/etc/tls/tls.pem\npg{n}-host-key-file=/etc/tls/tls.pem\n"
            f"pg{n}-path=/var/lib/postgresql/data\npg{n}-socket-path=/run/postgresql\n"
            for n, member in enumerate(MEMBERS, start=1)
        )
        self._write("backup/pgbackrest.conf", f"{content}\nrepo1-retention-full=2\nbackup-standby=prefer\n\n[main]\n{hosts}")
        podman(
            "run", "--detach", "--name", f"{NAME}-backup", "--label", LABEL, "--network", NAME, "--ip", BACKUP, *ADDED,
            "--user", f"{OWNER}:{OWNER}", "--tmpfs=/run:mode=1777,size=16m", "--tmpfs=/var/lib/pgbackrest:mode=1777,size=1g",
            "--volume", f"{FOLDER}/backup:/etc/cc03/current:ro", "--volume", f"{FOLDER}/tls-backup:/etc/tls:ro",
            "--entrypoint=pgbackrest", self.image, "server",
        )  # fmt: skip

    def client(self, verb: str, info: str, first: int = 1, beside: Member | None = None) -> Client:
        """Start a client. beside: in the network of this member alone, whatever becomes of its interface."""
        made = Client(f"{NAME}-client-{verb}-{first}")
        podman("rm", "--force", "--ignore", "--time=0", made.container)
        where = (f"--network=container:{beside.container}",) if beside else (f"--network={NAME}", *ADDED)
        made.log.unlink(missing_ok=True)
        podman(
            "run", "--detach", "--name", made.container, "--label", LABEL, *where, "--user", f"{OWNER}:{OWNER}",
            "--log-driver=k8s-file", "--log-opt", f"path={made.log}", "--volume", f"{FOLDER}/tls-backend:/etc/tls:ro",
            "--volume", f"{REPOSITORY}/tests/cluster/patroni_client.py:/client.py:ro", "--entrypoint=/opt/patroni/bin/python",
            self.image, "/client.py", verb, str(first), info,
        )  # fmt: skip
        return made

    @staticmethod
    def leader() -> Member | None:
        """The one that calls itself the primary."""
        found = [member for member in MEMBERS if member.state().get("role") == "primary"]
        return found[0] if len(found) == 1 else None

    def await_leader(self, seconds: float = 60.0) -> Member:
        until_true(self.leader, seconds, "there is one primary")
        found = self.leader()
        assert found
        return found

    def await_quorum(self, seconds: float = 90.0) -> Member:
        """Wait until two replicas stream, and commits wait for either."""
        found = self.await_leader()
        until_true(lambda: sorted(streaming(found)) == ["streaming quorum"] * 2, seconds, "two replicas stream")
        return found


def streaming(leader: Member) -> list[str]:
    rows = leader.psql("SELECT state || ' ' || sync_state FROM pg_stat_replication", ok=None)
    return rows.splitlines()


def pod(member: Member) -> dict[str, Any]:
    labels = {"app": "postgres", "cluster-name": "postgres"}
    spec = {"serviceAccountName": ACCOUNT, "containers": [{"name": "postgres", "image": "postgres"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": member.name, "namespace": NAMESPACE, "labels": labels},
        "spec": spec,
    }


def rules() -> list[dict[str, Any]]:
    """The rights of a member: its cluster's ConfigMaps and pods, by name wherever Kubernetes can tell names apart."""
    one = ["get", "patch", "update"]
    return [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": CONFIG_MAPS, "verbs": one},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["pods"],
            "resourceNames": [member.name for member in MEMBERS],
            "verbs": ["get", "patch"],
        },
    ]


def until_true(ready: Any, seconds: float, what: str) -> float:
    """Wait. Returns the seconds that it took."""
    begun = time.monotonic()
    if reason := until(lambda: "" if ready() else "not yet", seconds):
        raise OpsError(f"not so after {seconds:.0f} s: {what}", reason, f"podman logs {NAME}-…")
    return time.monotonic() - begun


def remove() -> None:
    """All that a lab leaves."""
    found = podman("ps", "--all", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    if found:
        podman("rm", "--force", "--depend", "--time=0", "--volumes", *found, timeout=120.0)
    for member in MEMBERS:
        podman("volume", "rm", "--force", member.container)
    if podman("network", "exists", NAME, ok=None).returncode == 0:
        podman("network", "rm", NAME)
    shutil.rmtree(FOLDER, ignore_errors=True)


def image() -> str:
    """The image of PostgreSQL that a deploy of this checkout would run; it is built by `inv build`."""
    return open_project().images["postgres"].tag


@contextmanager
def lab(image: str) -> Iterator[Lab]:
    made = Lab(image)
    try:
        made.prepare()
        yield made
    finally:
        remove()
