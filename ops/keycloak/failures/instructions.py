"""What a person does where a finding is not repaired: commands to type, in order."""

from __future__ import annotations

from ops.keycloak.failures.failure import Finding
from ops.keycloak.failures.registry import BY_ID
from ops.keycloak.repair.containers import migrating
from ops.keycloak.repair.situation import Instructions, Situation

_CERTIFICATE = (
    "inv certs: from whom the site's certificate is, until when it is good, and why its renewal failed",
    "inv certs.acme has the issuer make another one; one of your own: inv certs.import CERT KEY",
    "until then inv certs.import --remove shows the project's own, which browsers trust where its authority is installed",
)
OF_THE_SITE = ("certificate-untrusted", "certificate-expires")


def instructions(situation: Situation, finding: Finding) -> Instructions:
    """For a finding that cannot be repaired, or that no way has repaired."""
    if situation.wanted is None:
        lines: tuple[str, ...] = (
            "there is no intact current release to go back to: inv releases shows which are",
            "inv rollback to one that is intact, or inv deploy, which seals a new one",
        )
    elif migrating(situation.facts):
        lines = ("a migration of its own is under way: wait for its end (inv logs keycloak --follow), then inv keycloak.fix",)
    elif situation.facts.edge.certificate_elsewhere and finding.id in OF_THE_SITE:
        lines = _CERTIFICATE
    else:
        lines = BY_ID[finding.id].remedy.advice
    return Instructions(finding.id, lines)
