"""The hands that break Keycloak, as an operator's would: SQL, the admin API, edited files, containers made anew by hand."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

import requests
import yaml

from ops.core.process import Result, until
from ops.engines.podman import argv as podman
from ops.stack.render import excerpt
from tests.drill.keycloak.elsewhere import addresses, login_from
from tests.drill.stack import Drill, inv
from tests.smoke.accounts import Account, Accounts, Login
from tests.smoke.live import Live

SLOT = "keycloak"
COUNTED = """SELECT (SELECT count(*) FROM realm) || ' realms, ' || (SELECT count(*) FROM client) || ' clients, ' ||
  (SELECT count(*) FROM user_entity) || ' users, ' || (SELECT count(*) FROM keycloak_role) || ' roles'"""
DIAGNOSE_ONLY = os.environ.get("CC03_DRILL_DIAGNOSE_ONLY") == "1"
"""Look, and mend by the drill's own hands."""
LOOKS = 3
MENDED_SECONDS = 180.0
"""Until something that does not come back counts as lost."""

Definition = dict[str, Any]
Change = Callable[[Definition], None]


class Keycloak:
    """The Keycloak of the project that may be broken. What was changed by hand is remembered, and put back by `mend`."""

    def __init__(self, drill: Drill) -> None:
        self.drill = drill
        self.live = Live(drill.project)
        self.accounts = Accounts(self.live)
        self.user = self.accounts.create("viewer")
        self.snapshot = self.dump()
        self._texts: dict[Path, bytes] = {}
        self._remade: set[str] = set()
        self.strangers: set[str] = set()
        """Containers beside the project's own. The product stops them; whoever made them removes them."""
        self.put_back = False
        """Whether the last test has left it sound."""
        self._later: list[Callable[[], object]] = []
        self._load: list[threading.Thread] = []
        self._load_ended = threading.Event()
        self._origins = ExitStack()
        self.logins: list[tuple[float, str]] = []
        """Seconds of each login of the load, and why it failed."""

    # ---- PostgreSQL

    def psql(self, statements: str, database: str = "postgres") -> str:
        return self.drill.psql(statements, database)

    def disconnect(self, database: str = SLOT) -> None:
        """End every session of a database, as a restart of PostgreSQL would."""
        # The name is one of this drill's own.
        self.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")  # noqa: S608

    def counts(self) -> str:
        """What no repair may change."""
        return self.psql(COUNTED, SLOT)

    def dump(self) -> str:
        argv = podman.exec_in(self.name("postgres"), ("pg_dump", "--username=postgres", SLOT))
        return self.drill.project.host.run(argv, timeout=60).stdout

    def rewind(self) -> None:
        """The database as it was when the drill began; Keycloak is restarted."""
        self.psql(
            f"DROP DATABASE {SLOT} WITH (FORCE);\nCREATE DATABASE {SLOT} OWNER {SLOT};\n"
            f"REVOKE ALL ON DATABASE {SLOT} FROM PUBLIC;\nGRANT CONNECT ON DATABASE {SLOT} TO exporter"
        )
        self.psql(self.snapshot, SLOT)
        self.restart()

    # ---- Containers

    def name(self, slot: str = SLOT) -> str:
        return self.drill.name(slot)

    def podman(self, *arguments: str, ok: tuple[int, ...] | None = (0,), timeout: float = 120.0) -> Result:
        return self.drill.project.host.run(("podman", *arguments), ok=ok, timeout=timeout)

    def restart(self, slot: str = SLOT) -> None:
        self.podman("restart", "--time", "20", self.name(slot), ok=None)

    def container(self, slot: str = SLOT) -> dict[str, Any]:
        answer = self.podman("container", "inspect", self.name(slot), ok=None)
        return dict(json.loads(answer.stdout)[0]) if answer.returncode == 0 else {}

    def remake(self, change: Change, slot: str = SLOT, *, name: str = "") -> None:
        """Make a container anew from the sealed release's entry, changed, as one who edits the file by hand does.

        name: of a container beside it, which bears none of the project's labels; empty: the container itself is replaced.
        """
        state = self.drill.project.state
        definition = json.loads(json.dumps(self._compose()["services"][slot]))
        if name:
            definition |= {"container_name": name, "labels": {}}
        else:
            self._remade.add(slot)
        change(definition)
        # podman-compose takes $ for a variable of its own.
        definition |= {
            key: [word.replace("$", "$$") for word in definition[key]] for key in ("entrypoint",) if key in definition
        }
        key = name or slot
        content = {**excerpt(self._compose(), (slot,), ()), "services": {key: definition}}
        file = state.builds / f"drill-{key}.yaml"
        file.write_text(json.dumps(content, indent=1))
        host = self.drill.project.host
        self.podman("rm", "--force", "--time", "5", "--ignore", definition["container_name"])
        answer = host.run(podman.compose_create(file, self.drill.project.name, ()), ok=None, timeout=120)
        started = self.podman("start", definition["container_name"], ok=None)
        assert started.returncode == 0, answer.stderr[-800:] + started.stderr

    def _compose(self) -> Any:
        return yaml.safe_load((self.drill.project.state.current / "compose.yaml").read_text(encoding="utf-8"))

    def remove(self, *names: str) -> None:
        self.podman("rm", "--force", "--time", "2", "--ignore", *names)

    def inside(self, port: int, path: str) -> requests.Response:
        """GET on a port of Keycloak's present container, as it would ask itself."""
        # Remembered from an earlier one.
        vars(self.live).pop("containers", None)
        return self.live.inside(SLOT, port, path)

    # ---- Files of the state folder

    def put(self, path: Path, text: str | bytes) -> None:
        """Write into a file of the state folder; `mend` puts the present content back."""
        self._texts.setdefault(path, path.read_bytes())
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    @property
    def conf(self) -> Path:
        return (self.drill.project.state.config / SLOT / "current").resolve() / "keycloak.conf"

    def configure(self, *, without: str = "", **options: str) -> None:
        """Edit keycloak.conf where it is mounted from, and restart. `_` stands for `-`, `__` for `--`.

        without: names of options that are taken out.
        """
        new = {key.replace("_", "-"): value for key, value in options.items()}
        gone = {*without.split(), *new}
        lines = [line for line in self.conf.read_text().splitlines() if line.partition("=")[0] not in gone]
        self.put(self.conf, "\n".join([*lines, *(f"{key}={value}" for key, value in new.items())]) + "\n")
        self.restart()

    def mend(self) -> None:
        """Undo by hand what was done by `put`, `configure` and `remake`, and what was told to `later`."""
        while self._later:
            self._later.pop()()
        files, self._texts = self._texts, {}
        for path, text in files.items():
            path.write_bytes(text)
        slots, self._remade = self._remade, set()
        for slot in slots:
            self.remake(lambda definition: None, slot)
        if files and SLOT not in slots:
            self.restart()
        self._remade.clear()

    def forget(self) -> None:
        """Nothing is to be put back any more: somebody else has done it."""
        for remembered in (self._texts, self._remade, self._later, self.strangers):
            remembered.clear()

    def later(self, undo: Callable[[], object]) -> None:
        """What `mend` shall do."""
        self._later.append(undo)

    def end_watch(self) -> None:
        self.drill.end_watch()

    def watch(self) -> None:
        self.drill.watch()

    # ---- What people notice

    def login_problem(self, account: Account | None = None, source: str = "") -> str:
        """Why a password login through nginx fails; empty: it works.

        Parameters
        ----------
        source: one of `elsewhere.addresses` that it comes from; empty: that of the published ports.
        """
        try:
            who = account or self.user
            login = login_from(self.live, source) if source else Login(self.live)
            login.tokens(who.username, who.password)
        except (AssertionError, requests.RequestException, KeyError) as problem:
            return str(problem)[:200] or type(problem).__name__
        return ""

    def await_login(self) -> float:
        """Seconds until people can log in."""
        began = time.monotonic()
        reason = until(self.login_problem, MENDED_SECONDS, longest_pause=0.5)
        assert not reason, f"after {MENDED_SECONDS:.0f} s: {reason}"
        return time.monotonic() - began

    def begin_load(self, workers: int, pause: float = 0.0, origins: int = 0) -> None:
        """People who log in again and again, until `end_load`.

        pause: seconds between two logins of one of them.
        origins: from so many addresses, by turns; 0: through the published ports.
        """
        self._load_ended = threading.Event()
        sources = self._origins.enter_context(addresses(self.drill.project, origins)) if origins else [""]

        def work(account: Account, source: str) -> None:
            while not self._load_ended.wait(pause):
                began = time.monotonic()
                problem = self.login_problem(account, source)
                self.logins.append((time.monotonic() - began, problem))

        self.logins = []
        # Each a user of its own: brute-force protection lets one user try once at a time.
        people = [self.accounts.create("viewer") for _ in range(workers)]
        self._load = [
            threading.Thread(target=work, args=pair, daemon=True) for pair in zip(people, cycle(sources), strict=False)
        ]
        for thread in self._load:
            thread.start()

    def end_load(self) -> None:
        self._load_ended.set()
        for thread in self._load:
            thread.join(60)
        self._load = []
        self._origins.close()

    def admin(self, method: str, path: str, **options: Any) -> Any:
        """The realm's admin API in the name of the operations client."""
        answer = self.accounts.admin(method, path, **options)
        return answer.json() if answer.text else None

    def client(self, client_id: str) -> dict[str, Any]:
        (found,) = self.admin("GET", "/clients", params={"clientId": client_id})
        return dict(found)

    def put_right(self, *undo: Callable[[Keycloak], None], by_hand: bool) -> None:
        """What a test leaves: sound, by the repair that was tried or else by the drill's own hands.

        by_hand: nothing has mended it, whatever it looks like.
        """
        self.put_back = False
        if by_hand or DIAGNOSE_ONLY or self._load or self.login_problem() or self.diagnosis()["findings"]:
            for one in undo:
                one(self)
            self.await_login()
        if self.strangers:
            self.remove(*self.strangers)
        self.forget()
        self.put_back = True

    # ---- The diagnosis

    def diagnosis(self) -> dict[str, Any]:
        """`inv keycloak --json`, with the command's own time as `took`; again, where a busy machine let it see a part only."""
        for _ in range(LOOKS):
            began = time.monotonic()
            answer = inv("keycloak", "--json")
            took = time.monotonic() - began
            start, end = answer.stdout.find("{"), answer.stdout.rfind("}")
            assert start >= 0, answer.stdout + answer.stderr
            found = {**json.loads(answer.stdout[start : end + 1]), "took": took, "code": answer.returncode}
            if not found["unread"]:
                break
        return found
