"""How the realm and its keys are brought about on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

from ops.deploy.perform import Execution, does
from ops.keycloak.realm.live import Realm, bring_about
from ops.keycloak.realm.plan import read_realm
from ops.keycloak.rotate import rotation as rotate
from ops.keycloak.steps import ApplyRealm, CreateKey, RemoveKey, RetireKey, VerifyKeys


@does(ApplyRealm)
def _apply_realm(self: Execution, step: ApplyRealm) -> None:
    self._touch()
    realm = Realm(self.project, read_realm(step.realm), step.versions, self.allocation.ports["ops"])
    bring_about(realm, lambda text: self.report(step.key, text), deletions=step.deletions)


@does(CreateKey)
def _create_key(self: Execution, step: CreateKey) -> None:
    rotate.RealmKeys(self.project).create(step)


@does(VerifyKeys)
def _verify_keys(self: Execution, step: VerifyKeys) -> None:
    rotate.RealmKeys(self.project).verify(step)


@does(RetireKey)
def _retire_key(self: Execution, step: RetireKey) -> None:
    rotate.RealmKeys(self.project).retire(step)


@does(RemoveKey)
def _remove_key(self: Execution, step: RemoveKey) -> None:
    rotate.RealmKeys(self.project).remove(step.identity)
