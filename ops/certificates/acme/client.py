"""One issuer, by certbot's own protocol library, `acme`, and how challenges are answered. Errors are of one kind."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.json_util import field
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from ops.certificates import pki
from ops.certificates.acme.plan import BARRED_SECONDS
from ops.core import files
from ops.core.errors import OpsError
from ops.core.files import log_line
from ops.core.process import until
from ops.hooks import run_program
from ops.project import Project
from ops.stack.issuers import DNS, HTTP, Issuer

REQUEST_SECONDS = 20
"""For one request; the issuer's own time-outs are shorter."""
DECISION_SECONDS = 120.0
"""Until an issuer has looked at every challenge, and again until it has issued."""
NONCE_TRIES = 12
"""A nonce may be refused at any time and the request sent again with another one (RFC 8555, 6.5). The library tries once more;
a server that refuses every other one would then fail most orders."""
AGENT = "cc03"
BAD, TOO_MANY = 400, 429
"""HTTP: errors begin with the first; the second is said by a server, or what stands before it, that was asked too often."""

Answer = Callable[[str, str, str], AbstractContextManager[None]]
"""(name, token or name of the record, value) -> a context within which the issuer finds that answer."""


class IssuerFailed(Exception):
    """An issuer did not do what it was asked for. `barred_for`: seconds for which it wants to hear nothing more. `refused`: it
    found that the name is not ours."""

    def __init__(self, why: str, *, barred_for: float = 0.0, refused: bool = False) -> None:
        super().__init__(why)
        self.why, self.barred_for, self.refused = why, barred_for, refused


class _Network(ClientNetwork):
    """`status`: of the last answer. `retry_after`: seconds, where that was an error and named some."""

    def __init__(self, key: JWK | None, account: messages.RegistrationResource | None, roots: Path | None) -> None:
        super().__init__(key, account, alg=ES256, user_agent=AGENT, timeout=REQUEST_SECONDS)
        if roots:
            # Handed on to requests, which takes a file of roots here as well.
            self.verify_ssl = str(roots)  # type: ignore[assignment]
        self.status, self.retry_after = 0, 0.0

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        response = super()._send_request(method, url, *args, **kwargs)
        self.status, self.retry_after = response.status_code, 0.0 if response.ok else seconds_in(response) or 0.0
        return response

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCE_TRIES):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)


class _ReplacingOrder(messages.NewOrder):
    replaces: str = field("replaces", omitempty=True)


class _Client(ClientV2):
    """`replaces`: identifier of the certificate that an order is to replace (RFC 9773, 5), which the library cannot say."""

    replaces = ""

    def _post(self, *args: Any, **kwargs: Any) -> requests.Response:
        if self.replaces and isinstance(args[1], messages.NewOrder):
            order = _ReplacingOrder(identifiers=args[1].identifiers, replaces=self.replaces)
            args = (args[0], order, *args[2:])
        return super()._post(*args, **kwargs)


@dataclass(frozen=True)
class Suggestion:
    """When an issuer would have a certificate renewed. `window`: seconds of the epoch; None: it does not say. `retry_after`:
    seconds until it wants to be asked again."""

    window: tuple[float, float] | None
    retry_after: float | None = None


class Authority:
    """An issuer, with the account that we have there or are about to open. Raises IssuerFailed from every method. `roots`: file
    of certificates that it is trusted by; None: those of the library."""

    def __init__(self, issuer: Issuer, key: ec.EllipticCurvePrivateKey | None, roots: Path | None, account: str = "") -> None:
        self.issuer = issuer
        self.key = JWKEC(key=key) if key else None
        known = messages.RegistrationResource(body=messages.Registration(), uri=account) if account else None
        self.network = _Network(self.key, known, roots)
        with self._told():
            self.client = _Client(ClientV2.get_directory(issuer.directory, self.network), self.network)

    @property
    def terms(self) -> str:
        """Where its terms of service are to be read; empty where it has none."""
        return str(getattr(self.client.directory.meta, "terms_of_service", None) or "")

    def open_account(self, email: str, hmac_key: str) -> str:
        """The address of the account of our key, made where there is none. `hmac_key`: of an external account, base64url."""
        with self._told():
            if self.client.external_account_required() and not hmac_key:
                raise IssuerFailed("it opens accounts only for its own customers: set eab in stack.yaml")
            binding = None
            if hmac_key and self.key:
                public, directory = self.key.public_key(), self.client.directory
                binding = messages.ExternalAccountBinding.from_data(public, self.issuer.eab["key_id"], hmac_key, directory)
            wanted = messages.NewRegistration.from_data(
                email=email or None, external_account_binding=binding, terms_of_service_agreed=True
            )  # fmt: skip
            try:
                return str(self.client.new_account(wanted).uri)
            except errors.ConflictError as known:
                return known.location

    def issue(
        self, names: tuple[str, ...], challenge: str, answer: Answer, replaces: x509.Certificate | None
    ) -> tuple[bytes, bytes]:
        """A fresh key and the chain of its certificate, both PEM. `replaces`: what this issuer issued before, if anything."""
        key = ec.generate_private_key(ec.SECP256R1())
        with self._told():
            order = self._order(_request(key, names), replaces)
            for one in order.authorizations:
                if one.body.status != messages.STATUS_VALID:
                    self._authorise(one, challenge, answer)
            order = self.client.poll_authorizations(order, _deadline())
            order = self.client.finalize_order(order, _deadline())
        return pki.pem_key(key), str(order.fullchain_pem).encode()

    def _order(self, request: bytes, replaces: x509.Certificate | None) -> messages.OrderResource:
        self.client.replaces = identifier(replaces) if replaces and self._advises else ""
        try:
            return self.client.new_order(request)
        except (errors.ConflictError, messages.Error) as problem:
            # Somebody else has replaced it already, or the issuer has lost it: an ordinary order does as well (RFC 9773, 5).
            if not self.client.replaces or getattr(problem, "code", None) in ("badNonce", "rateLimited"):
                raise
            self.client.replaces = ""
            return self.client.new_order(request)

    def _authorise(self, one: messages.AuthorizationResource, challenge: str, answer: Answer) -> None:
        name = one.body.identifier.value
        kind = challenges.HTTP01 if challenge == HTTP else challenges.DNS01
        offered = next((body for body in one.body.challenges if isinstance(body.chall, kind)), None)
        if offered is None:
            raise IssuerFailed(f"it does not offer {challenge} for {name}")
        response, value = offered.response_and_validation(self.key)
        where = offered.chall.encode("token") if challenge == HTTP else offered.chall.validation_domain_name(name)
        with answer(name, where, value):
            self.client.answer_challenge(offered, response)
            self._decided(one)

    def _decided(self, one: messages.AuthorizationResource) -> None:
        """Wait while the answer must stay where the issuer looks for it; what it has found is read with the whole order."""
        alone = messages.OrderResource(body=messages.Order(authorizations=[one.uri]))
        self.client.poll_authorizations(alone, _deadline())

    @property
    def _advises(self) -> bool:
        return hasattr(self.client.directory, "renewalInfo")

    def suggestion(self, certificate: x509.Certificate) -> Suggestion:
        """When it would have this certificate renewed (RFC 9773)."""
        if not self._advises:
            return Suggestion(None)
        with self._told():
            url = f"{self.client.directory['renewalInfo'].rstrip('/')}/{identifier(certificate)}"
            answer = self.network.get(url)
            window = messages.RenewalInfo.from_json(answer.json()).suggested_window
            return Suggestion((window.start.timestamp(), window.end.timestamp()), seconds_in(answer))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.SSLError as problem:
            raise IssuerFailed(f"its own TLS certificate is not trusted: {_shortened(problem)}") from problem
        except requests.RequestException as problem:
            raise IssuerFailed(f"it cannot be reached: {_shortened(problem)}", barred_for=self.network.retry_after) from problem
        except errors.ValidationError as problem:
            raise IssuerFailed(_refusal(problem), refused=True) from problem
        except errors.TimeoutError as problem:
            raise IssuerFailed(f"it did not decide within {DECISION_SECONDS:.0f} s") from problem
        except errors.IssuanceError as problem:
            raise IssuerFailed(f"it does not issue: {_said(problem.error)}") from problem
        except messages.Error as problem:
            limited = BARRED_SECONDS if problem.code == "rateLimited" else 0.0
            raise IssuerFailed(_said(problem), barred_for=self.network.retry_after or limited) from problem
        except (errors.Error, JoseError, ValueError, KeyError, AttributeError) as problem:
            status = self.network.status
            why = f"it answers {status}" if status >= BAD else f"its answer is not ACME: {_shortened(problem)}"
            limited = BARRED_SECONDS if status == TOO_MANY else 0.0
            raise IssuerFailed(why, barred_for=self.network.retry_after or limited) from problem


def identifier(certificate: x509.Certificate) -> str:
    """How issuers name a certificate when asked when to renew it (RFC 9773, 4.1): its authority's key and its serial number."""
    authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    serial = certificate.serial_number
    # As in DER: a leading zero where the first bit would be taken for a sign.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (authority, number))


def seconds_in(response: requests.Response) -> float | None:
    """What `Retry-After` says, whichever of its two forms it has; None where there is none."""
    if "Retry-After" not in response.headers:
        return None
    return max(0.0, (ClientV2.retry_after(response, 0) - dt.datetime.now()).total_seconds())


def _request(key: ec.EllipticCurvePrivateKey, names: tuple[str, ...]) -> bytes:
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(wanted, critical=False)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _deadline() -> dt.datetime:
    # Without a zone: the library compares it with its own clock.
    return dt.datetime.now() + dt.timedelta(seconds=DECISION_SECONDS)


def _refusal(problem: errors.ValidationError) -> str:
    said = [
        f"{one.body.identifier.value}: {_said(body.error)}"
        for one in problem.failed_authzrs for body in one.body.challenges if body.error is not None
    ]  # fmt: skip
    return f"it did not find our answer: {'; '.join(said)}"


def _said(error: messages.Error) -> str:
    """An issuer's own words, and its kind of error."""
    return f"{error.detail or error.title or error.description or 'it gives no reason'} ({error.code or error.typ})"


def _shortened(problem: Exception, limit: int = 200) -> str:
    # The innermost one says it in the fewest words.
    inner: BaseException = problem
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    text = " ".join(str(inner).split()) or type(inner).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


OWN_LOOK_SECONDS = 10.0
"""Until nginx must show an answer; it reads the folder at each request."""
ADD, REMOVE = "add", "remove"


def answer_for(project: Project) -> Answer:
    """As the settings say."""
    if project.settings.certificates.acme.challenge == DNS:
        return partial(_in_the_dns, project)
    return partial(_on_port_80, project)


@contextmanager
def _on_port_80(project: Project, name: str, token: str, value: str) -> Iterator[None]:
    """Raises OpsError where nginx does not show it: the issuer is not asked then, which would count against its limits."""
    # What a killed command has left says nothing to anybody any more.
    for left in project.state.challenges.iterdir():
        left.unlink(missing_ok=True)
    file = project.state.challenges / token
    files.write(file, value)
    try:
        if why := until(partial(_own_look, project.ports["http"], name, token, value), OWN_LOOK_SECONDS):
            raise OpsError(
                "nginx does not show what an issuer would look for",
                why,
                "inv status; inv deploy, where it is of a release before",
            )
        yield
    finally:
        file.unlink(missing_ok=True)


def _own_look(port: int, name: str, token: str, value: str) -> str:
    url = f"http://127.0.0.1:{port}/.well-known/acme-challenge/{token}"
    try:
        with requests.Session() as session:
            # This host's own nginx is asked, whatever proxy leads out of here.
            session.trust_env = False
            answer = session.get(url, headers={"Host": name}, timeout=OWN_LOOK_SECONDS, allow_redirects=False)
    except requests.RequestException as problem:
        return f"{url}: {problem}"
    return "" if answer.status_code == 200 and answer.text == value else f"{url} answers {answer.status_code}"


@contextmanager
def _in_the_dns(project: Project, name: str, record: str, value: str) -> Iterator[None]:
    """Raises OpsError where the hook fails. What it cannot remove is worth a line in its log, no more."""
    _hook(project, ADD, record, value)
    try:
        yield
    finally:
        try:
            _hook(project, REMOVE, record, value)
        except OpsError as problem:
            log_line(project.state.logs, "hooks", f"{record} was not removed: {problem.why}", hook=DNS, level="warning")


def _hook(project: Project, action: str, record: str, value: str) -> None:
    hook = Path(project.settings.certificates.acme.hook)
    code, said = run_program(project, DNS, str(hook), (str(hook), action, record, value), Path("/"))
    if code != 0:
        why = f"it did not end within {project.settings.hooks.seconds} s" if code is None else said or f"exit code {code}"
        raise OpsError(f"{hook} {action} {record} failed", why, f"run it by hand: {hook} {action} {record} test")
