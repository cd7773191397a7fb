"""Certificates as a part of a deploy: a service that has none for its names is issued one."""

from __future__ import annotations

from collections.abc import Sequence

from ops.certificates.steps import IssueCertificate
from ops.core.plan import Step
from ops.deploy.participant import Participant
from ops.stack.model import Seen, Service
from ops.stack.wanted import Wanted


class Certificates(Participant):
    def files(self, wanted: Wanted, seen: Seen, service: Service, owner: int) -> Sequence[Step]:
        names = wanted.certificate_names.get(service.name)
        if not service.has_tls or names is None or seen.certificates.get(service.name) == names:
            return ()
        key, title = f"certificate {service.name}", f"issue certificate for {service.name}"
        return (IssueCertificate(key, title, service=service.name, owner=owner, names=names),)
