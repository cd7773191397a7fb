"""Sections 8 and 9: packages with known vulnerabilities, and the host as far as this project uses it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Advisory, Facts

OLDEST_DAYS = 30
"""Days since an image was built with its distribution's fixes; Debian publishes some every week."""


def _advisories(where: str, advisories: Iterable[Advisory]) -> Iterator[Finding]:
    for one in advisories:
        fixed = f", fixed in {one.fixed}" if one.fixed else ""
        yield Finding(where, f"{one.package} {one.identity}", f"{one.package}: {one.identity}{fixed}")


def _debian(facts: Facts) -> Iterator[Finding]:
    for service, advisories in facts.debian.items():
        yield from _advisories(service, advisories)


def _npm(facts: Facts) -> Iterator[Finding]:
    for folder, advisories in facts.javascript.items():
        yield from _advisories(folder, advisories)


def _accounts(facts: Facts) -> Iterator[Finding]:
    for one in facts.host.accounts:
        account = f"{one.account.kind} {one.account.name}"
        yield Finding(" and ".join(one.services), account, f"the {account} of the host has its id {one.id}")


CONTROLS = (
    Control("8.1", "No image has a Debian package with a fixed vulnerability", _debian, part="debian",
            why="Known vulnerabilities are exploited automatically.",
            advice="inv build --refresh && inv deploy"),
    Control("8.2", "The backend has no Python package with a known vulnerability", part="python",
            why="Known vulnerabilities are exploited automatically.",
            advice="raise the version in compose/backend/requirements.lock, then inv deploy",
            find=lambda facts: _advisories("backend", facts.python)),
    Control("8.3", "No npm package of the site or of the operator's pages has a known vulnerability", _npm, part="javascript",
            why="Known vulnerabilities are exploited automatically.",
            advice="npm update in that folder, then inv deploy"),
    Control("8.4", f"No image is older than {OLDEST_DAYS} days",
            why="Where advisories are not checked, the age shows whether fixes were installed.",
            advice="inv build --refresh && inv deploy",
            find=lambda facts: (Finding(service, "image", f"was built {days:.0f} days ago")
                                for service, days in facts.image_days.items() if days > OLDEST_DAYS)),
    Control("9.1", "The audit log is complete and unaltered", part="host",
            why="A removed line hides a change and its author.",
            advice="inv audit.verify; docs/how-to/audit.md says what can be concluded",
            find=lambda facts: (Finding("audit.jsonl", one, one) for one in facts.host.audit_log)),
    Control("9.2", "No account of the host has an id of a container", _accounts, part="host",
            why="It can read the service's files, trace its processes and enter their file systems, whatever the modes are.",
            advice="give the account another id; inv doctor says how"),
    Control("9.3", "Other accounts of the host cannot enter the state folder and volumes", part="host",
            why="Any account that can log in, or has the id of a service, could read configuration, logs, releases and data.",
            advice="inv deploy closes the state folder; chmod go= the folder of volumes",
            find=lambda facts: (Finding(path, "folder", "can be entered by any account") for path in facts.host.open_folders)),
)  # fmt: skip
