"""A Redis on a restored file, on a socket in the scratch space only."""

import subprocess
import time
from pathlib import Path

from . import command, redis_copy
from .errors import CommandError, JobError
from .paths import SCRATCH

LOADED_BYTES = 64 * 2**20
"""A larger file would need more memory than this container has: it is read to its end by redis-check-rdb instead."""
SECONDS = 300


def prove(rdb: Path, expected: dict) -> str:
    """ "loaded" or "read". Raises JobError where the number of keys is not that of the manifest."""
    if redis_copy.digest(rdb) != expected["sha256"]:
        raise JobError("the copy of Redis is not the one of the manifest")
    if rdb.stat().st_size > LOADED_BYTES:
        must_fit(redis_copy.check(rdb)["keys"], {**expected, "expires": 0})
        return "read"
    must_fit(_load(rdb), expected)
    return "loaded"


def must_fit(keys: int, expected: dict) -> None:
    """Keys that end by themselves may have ended since."""
    least, most = expected["keys"] - expected["expires"], expected["keys"]
    if not least <= keys <= most:
        raise JobError(f"Redis has {keys} keys after loading, not {least} to {most}")


def _load(rdb: Path) -> int:
    socket = SCRATCH / "redis.sock"
    argv = [
        "redis-server", "--port", "0", "--unixsocket", socket, "--dir", rdb.parent, "--dbfilename", rdb.name, "--save", "",
        "--appendonly", "no", "--daemonize", "no", "--logfile", SCRATCH / "redis.log",
    ]  # fmt: skip
    server = subprocess.Popen(
        [*command.gently("KILL"), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends and server.poll() is None:
            try:
                said = command.run(["redis-cli", "-s", socket, "DBSIZE"], deadline=30).strip()
            except CommandError:
                said = ""
            if said.isdecimal():
                return int(said)
            time.sleep(0.25)
        log = (SCRATCH / "redis.log").read_text() if (SCRATCH / "redis.log").exists() else ""
        raise JobError(f"Redis did not load its copy: {' '.join(log.split())[-300:]}")
    finally:
        command.stop(server)
