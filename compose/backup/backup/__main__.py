"""The container's one command: what `backup --help` lists."""

import argparse
import json
import ssl
import sys
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from . import away, configuration, extract, jobs, keys, log, manifest, observe, pgbackrest, receiver, repositories, restic, sets
from .errors import JobError
from .paths import OWN_CERTIFICATE, ROOTS, RUN
from .progress import Progress, to_stdout
from .repositories import LOCAL, Repository
from .scheduler import serve
from .server import PORT
from .settings import Settings, SettingsError, load


def main() -> int:
    arguments = _arguments().parse_args()
    try:
        settings = load()
        places = repositories.load(settings.sets.keep)
    except (SettingsError, OSError) as error:
        print(f"configuration: {error}", file=sys.stderr)
        return 1
    commands: dict[str, Callable[[], int]] = {
        "serve": lambda: _serve(settings, places),
        "run": lambda: _run(arguments, places),
        "status": lambda: _status(as_json=arguments.json),
        "extract": lambda: _extract(arguments, places),
        "read": lambda: _read(arguments, places),
        "receive": lambda: receiver.serve(synchronous=settings.receiver.synchronous),
        "received": lambda: receiver.pack(sys.stdout.buffer) or 0,
        "stanza-upgrade": _stanza_upgrade,
        "public-key": lambda: print(manifest.public_key(), end="") or 0,
        "settle-keys": lambda: _settle_keys(places),
        "opens": lambda: _opens(places),
        "write-config": lambda: _write_config(places),
        "check-config": lambda: print("configuration is valid") or 0,
    }
    try:
        return commands[arguments.command]()
    except JobError as error:
        print(error, file=sys.stderr)
        return 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backup", description="Backups of the stack, and their proof.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="the scheduler (started by the supervisor)")
    run = commands.add_parser("run", help="run one job now, after a running one").add_subparsers(dest="job", required=True)
    one = run.add_parser("set", help="make a set")
    one.add_argument("--kind", choices=sets.KINDS, default="incr")
    run.add_parser("check", help="send a WAL segment and look for it in every repository")
    verify = run.add_parser("verify", help="read every file of the repositories")
    drill = run.add_parser("drill", help="restore a set into scratch space, start it, compare it with its manifest")
    drill.add_argument("set", nargs="?", default="", help="the newest complete one by default")
    verify.add_argument("--repository", default="", help="only this one")
    drill.add_argument("--repository", default=LOCAL)
    expire = run.add_parser("expire", help="remove what is beyond the number to keep")
    expire.add_argument("--force", action="store_true", help="also where the last proved set would go")
    expire.add_argument("--repository", default="", help="this one, with credentials that come as JSON on stdin")
    expire.add_argument("--ahead", action="store_true", help="only what was made while the clock was ahead")
    for job in run.choices.values():
        job.add_argument("--json-progress", action="store_true", help="JSON lines on stdout, for programs")
    show = commands.add_parser("status", help="what the repositories hold and what is wrong")
    show.add_argument("--json", action="store_true")
    out = commands.add_parser("extract", help="the files of a set into a folder; its manifest on stdout")
    out.add_argument("set")
    out.add_argument("--repository", default=LOCAL)
    out.add_argument("--target", type=Path, required=True)
    out.add_argument("--only", action="append", choices=extract.PARTS, default=[])
    out.add_argument("--trust", type=Path, help="public key (PEM) that must have signed it; this stack's by default")
    read = commands.add_parser("read", help="what restic says of a repository; on a host that has nothing else yet")
    read.add_argument("--repository", default=LOCAL)
    read.add_argument("words", nargs="+")
    commands.add_parser("receive", help="take in WAL as it is written, where the settings say so (started by the supervisor)")
    commands.add_parser("received", help="what was received and no archive may have yet, as a tar file on stdout")
    commands.add_parser("stanza-upgrade", help="accept a PostgreSQL cluster that was created anew or upgraded")
    commands.add_parser("public-key", help="by which manifests of this stack are verified")
    commands.add_parser("write-config", help="write what the tools read, with keys, on the tmpfs")
    commands.add_parser("settle-keys", help="have the mounted key, and no other, open every repository that answers")
    commands.add_parser("opens", help="whether the key on stdin opens all repositories that answer (0), none (1) or some (2)")
    commands.add_parser("check-config", help="read the configuration and stop")
    return parser


def _serve(settings: Settings, places: Sequence[Repository]) -> int:
    serve(settings, places)
    return 0


def _run(arguments: argparse.Namespace, places: Sequence[Repository]) -> int:
    """0 done, 1 failed. A set that a further repository lacks is done: it says so."""
    if arguments.json_progress:
        log.to_stderr()
    progress = Progress(to_stdout if arguments.json_progress else None)
    chosen = [jobs.named(arguments.repository, places)] if getattr(arguments, "repository", "") else places
    does: dict[str, tuple[str, Callable[[], object]]] = {
        "set": (getattr(arguments, "kind", ""), lambda: jobs.make_set(arguments.kind, places, progress)),
        "check": ("check", lambda: jobs.check(places)),
        "verify": (
            "verify" if chosen[0].name == LOCAL else "verify-remote", lambda: jobs.verify(chosen, progress)
        ),
        "drill": ("drill", lambda: jobs.prove(arguments.set, arguments.repository, places, progress)),
        "expire": ("expire", lambda: _expire(arguments, places)),
    }  # fmt: skip
    name, do = does[arguments.job]
    error, result = jobs.run(name, do)
    if error:
        progress.event("failed", error=error)
    else:
        progress.event("done", result=_plain(result))
    return 1 if error else 0


def _expire(arguments: argparse.Namespace, places: Sequence[Repository]) -> dict[str, str]:
    if not arguments.repository:
        return jobs.expire(places, force=arguments.force, ahead=arguments.ahead)
    return jobs.expire_elsewhere(arguments.repository, json.load(sys.stdin), places, force=arguments.force)


def _plain(result: object) -> object:
    return json.loads(json.dumps(result if isinstance(result, dict) else vars(result) if result else None, default=_text))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _status(*, as_json: bool) -> int:
    try:
        context = ssl.create_default_context(cafile=ROOTS)
        context.load_cert_chain(OWN_CERTIFICATE)
        with urllib.request.urlopen(f"https://127.0.0.1:{PORT}/status", timeout=5, context=context) as answer:
            report = json.load(answer)
    except OSError as error:
        print(f"the scheduler does not answer: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)
    return 0 if report["healthy"] else 1


def _show(report: dict) -> None:
    print("healthy" if report["healthy"] else "\n".join(f"PROBLEM  {text}" for text in report["problems"]))
    for text in report["warnings"]:
        print(f"warning  {text}")
    print(f"running  {report['running'] or '-'}")
    for one in report["sets"]:
        proof = f"proved {one['proved_at'][:19]}" if one["proved_at"] else "unproved"
        lacks = f"  without {', '.join(one['missing'])}" if one["missing"] else ""
        where = ", ".join(one["repositories"])
        print(f"{one['kind']:<8} {one['set']}  {one['bytes']:>14,} bytes  {proof:<26}  {where}{lacks}")
    print(f"restore  any moment from {report['restorable']['from']} to {report['restorable']['until']}")


def _extract(arguments: argparse.Namespace, places: Sequence[Repository]) -> int:
    repository = jobs.named(arguments.repository, places)
    chosen = jobs.named_set(arguments.set, observe.look(places).sets)
    trust = arguments.trust.read_text() if arguments.trust else manifest.public_keys()
    print(manifest.text(extract.extract(chosen, repository, arguments.target, arguments.only, trust=trust)), end="")
    return 0


def _read(arguments: argparse.Namespace, places: Sequence[Repository]) -> int:
    repository = jobs.named(arguments.repository, places)
    RUN.mkdir(exist_ok=True)
    configuration.reach([repository], configuration.credentials([repository]))
    restic.run(repository, *arguments.words, "--no-lock", deadline=restic.DEADLINE, stdout=sys.stdout.buffer)
    return 0


def _stanza_upgrade() -> int:
    with jobs.job_lock():
        print(pgbackrest.run("stanza-upgrade"))
        receiver.set_aside()
    return 0


def _settle_keys(places: Sequence[Repository]) -> int:
    keys.settle(away.split(places)[0])
    return 0


def _opens(places: Sequence[Repository]) -> int:
    here, gone = away.split(places)
    whole, part = keys.opened_by(sys.stdin.readline().strip(), here)
    print(json.dumps({"opens": whole, "opens a part of": part, "away": sorted(gone)}))
    if len(whole) == len(here):
        return 0
    return 2 if whole or part else 1


def _write_config(places: Sequence[Repository]) -> int:
    try:
        configuration.write(tuple(places))
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"configuration: {error}") from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
