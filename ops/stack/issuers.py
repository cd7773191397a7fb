"""Who issues the public certificate, as stack.yaml names them: checked, completed, typed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ops.stack.repositories import Certificates
from ops.stack.yaml_model import Form, Keys

KNOWN = {
    "letsencrypt": (
        "https://acme-v02.api.letsencrypt.org/directory", "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
    "google": ("https://dv.acme-v02.api.pki.goog/directory", "https://dv.acme-v02.test-api.pki.goog/directory"),
    "zerossl": ("https://acme.zerossl.com/v2/DV90", ""),
}  # fmt: skip
"""Issuer -> directory, and that of its rehearsal stage where it has one: letsencrypt.org/docs/acme-protocol-updates and
/docs/staging-environment, cloud.google.com/certificate-manager/docs/public-ca-tutorial, zerossl.com/documentation/acme."""
REHEARSAL = "-staging"
"""Suffix of an issuer's account at its rehearsal stage, which is another one."""
HTTP, DNS = "http-01", "dns-01"


@dataclass(frozen=True)
class Issuer:
    """One authority. `directory`, `staging`: URLs. `eab`: `key_id` and `key_file` of an external account (RFC 8555, 7.3.4);
    empty: it asks for none. `ca`: PEM of a private authority's roots, for its own TLS and for what it issues; empty: public."""

    name: str
    directory: str
    staging: str = ""
    eab: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""

    def rehearsal(self) -> Issuer:
        """The same at its rehearsal stage, as another issuer with an account of its own."""
        return Issuer(self.name + REHEARSAL, self.staging, "", self.eab, self.ca)


# Without TLS anybody on the way could name another place for the keys and the challenges.
Url = Annotated[
    str, Field(pattern=r"^https://[A-Za-z0-9.-]+(:\d{1,5})?(/[\x21-\x7e]*)?$"),
    Form("a URL such as https://acme.example.com/directory"),
]  # fmt: skip


class ExternalAccount(Keys):
    key_id: Annotated[str, Form("as the issuer gave it")] = Field(description="Identifier that the issuer gave.")
    key_file: Annotated[str, Field(pattern="^/"), Form("an absolute path")] = Field(
        description="File that holds the key that the issuer gave.",
    )  # fmt: skip


class IssuerKeys(Keys):
    """An issuer in stack.yaml. What is known of it need not be said."""

    name: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$"),
        Form(f"lower-case letters, digits and dashes, at most 20, not ending in {REHEARSAL}"),
    ] = Field(description=f"Name of the issuer; {', '.join(KNOWN)} are known, and need nothing else.")  # fmt: skip
    directory: Url | None = Field(default=None, description="URL of its ACME directory.")
    staging: Url | None = Field(default=None, description="URL of the directory of its rehearsal stage.")
    eab: ExternalAccount | None = Field(default=None, description="External account, for issuers that ask for one.")
    ca: Certificates | None = Field(default=None, description="Roots of a private authority.")

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        directory, staging = KNOWN.get(str(given.get("name")), (None, None))
        return {"directory": directory, "staging": staging or None, **{key: value for key, value in given.items() if value}}

    @field_validator("name")
    @classmethod
    def _no_rehearsal(cls, name: str) -> str:
        if name.endswith(REHEARSAL):
            raise ValueError(f"a name not ending in {REHEARSAL}")
        return name

    @model_validator(mode="after")
    def _has_directory(self) -> IssuerKeys:
        if self.directory is None:
            raise ValueError(f"directory: a URL, for an issuer other than {', '.join(KNOWN)}")
        return self

    @property
    def issuer(self) -> Issuer:
        eab = self.eab.model_dump() if self.eab else {}
        return Issuer(self.name, self.directory or "", self.staging or "", eab, self.ca or "")


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _different(found: tuple[IssuerKeys, ...]) -> tuple[IssuerKeys, ...]:
    if len({one.name for one in found}) < len(found):
        raise ValueError("names that differ from each other")
    return found


Named = Annotated[IssuerKeys, BeforeValidator(_named, json_schema_input_type=str | IssuerKeys)]
Issuers = Annotated[
    tuple[Named, ...], Field(strict=False), AfterValidator(_different),
    Form(f"a list of issuers; names alone are enough for {', '.join(KNOWN)}"),
]  # fmt: skip
