"""A client of the cluster, run in a container: rows by id, each line of output one answer of a server.

    python client.py write|read FIRST-ID CONNINFO

`write` inserts one row after another and prints `TIME ID` when its commit was acknowledged; `read` counts rows and prints
`TIME COUNT`. What fails is printed as `TIME - REASON`, and tried anew with a new connection.
"""

import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg  # type: ignore[import-not-found]  # of the image

SECONDS = 3.0
"""Until an answer: a frozen server still acknowledges packets, so no timeout of TCP ends the wait for it."""
PAUSE = 0.02


def once(connection: psycopg.Connection, writes: bool, number: int) -> object:
    if writes:
        connection.execute("INSERT INTO acknowledged (id) VALUES (%s)", (number,))
        return number
    return connection.execute("SELECT count(*) FROM acknowledged").fetchone()[0]


def main(verb: str, first: int, conninfo: str) -> None:
    # A call that gets no answer is left behind with its thread and its connection.
    threads = ThreadPoolExecutor(1000)
    connection = None
    for number in itertools.count(first):
        try:
            if connection is None:
                connection = threads.submit(psycopg.connect, conninfo, autocommit=True).result(3 * SECONDS)
            said = threads.submit(once, connection, verb == "write", number).result(SECONDS)
        except (psycopg.Error, TimeoutError, OSError) as problem:
            connection = None
            said = f"- {type(problem).__name__} {' '.join(str(problem).split())}"
        print(f"{time.time():.3f} {said}", flush=True)
        time.sleep(PAUSE)


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
