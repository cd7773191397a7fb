"""The commands of this repository. `inv --list` is their table of contents; docs/reference/commands.md has every option."""

from invoke import Collection

from ops.alerts import commands as alerts
from ops.application import commands as app
from ops.audit_log import commands as audit_log
from ops.backup import commands as backup
from ops.backup.restore import commands as restore
from ops.certificates import commands as certs
from ops.certificates.acme import commands as certs_acme
from ops.cli import program  # noqa: F401  (groups the commands of inv --list)
from ops.deploy import commands as deploy
from ops.host import commands as host
from ops.images import commands as images
from ops.keycloak import commands as keycloak
from ops.keycloak import fix as keycloak_fix
from ops.keycloak.h2 import commands as keycloak_h2
from ops.keycloak.realm import commands as keycloak_realm
from ops.keycloak.rotate import commands as keycloak_rotate
from ops.keycloak.users import commands as keycloak_user
from ops.lifecycle import commands as lifecycle
from ops.logs import commands as logs
from ops.monitoring import commands as monitoring
from ops.monitoring.coverage import commands as monitoring_coverage
from ops.releases import commands as releases
from ops.secrets import commands as secrets
from ops.security_audit import commands as security_audit
from ops.status import commands as status
from ops.traces import commands as traces

namespace = Collection(
    deploy.deploy,
    deploy.rollback,
    deploy.scale,
    status.status,
    logs.logs,
    traces.trace,
    status.open_urls,
    monitoring.slo,
    monitoring.report,
    monitoring_coverage.coverage,
    restore.restore,
    lifecycle.start,
    lifecycle.stop,
    lifecycle.restart,
    lifecycle.destroy,
    host.doctor,
    images.build,
    Collection("alerts", alerts.show_alerts, alerts.silence, alerts.test, alerts.credentials),
    Collection("app", app.check, app.new),
    Collection("images", images.list_images, images.save, images.load, images.push, images.prune),
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
    Collection("backup", backup.make, backup.list_sets, backup.verify, backup.prune, backup.key, backup.credentials),
    Collection("certs", certs.show_certificates, certs.rotate, certs.ca, certs.import_certificate, certs_acme.acme),
    Collection(
        "secrets",
        secrets.show_secrets,
        secrets.rotate,
        secrets.check,
        secrets.encrypt,
        secrets.unlock,
        secrets.decrypt,
    ),
    Collection("audit", security_audit.walls, audit_log.log, audit_log.verify),
    Collection("service", host.install, host.remove),
)
