"""Looks at the host before a command begins, so that what cannot work fails before anything has changed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path

from ops.core.errors import HostLacks
from ops.core.machine import EVERYWHERE, addresses, host_facts, nameservers, port_is_free
from ops.core.process import installed, run
from ops.host.accounts import taken_ids
from ops.host.files import owner_of
from ops.host.findings import Facts, Folder, findings
from ops.project import Project
from ops.stack.applied_settings import OWNER
from ops.store import encrypted_copies, encryption

STORAGE = Path("/var/lib/containers")


def _nearest(path: Path) -> Path:
    """The folder itself, or the one in which it would be made."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def free_bytes(project: Project) -> dict[str, int]:
    """Folder that the stack writes to -> free bytes; of several on one file system, the first."""
    places = {_nearest(project.state.root), _nearest(STORAGE)}
    by_device = {path.stat().st_dev: path for path in sorted(places)}
    return {str(path): shutil.disk_usage(path).free for path in by_device.values()}


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _huge_pages() -> str:
    """The choice that is in brackets in `always [madvise] never`; empty where the kernel has none."""
    try:
        match = re.search(r"\[(\w+)\]", Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text())
    except OSError:
        return ""
    return match[1] if match else ""


def _backlog() -> int | None:
    """What a container gets: not the host's own setting, but the kernel's default for each new network."""
    if not installed("unshare"):
        return None
    answer = run(("unshare", "--net", "cat", "/proc/sys/net/core/somaxconn"), timeout=5, ok=None)
    return int(answer.stdout) if answer.returncode == 0 else None


def _ceilings(project: Project, present: Mapping[str, object]) -> int:
    """Bytes; of what is optional only where its image is here."""
    return sum(
        one.limits.memory_bytes * len(one.slots()) for name, one in project.stack.services.items()
        if not one.optional or project.images[name].tag in present
    )  # fmt: skip


def _busy_ports(project: Project, owners: Mapping[int, str]) -> dict[str, int]:
    """Those that the project does not publish itself, and that somebody has."""
    return {
        name: port for name, port in project.ports.items()
        if owners.get(port) != project.name and not port_is_free(port, "127.0.0.1" if name == "ops" else EVERYWHERE)
    }  # fmt: skip


def _folders(project: Project) -> dict[str, Folder]:
    local = _nearest(STORAGE).stat().st_dev
    found = {}
    local_ones = [one for one in project.settings.repositories if not one.remote]
    # A deploy changes the owner together with that of the local repository.
    writers = {OWNER, owner_of(project.engine, "backup", OWNER)} if local_ones else set()
    for one in local_ones:
        path = Path(one.where["path"])
        about = path.stat() if path.is_dir() else None
        found[one.name] = Folder(
            str(path), there=about is not None, own_disk=about is not None and about.st_dev != local,
            taken=about is not None and about.st_uid in writers and about.st_mode & 0o700 == 0o700,
        )  # fmt: skip
    return found


def _secrets_closed(project: Project) -> str:
    root = project.state.root
    if os.geteuid() != 0 or not (root / encrypted_copies.HOME).is_dir():
        return ""
    if encryption.is_unfinished(root):
        return (
            f"they are encrypted in part; inv secrets.encrypt --key {encrypted_copies.key_file(root)}, or inv secrets.decrypt"
        )
    return "they are encrypted, and locked since the last boot" if encrypted_copies.is_locked(root) else ""


def look(project: Project) -> Facts:
    """The facts that decide whether a deploy can work; nothing that takes long."""
    engine, version = project.engine, project.engine.version()
    with ThreadPoolExecutor() as pool:
        published = pool.submit(engine.published_ports if version else dict)
        present = engine.images(image.tag for image in project.images.values()) if version else {}
    owners = published.result()
    missing = [image for image in project.images.values() if image.context and image.tag not in present]
    return Facts(
        host=host_facts(), podman=version, images_missing=len(missing), free_bytes=free_bytes(project),
        memory_bytes=_memory_bytes(), limits={name: one.limits.memory_bytes for name, one in project.stack.services.items()},
        busy_ports=_busy_ports(project, owners) if version else {}, port_owners=owners,
        folders=_folders(project), ceilings=_ceilings(project, present), overcommit=_number("/proc/sys/vm/overcommit_memory"),
        huge_pages=_huge_pages(), backlog=_backlog(),
        secrets_closed=_secrets_closed(project), taken=taken_ids(project.stack),
    )  # fmt: skip


def check_host(project: Project) -> None:
    """Raises HostLacks for the first finding with which a deploy cannot work."""
    _refuse(look(project))


def check_host_to_build(project: Project) -> None:
    """The same for a build, which publishes nothing and stores no data: whose ports and ids are is no matter then."""
    _refuse(replace(look(project), busy_ports={}, taken=()))


def _refuse(facts: Facts) -> None:
    for finding in findings(facts):
        if finding.level == "bad":
            raise HostLacks(finding.what, finding.meaning, finding.cure)


def look_around(project: Project) -> Facts:
    """`look`, and what takes a second or two: who answers on the network, and whether the clock agrees with them."""
    facts = look(project)
    with ThreadPoolExecutor() as pool:
        registry = pool.submit(project.engine.registry_answers)
        packages = pool.submit(_package_mirror)
        ipv6 = pool.submit(_ipv6_addresses, project.settings.domain)
        hosts = sorted({one.rpartition(":")[0] for one in project.stack.destinations})
        known = list(pool.map(addresses, hosts))
        offset = packages.result()
    return replace(
        facts,
        clock_offset=offset,
        ipv6=ipv6.result(),
        receivers={host: bool(found) for host, found in zip(hosts, known, strict=True)},
        without_resolver=any(host not in found for host, found in zip(hosts, known, strict=True)) and not nameservers(),
        registries={"container registry": registry.result(), "package mirror": offset is not None},
    )


def _ipv6_addresses(name: str) -> tuple[str, ...]:
    """What the DNS says of a public name; nothing where it has no AAAA record, and where the name is this host's own."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_STREAM)}
    except OSError:
        return ()
    return tuple(sorted(one for one in found if ip_address(one.partition("%")[0]).is_global))


def _package_mirror() -> float | None:
    """Seconds by which the mirror of the host's own package sources is ahead of this clock; None where it does not answer."""
    answer = run(("apt-get", "--print-uris", "--quiet", "update"), timeout=20, ok=None) if installed("apt-get") else None
    import requests

    urls = [line.split("'")[1] for line in answer.stdout.splitlines() if line.startswith("'http")] if answer else []
    for url in urls[:1]:
        try:
            answered = requests.head(url, timeout=5, allow_redirects=True)
            return parsedate_to_datetime(answered.headers["Date"]).timestamp() - time.time()
        except (requests.RequestException, KeyError, ValueError):
            return None
    return None
