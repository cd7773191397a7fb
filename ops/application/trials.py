"""The trial of each row of the contract (ops/stack/contract.py): what an image's container does, judged."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ops.application.requests import Reply, ask, connected, echoed, opened, secured, shown_certificate
from ops.application.stage import Stage
from ops.core.errors import OpsError
from ops.core.process import until
from ops.stack.contract import (
    ABSENT,
    BACKEND,
    FAILED,
    LIVE,
    OK,
    READY,
    UNTRIED,
    Found,
    Row,
    Steady,
    carries_request_id,
    judge_logs,
    judge_metrics,
    judge_migration,
    rows_of,
)

Verdict = tuple[str, str]
Trial = Callable[[Stage], Verdict]
START_SECONDS = 60.0
"""Shorter than what a deploy allows: nothing else runs here."""
HEALTHY_SECONDS = 5.0
TAKE_UP_SECONDS = 5.0
DRAIN_SECONDS = (0.3, 0.8)
"""After SIGTERM, when requests are sent on connections that are open, as nginx keeps them for a second."""
LOGIN_SECONDS = 15.0
END_SECONDS: Mapping[str, float] = {BACKEND: 30.0, "frontend": 15.0}
NOT_THERE = frozenset({401, 403, 404, 405, 501})
LAST_LINES = 3


def _verdict(problem: str, said: str = "") -> Verdict:
    return (FAILED, problem) if problem else (OK, said)


def _last(stage: Stage) -> str:
    return " / ".join(line[:160] for line in stage.said()[-LAST_LINES:]) or "it printed nothing"


def _end(stage: Stage) -> str:
    """How the application's container has ended; empty: it runs."""
    seen = stage.container()
    return "" if seen.state == "running" else f"it ended with exit code {seen.exit_code}: {_last(stage)}"


def _signals(stage: Stage) -> Verdict:
    answer = stage.run_with("bash", "-c", "kill -l HUP USR1")
    return _verdict("" if answer.returncode == 0 else answer.last_words(1))


def _migrate(stage: Stage) -> Verdict:
    check = stage.migrate("--check")
    if check.returncode:
        return FAILED, f"migrate --check: exit code {check.returncode}: {check.last_words()}"
    done = stage.migrate()
    if done.returncode:
        return FAILED, f"migrate: exit code {done.returncode}: {done.last_words()}"
    found = check.last_json(), done.last_json()
    return _verdict(judge_migration(*found), f"at revision {(found[1] or {}).get('revision')}")


def _listens(stage: Stage) -> Verdict:
    began = time.monotonic()
    stage.start()
    ended = ""

    def reason() -> str:
        nonlocal ended
        if ended := _end(stage):
            return ""
        try:
            connected(stage).close()
        except OSError as problem:
            return f"no connection after {START_SECONDS:.0f} s: {problem}; {_last(stage)}"
        return ""

    why = until(reason, START_SECONDS, longest_pause=0.3)
    return _verdict(ended or why, f"after {time.monotonic() - began:.1f} s")


def _tls(stage: Stage) -> Verdict:
    try:
        shown_certificate(stage)
    except OSError as problem:
        return FAILED, str(problem)
    return OK, ""


def _ready(stage: Stage) -> Verdict:
    began, steady, path = time.monotonic(), Steady(), READY[stage.part]
    last = Reply(0, "")

    def reason() -> str:
        nonlocal last
        last = ask(stage, path)
        return "" if last.good or steady.refuses(last.status) else str(last)

    until(reason, START_SECONDS, longest_pause=0.3)
    return _verdict("" if last.good else f"GET {path}: {last}", f"after {time.monotonic() - began:.1f} s")


def _healthy(stage: Stage) -> Verdict:
    answer = stage.exec("/usr/local/bin/healthy")
    if answer.returncode:
        return FAILED, f"exit code {answer.returncode}: {answer.last_words(1)}"
    late = answer.seconds > HEALTHY_SECONDS
    return _verdict(f"it took {answer.seconds:.1f} s" if late else "", f"{answer.seconds:.1f} s")


def _smoke(stage: Stage) -> Verdict:
    path = stage.project.stack.services[stage.part].smoke or READY[stage.part]
    answer = ask(stage, path)
    return _verdict("" if answer.good else f"GET {path}: {answer}", f"GET {path}")


def _logged_in(stage: Stage) -> Verdict:
    for secret in stage.project.stack.services[stage.part].secrets:
        if problem := until(partial(_cannot_log_in, stage, secret), LOGIN_SECONDS):
            return FAILED, problem
    return OK, ""


def _cannot_log_in(stage: Stage, secret: str) -> str:
    answer = stage.exec("/usr/local/bin/logged-in", secret)
    return f"{secret}: exit code {answer.returncode}: {answer.last_words(1)}" if answer.returncode else ""


def _check_config(stage: Stage) -> Verdict:
    answer = stage.exec("/usr/local/bin/check-config", "/etc/cc03/current/config.json")
    return _verdict(f"exit code {answer.returncode}: {answer.last_words(1)}" if answer.returncode else "")


def _metrics(stage: Stage) -> Verdict:
    answer = ask(stage, "/metrics")
    return _verdict(judge_metrics(answer.body) if answer.good else f"GET /metrics: {answer}")


def _logs(stage: Stage) -> Verdict:
    return _verdict(judge_logs(stage.said()), f"{len(stage.said())} lines")


def _request_id(stage: Stage) -> Verdict:
    known = secrets.token_hex(16)
    path = stage.project.stack.services[stage.part].smoke or READY[stage.part]
    # Some log failed requests alone, of those that come every second.
    for asked in (path, "/api/v1/no-such-path"):
        ask(stage, asked, headers={"X-Request-ID": known})
    found = not until(lambda: "" if carries_request_id(stage.said(), known) else "not yet", 1.0, longest_pause=0.2)
    return (OK, "") if found else (ABSENT, "no line of a request has it")


def _live(stage: Stage) -> Verdict:
    return _optional(ask(stage, LIVE), f"GET {LIVE}")


def _optional(answer: Reply, what: str, problem: str = "") -> Verdict:
    if answer.status in NOT_THERE:
        return ABSENT, f"{what}: HTTP {answer.status}"
    return _verdict(f"{what}: {answer}" if not answer.good else problem, what)


def _setting(stage: Stage, name: str) -> str:
    return str(getattr(stage.project.settings.prober, name))


def _writes(stage: Stage) -> Verdict:
    if not (path := _setting(stage, "post")):
        return ABSENT, "prober.post is empty"
    return _optional(ask(stage, path, "POST", {"Idempotency-Key": secrets.token_hex(16)}, b""), f"POST {path}")


def _socket(stage: Stage) -> Verdict:
    if not (path := _setting(stage, "websocket")):
        return ABSENT, "prober.websocket is empty"
    problem = echoed(stage, path)
    absent = problem.startswith("HTTP ") and int(problem.removeprefix("HTTP ")) in NOT_THERE
    return (ABSENT, f"{path}: {problem}") if absent else _verdict(problem and f"{path}: {problem}", path)


def _download(stage: Stage) -> Verdict:
    if not (path := _setting(stage, "download")):
        return ABSENT, "prober.download is empty"
    answer = ask(stage, path)
    lacks = [name for name in ("content-length", "connection") if name not in answer.headers]
    return _optional(answer, f"GET {path}", f"GET {path}: without {' and '.join(lacks)}" if lacks else "")


def _still_answers(stage: Stage, after: str) -> str:
    if ended := _end(stage):
        return f"{after}: {ended}"
    answer = ask(stage, READY[stage.part])
    return "" if answer.good else f"{after}: {answer}"


def _ordered(stage: Stage, argv: tuple[str, ...]) -> str:
    answer = stage.exec(*argv)
    return f"{' '.join(argv)}: {answer.last_words(1)}" if answer.returncode else ""


def _reconnect(stage: Stage) -> Verdict:
    argv = stage.project.stack.services[stage.part].reconnect or ()
    return _verdict(_ordered(stage, argv) or _still_answers(stage, "after SIGUSR1"))


def _certificate(stage: Stage) -> Verdict:
    argv = stage.project.stack.services[stage.part].reload_certificate
    try:
        before = shown_certificate(stage)
        stage.issue(stage.part)
        if problem := _ordered(stage, argv) if argv else "":
            return FAILED, problem

        def reason() -> str:
            return "the one before is still shown" if shown_certificate(stage) == before else ""

        why = until(reason, TAKE_UP_SECONDS, longest_pause=0.5)
    except OSError as problem:
        return FAILED, _end(stage) or str(problem)
    return _verdict(why or _still_answers(stage, "after another certificate"))


def _stop(stage: Stage) -> Verdict:
    backend = stage.part == BACKEND
    # The last one stays open and silent, as the connection of Prometheus between two scrapes.
    *open_ones, idle = [opened(stage) for _ in (*DRAIN_SECONDS, None)]
    for one in (*open_ones, idle):
        ask(stage, READY[stage.part], on=one)
    pid, began = stage.container().pid, time.monotonic()
    # Not by a program in the container, whose start would take a part of the second.
    os.kill(pid, signal.SIGTERM if backend else signal.SIGQUIT)
    problem = ""
    for one, seconds in zip(open_ones if backend else (), DRAIN_SECONDS, strict=False):
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        problem = problem or _drained(ask(stage, LIVE, on=one), time.monotonic() - began)
        one.close()
    problem = problem or (_left_waiting(stage) if backend else "")
    limit = END_SECONDS[stage.part]
    late = until(lambda: "" if stage.container().state != "running" else "it still runs", limit, longest_pause=0.3)
    idle.close()
    return _verdict(problem or (f"{late} after {limit:.0f} s" if late else ""), f"after {time.monotonic() - began:.1f} s")


def _left_waiting(stage: Stage) -> str:
    """Why a new connection is neither answered nor refused until the end; empty: each is. nginx sends some all the time."""
    while not _end(stage):
        try:
            with connected(stage) as plain, secured(stage, plain):
                pass
        except TimeoutError:
            return "a new connection is neither answered nor refused: the port stays open, and nothing accepts"
        except OSError:
            pass
        time.sleep(0.1)
    return ""


def _drained(answer: Reply, seconds: float) -> str:
    """What an answer lacks that came on an open connection after SIGTERM; empty: nothing."""
    if not answer.status:
        return f"on a connection that was open, {seconds:.1f} s after SIGTERM: {answer}"
    closes = answer.headers.get("connection", "").lower() == "close"
    return "" if closes else f"{seconds:.1f} s after SIGTERM it answers without Connection: close"


TRIALS: Mapping[str, Trial] = {
    "signals": _signals, "migrate": _migrate, "listens": _listens, "tls": _tls, "ready": _ready, "healthy": _healthy,
    "smoke": _smoke, "logged-in": _logged_in, "check-config": _check_config, "metrics": _metrics, "logs": _logs,
    "request id": _request_id, "live": _live, "writes": _writes, "socket": _socket, "download": _download,
    "reconnect": _reconnect, "certificate": _certificate, "stop": _stop,
}  # fmt: skip
NEEDED_BY_THE_REST = ("listens", "tls")
"""Where one of these fails, nothing further can be asked."""


def try_rows(stage: Stage, report: Callable[[str], None]) -> Iterator[Found]:
    """Every row of the contract, in its order."""
    blocked = ""
    for row in rows_of(stage.part):
        report(row.name)
        found = Found(row, UNTRIED, f"{blocked} failed") if blocked else _tried(row, stage)
        if row.name in NEEDED_BY_THE_REST and found.result == FAILED:
            blocked = row.name
        yield found


def _tried(row: Row, stage: Stage) -> Found:
    try:
        return Found(row, *TRIALS[row.name](stage))
    except OpsError as problem:
        return Found(row, FAILED, f"{problem.what}: {problem.why}")
    except OSError as problem:
        return Found(row, FAILED, _end(stage) or str(problem))
