"""The commands of this repository. `inv --list` is their table of contents; docs/reference/commands.md has every option."""

from invoke import Collection

from ops.verbs import (
    audit,
    deploy,
    doctor,
    images,
    keycloak,
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
    keycloak.keycloak,
    images.build,
    Collection("images", images.list_images, images.save, images.load, images.prune),
    Collection("releases", releases.list_releases, releases.show_release, releases.diff),
    Collection("audit", audit.log, audit.verify),
    Collection("service", service.install, service.remove),
)
