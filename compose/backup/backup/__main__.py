"""backup serve | run JOB | status [--json] | stanza-upgrade | check-config"""

import argparse
import json
import sys
import urllib.request

from . import jobs
from .scheduler import serve
from .server import PORT
from .settings import SettingsError, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="backup", description="Backups of PostgreSQL and Redis.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="the scheduler (started by the supervisor)")
    run = commands.add_parser("run", help="run one job now, after a running one")
    run.add_argument("job", choices=jobs.JOBS)
    show = commands.add_parser("status", help="what the repository holds and what is wrong")
    show.add_argument("--json", action="store_true")
    commands.add_parser("stanza-upgrade", help="accept a PostgreSQL cluster that was created anew or upgraded")
    commands.add_parser("check-config", help="read backup.toml and stop")
    arguments = parser.parse_args()
    try:
        settings = load()
    except (SettingsError, OSError) as error:
        print(f"backup.toml: {error}", file=sys.stderr)
        return 1
    if arguments.command == "serve":
        serve(settings)
    elif arguments.command == "run":
        return 1 if jobs.run(arguments.job, settings) else 0
    elif arguments.command == "status":
        return status(as_json=arguments.json)
    elif arguments.command == "stanza-upgrade":
        return stanza_upgrade()
    else:
        print("configuration is valid")
    return 0


def status(*, as_json: bool) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/status", timeout=5) as answer:
            report = json.load(answer)
    except OSError as error:
        print(f"the scheduler does not answer: {error}", file=sys.stderr)
        return 1
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print("healthy" if report["healthy"] else "\n".join(f"PROBLEM  {text}" for text in report["problems"]))
        print(f"running  {report['running'] or '-'}")
        for backup in report["repository"]["backups"]:
            print(f"{backup['kind']:<8} {backup['label']}  {backup['stop']}  {backup['repository_bytes']:,} bytes")
        for moment in report["repository"]["redis_copies"]:
            print(f"redis    {moment}")
        wal = report["repository"]
        print(f"wal      {wal['wal_min']} .. {wal['wal_max']}  newest {wal['wal_archived']}")
    return 0 if report["healthy"] else 1


def stanza_upgrade() -> int:
    with jobs.job_lock():
        try:
            print(jobs.pgbackrest("stanza-upgrade", deadline=jobs.DEADLINES["check"]))
        except jobs.JobError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
