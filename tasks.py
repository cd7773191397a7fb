"""The commands of this repository. `inv --list` is their table of contents; docs/reference/commands.md has every option."""

from invoke import Collection

from ops.verbs import (
    audit,
    deploy,
    doctor,
    images,
    keycloak,
    keycloak_fix,
    keycloak_h2,
    keycloak_realm,
    keycloak_rotate,
    keycloak_user,
    lifecycle,
    logs,
    open,
    releases,
    rollback,
    scale,
    service,
    status,
)

namespace = Collection(
    deploy.deploy,
    rollback.rollback,
    scale.scale,
    status.status,
    logs.logs,
    open.open_urls,
    lifecycle.start,
    lifecycle.stop,
    lifecycle.restart,
    lifecycle.destroy,
    doctor.doctor,
    images.build,
    Collection("images", images.list_images, images.save, images.load, images.prune),
    Collection("releases", releases.list_releases, releases.show_release, releases.diff),
    Collection(
        "keycloak",
        keycloak.diagnose,
        keycloak_fix.fix,
        keycloak_realm.plan,
        keycloak_realm.apply,
        keycloak_realm.export,
        keycloak_user.user,
        keycloak_rotate.rotate,
        keycloak_h2.migrate_h2,
    ),
    Collection("audit", audit.log, audit.verify),
    Collection("service", service.install, service.remove),
)
