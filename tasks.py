"""The commands of this repository. `inv --list` is their table of contents; docs/reference/commands.md has every option."""

from invoke import Collection

from ops.verbs import deploy, doctor, images, lifecycle, logs, open, service, status

namespace = Collection(
    deploy.deploy,
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
    Collection("service", service.install, service.remove),
)
