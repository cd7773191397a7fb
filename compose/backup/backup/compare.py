"""python3 -m backup.compare < manifest.json: whether the running PostgreSQL holds what a set's fingerprint says.

For the host, right after a restore to that very place and before anybody writes. Exit code 1 with the differences.
"""

import json
import sys

from . import fingerprint
from .database import PRIMARY
from .errors import JobError


def main() -> int:
    expected = json.load(sys.stdin)["fingerprint"]
    if not expected["exact"]:
        print("not compared: somebody wrote while the set was made")
        return 0
    try:
        seen = fingerprint.look(PRIMARY, expected["databases"])
        fingerprint.must_equal(expected["databases"], fingerprint.without_new_roles(expected["databases"], seen))
    except JobError as error:
        print(error, file=sys.stderr)
        return 1
    found = fingerprint.summary(seen)
    print(f"{found['tables']} tables and {found['rows']} rows in {found['databases']} databases are those of the set")
    return 0


if __name__ == "__main__":
    sys.exit(main())
