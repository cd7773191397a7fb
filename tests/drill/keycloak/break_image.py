"""Ways to break Keycloak by its image: real builds of it, each wrong in one way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from ops.core.files import host_ca_bundle
from ops.core.machine import REPOSITORY
from ops.engines.podman import argv as podman
from tests.drill.keycloak.breakage import Act, Breakage, fails_to_start, no_login, serves
from tests.drill.keycloak.hands import SLOT, Definition, Keycloak

BUILD_SECONDS = 580.0
CONTEXT = REPOSITORY / "compose" / SLOT
LIBRARY = Path(__file__).parents[1] / "clock.c"
LAST = "\nFROM java\nCOPY --from=trained /opt/keycloak /opt/keycloak\n"
"""How the last stage of the product's own Containerfile begins."""
UNBUILT = (
    "\nFROM java\nCOPY --from=distribution /opt/keycloak /opt/keycloak\n"
    "COPY jvm.options tls.options quarkus.properties /opt/keycloak/conf/\n"
)
"""The same with the distribution as it is downloaded."""
LINKED = "RUN rm -rf /opt/keycloak/data && ln -s /run/keycloak/data /opt/keycloak/data\n"
BUILD = (
    "RUN /opt/keycloak/bin/kc.sh build --http-relative-path=/auth --http-management-relative-path=/ --health-enabled=true "
    "--metrics-enabled=true --event-metrics-user-enabled=true"
)
WITHOUT_DB = UNBUILT + LINKED + BUILD + "\n"
JAR = "mkdir -p /opt/keycloak/providers && cp /opt/keycloak/lib/quarkus-run.jar /opt/keycloak/providers/own.jar"
CLOCK = """FROM {image} AS clock
USER 0
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY clock.c /
RUN gcc -shared -fPIC -O2 -DSECONDS=90 -o /clock.so /clock.c -ldl
FROM {image}
COPY --from=clock /clock.so /opt/keycloak/clock.so
"""


def built_anew(keycloak: Keycloak, stage: str) -> str:
    """The product's Containerfile with its last stage exchanged; the stages before it are in the cache of its own build."""
    text = (CONTEXT / "Containerfile").read_text()
    assert text.count(LAST) == 1
    return text.replace(LAST, stage)


def on_top(keycloak: Keycloak, command: str) -> str:
    """What somebody has added to the product's image."""
    return f"FROM {keycloak.drill.project.images[SLOT].tag}\nUSER 0\nRUN {command}\nUSER 60704:60704\n"


@cache
def image(keycloak: Keycloak, name: str, text: str) -> str:
    """Tag of an image that is built by this Containerfile in the product's own context."""
    tag = f"localhost/cc03-drill/keycloak:{name}"
    folder = Path(mkdtemp(prefix="cc03-drill-"))
    args = {f"BASE_{suite.upper()}": base for suite, base in keycloak.drill.project.images[SLOT].bases}
    try:
        shutil.copytree(CONTEXT, folder, dirs_exist_ok=True)
        shutil.copy(LIBRARY, folder)
        (folder / "Containerfile").write_text(text)
        keycloak.drill.project.host.run(podman.image_build(folder, tag, args, host_ca_bundle()), timeout=BUILD_SECONDS)
    finally:
        shutil.rmtree(folder)
    return tag


Text = Callable[[Keycloak, str], str]


def made_of(name: str, how: Text, what: str, change: Callable[[Definition], None] = lambda definition: None) -> Act:
    def act(keycloak: Keycloak) -> None:
        tag = image(keycloak, name, how(keycloak, what))

        def changed(definition: Definition) -> None:
            definition["image"] = tag
            change(definition)

        keycloak.remake(changed)

    return act


def with_h2(definition: Definition) -> None:
    """As without any option of a database: the one that is built in answers."""
    definition["entrypoint"] = ["bash", "-c", ENTRY.replace("EDIT", "sed -i '/^db-/d' $state/keycloak.conf")]


def with_damaged_h2(definition: Definition) -> None:
    """The same, and what stands in its file is no database."""
    damage = "mkdir -p $state/data/h2; head -c 65536 /dev/urandom >$state/data/h2/keycloakdb.mv.db"
    definition["entrypoint"] = ["bash", "-c", ENTRY.replace("EDIT", f"sed -i '/^db-/d' $state/keycloak.conf; {damage}")]


def as_dev(definition: Definition) -> None:
    """Its first start builds anew (a minute, and then Podman starts it again), for which somebody has had to give it a root
    file system that it can write to."""
    definition |= {"read_only": False, "user": "0:0", "cap_add": ["DAC_OVERRIDE"]}
    definition["entrypoint"] = ["bash", "-c", ENTRY.replace("EDIT", ":").replace("start --optimized", "start-dev")]


def answers_users(keycloak: Keycloak) -> str:
    """Its own build has no health page, and an empty database no realm of ours: any answer will do."""
    try:
        status = keycloak.inside(8443, "/").status_code
    except (OSError, AssertionError) as problem:
        return str(problem)[:200]
    return f"it says {status}" if status >= 500 else ""


ENTRY = (
    "source <(sed '/^exec java/,$d' /usr/local/bin/entrypoint.sh); EDIT; exec java @/opt/keycloak/conf/jvm.options "
    'io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file="$state/keycloak.conf" start --optimized'
)


def ahead(keycloak: Keycloak, text: str) -> str:
    """The product's image with a library that moves the time of day for the program that loads it."""
    return text.format(image=keycloak.drill.project.images[SLOT].tag)


def with_its_clock(definition: Definition) -> None:
    definition["environment"] = {"LD_PRELOAD": "/opt/keycloak/clock.so"}


BREAKAGES = (
    Breakage("image-not-built", "image-not-built", made_of("unbuilt", built_anew, UNBUILT + LINKED), suffers=fails_to_start),
    Breakage("h2-in-production", "h2-in-use", made_of("h2", built_anew, WITHOUT_DB, with_h2), suffers=no_login),
    Breakage("h2-with-postgres-options", "h2-in-use", made_of("h2", built_anew, WITHOUT_DB), suffers=no_login),
    Breakage("h2-damaged", "h2-in-use", made_of("h2", built_anew, WITHOUT_DB, with_damaged_h2), suffers=fails_to_start),
    Breakage("provider-jar", "provider-updated", made_of("jar", on_top, JAR), suffers=fails_to_start),
    Breakage(
        "dev-mode", "dev-mode", made_of("h2", built_anew, WITHOUT_DB, as_dev), suffers=answers_users,
        suffers_within=300.0,
    ),
    Breakage("clock-ahead", "clock-skew", made_of("clock", ahead, CLOCK, with_its_clock), suffers=serves, mends=False),
)  # fmt: skip
