"""What the last words of a failed program mean, and what to do about it."""

from __future__ import annotations

import re

_BUILD = (
    (r"Temporary failure resolving|Could not resolve|Name or service not known|getaddrinfo|EAI_AGAIN|no such host",
     "the package mirrors cannot be reached: their names do not resolve",
     "check the network and /etc/resolv.conf, then run the command again; a host without network takes inv images.load FILE"),
    (r"Could not connect|Connection timed out|Network is unreachable|ETIMEDOUT|i/o timeout|Unable to connect",
     "the package mirrors cannot be reached: no connection",
     "check the network and proxy settings, then run the command again; a host without network takes inv images.load FILE"),
    (r"No space left on device", "the disk is full", "make room (inv images.prune, df -h), then run the command again"),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES|checksum mismatch|EINTEGRITY|computed checksum did NOT match|sha256sum: WARNING"
     r"|SECURITY ERROR|wrong checksum|checksum.*(?:differs|does not match)",
     "a download does not have the pinned checksum: it was changed or cut short on the way, or the pin is wrong",
     "run the command again; if it stays, compare with the publisher before changing any pin"),
    (r"certificate verify failed|SELF_SIGNED_CERT|unable to get local issuer|x509: certificate signed by unknown|PKIX path",
     "a download server shows a certificate that the build does not trust",
     "install your proxy's CA on this host (update-ca-certificates), then run the command again"),
)  # fmt: skip


def diagnose_build(log: str, where: str) -> tuple[str, str]:
    """Why a build failed and what to type next.

    Parameters
    ----------
    log: all that it said. where: the file that holds it.
    """
    end = "\n".join(log.splitlines()[-60:])
    for pattern, why, next_step in _BUILD:
        if re.search(pattern, end, re.IGNORECASE):
            return why, f"{next_step} (log: {where})"
    said = [line.strip() for line in end.splitlines() if line.strip()]
    return (" / ".join(said[-2:]) or "it printed nothing"), f"read {where}, correct the cause, run the command again"
