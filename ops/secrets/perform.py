"""How secrets are handed over and seen to work on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

from pathlib import Path

from ops.core.errors import OpsError
from ops.core.wait import until
from ops.deploy.perform import Execution, does
from ops.engines.podman import argv as podman
from ops.secrets import verifiers as checkers
from ops.secrets.at_rest import enable as switch
from ops.secrets.steps import Decrypt, Encrypt, HandOver, ProveLogin, VerifySecret

LET_IN_SECONDS = 45.0
"""An exporter and the health of a backend are asked anew every few seconds; a container that has just started is slow."""


@does(HandOver)
def _hand_over(self: Execution, step: HandOver) -> None:
    checkers.hand_over(self.project, step)


@does(VerifySecret)
def _verify_secret(self: Execution, step: VerifySecret) -> None:
    checkers.verify(self.project, step)


@does(Encrypt)
def _encrypt(self: Execution, step: Encrypt) -> None:
    switch.begin(self.state.root, Path(step.key_file))


@does(Decrypt)
def _decrypt(self: Execution, step: Decrypt) -> None:
    switch.end(self.state.root)


@does(ProveLogin)
def _prove_login(self: Execution, step: ProveLogin) -> None:
    def refused() -> str:
        answer = self.host.run(podman.exec_in(self.name(step.slot), step.argv), ok=None, timeout=20)
        return "" if answer.returncode == 0 else answer.last_words(1) or f"exit code {answer.returncode}"

    if why := until(refused, LET_IN_SECONDS):
        raise OpsError(f"{step.slot} is not let in with {step.secret}", why, f"inv logs {step.slot} --since 10m")
