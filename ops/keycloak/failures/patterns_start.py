"""Lines that tell what is wrong with the image, its options, or the files that a start reads.

Each with its source: a guide, an issue (#n) of Keycloak, or the text of a program.
"""

from __future__ import annotations

from ops.keycloak.failures.pattern import START, Pattern

KEY_FILE = r"(?:pem|crt|cer|key|jks|p12|pfx|pkcs12|keystore)"
"""Endings of files with a certificate or a key."""

PATTERNS = (
    Pattern("image-not-built", r"'--optimized' flag was used for first ever server start", START, "upgrading guide 26.0"),
    Pattern(
        "build-options-differ",
        r"build time options have values that differ from what is persisted",
        START,
        "upgrading guide 26.0",
    ),
    Pattern(
        "provider-updated", r"provider JAR was (?:updated|added|removed) since (?:the )?last build", START, "containers guide"
    ),
    Pattern(
        "rebuilds-at-start", r"Updating the server image|Changes detected in configuration", START, "containers guide", True
    ),
    Pattern("dev-mode", r"Running the server in development mode", START, "configuration guide", True),
    Pattern(
        "option-unknown",
        r"Unknown option: |unrecognized feature"
        r"|Invalid value for option|Expected values are: |is in both the enabled and disabled feature lists",
        START,
        "all configuration guide",
    ),
    Pattern("option-removed", r"Hostname v1 options \[[^\]]+\] are still in use", START, "measured on 26.7.3"),
    Pattern(
        "hostname-unset",
        r"hostname is not configured; either configure|Strict hostname resolution configured but no hostname setting provided",
        START,
        "hostname guide; #33539",
    ),
    Pattern("https-key-missing", r"Key material not provided to setup HTTPS", START, "TLS guide"),
    Pattern("realm-file-name", r"File name / realm name mismatch", START, "import guide"),
    Pattern("truststore-missing", r"Failed to initialize truststore", START, "measured on 26.7.3"),
    Pattern(
        "heap-too-large",
        r"insufficient memory for the Java Runtime Environment|Native memory allocation \(\w+\) failed|os::commit_memory\(",
        START,
        "#45459",
        True,
    ),
    Pattern("heap-exhausted", r"java\.lang\.OutOfMemoryError|Terminating due to java", START, "#45459", True),
    Pattern(
        "secret-missing",
        r"needs the secret [a-z-]+, and|the secret [a-z-]+ is empty or holds",
        START,
        "compose/keycloak/entrypoint.sh",
    ),
    Pattern("proxy-name-unknown", r"the name nginx is unknown here", START, "compose/keycloak/entrypoint.sh"),
    Pattern("option-disabled", r"Disabled option: ", START, "ShortErrorMessageHandler 26.7.3"),
    Pattern(
        "hostname-invalid",
        r"hostname must be set to a URL when|hostname-backchannel-dynamic must be set to false"
        r"|Provided hostname(?:-admin)? is (?:neither a plain hostname|not a valid)",
        START,
        "HostnameV2ProviderFactory 26.7.3",
    ),
    Pattern(
        "https-file",
        rf"(?:NoSuchFile|AccessDenied|FileNotFound)Exception: \S+\.{KEY_FILE}\b|^(?:ERROR: )*\"?/\S+\.{KEY_FILE}\"?$"
        r"|Failed to load 'https-\*' material: (?:NoSuchFile|AccessDenied|FileNotFound)"
        r"|You must specify the (?:key|certificate) files when|cannot read the key(?: store file|/certificate files)",
        START,
        "Quarkus 3.33; #12675 #34576",
    ),
    Pattern(
        "https-key-store",
        r"keystore (?:password was incorrect|was tampered with)|Password verification failed|Cannot recover key"
        r"|Given final block not properly padded|Invalid keystore format|Unrecognized keystore format"
        r"|toDerInputStream rejects tag|^(?:ERROR: )*java\.io\.EOFException$|Missing -----BEGIN"
        r"|determine[^\n]*(?:key|trust)-?store[ -]type",
        START,
        "OpenJDK; Vert.x; #51984 #23053",
    ),
    Pattern(
        "port-taken",
        r"Address already in use|ports?(?:\(s\))? already bound|seems to be in use by another process",
        START,
        "Quarkus 3.33; #32198",
    ),
    Pattern(
        "jvm-option",
        r"Unrecognized VM option|Improperly specified VM option|Unrecognized option: -|Invalid (?:maximum|initial) heap size"
        r"|Could not create the Java Virtual Machine|Conflicting collector combinations",
        START,
        "OpenJDK",
        True,
    ),
    Pattern(
        "realm-import-failed",
        r"Failed to (?:run import|import realm)|Unable to import realm|Session not bound to a realm|Script upload is disabled"
        r"|(?:Unrecognized field|UnrecognizedProperty|Cannot deserialize|MismatchedInput)[^\n]*keycloak\.representations",
        START,
        "ServicesLogger, ExportImportManager 26.7.3; #36284 #49152",
    ),
    Pattern(
        "cluster-transport",
        r"Unable to start JGroups channel|JGroupsTransport[^\n]*FAILED|ISPN000(?:365|540|541)"
        r"|not a valid address on any local network interface"
        r"|No available port to bind to in range|failed to open a port in range|is not a valid interface",
        START,
        "Infinispan 16, JGroups 5.5; #23330 #24275",
    ),
)
