"""From a bearer token to the caller. A verified token is remembered by its hash until it expires."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from app.auth.jwks import RealmKeys

LEEWAY = 10
MAX_TOKEN = 8192
MAX_REMEMBERED = 5000
RANK = {"viewer": 1, "editor": 2, "admin": 3}


class TokenRefused(Exception):
    """Why, in words that may be shown to the caller."""

    def __init__(self, reason: str, label: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.label = label


class KeysUnavailable(Exception):
    """No key of the realm has ever been fetched: nothing can be said about the token."""


@dataclass(frozen=True, slots=True)
class Principal:
    subject: str
    username: str
    name: str
    email: str
    roles: tuple[str, ...]
    rank: int
    expires: float

    def allows(self, role: str) -> bool:
        return self.rank >= RANK[role]


def principal(claims: dict[str, Any]) -> Principal:
    access = claims.get("realm_access")
    granted = access.get("roles") if isinstance(access, dict) else None
    roles = tuple(role for role in RANK if role in granted) if isinstance(granted, list) else ()
    return Principal(
        subject=claims["sub"],
        username=str(claims.get("preferred_username") or claims["sub"]),
        name=str(claims.get("name") or ""),
        email=str(claims.get("email") or ""),
        roles=roles,
        rank=max((RANK[role] for role in roles), default=0),
        expires=float(claims["exp"]),
    )


class TokenVerifier:
    def __init__(self, issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()

    def forget(self) -> None:
        self._remembered.clear()

    async def verify(self, token: str, keys: RealmKeys) -> Principal:
        if len(token) > MAX_TOKEN:
            raise TokenRefused("the token is too long", "malformed")
        # A JWT is of the characters of base64url (RFC 7519). Other text may have no encoding at all, such as half a surrogate pair.
        if not token.isascii():
            raise TokenRefused("the token is malformed", "malformed")
        digest = hashlib.blake2b(token.encode(), digest_size=16).digest()
        known = self._remembered.get(digest)
        if known is not None:
            if known.expires + LEEWAY > time.time():
                return known
            del self._remembered[digest]
            raise TokenRefused("the token has expired", "expired")
        fresh = principal(await self._claims(token, keys))
        self._remembered[digest] = fresh
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return fresh

    async def _claims(self, token: str, keys: RealmKeys) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise TokenRefused("the token is malformed", "malformed") from error
        if header.get("alg") != "RS256":
            raise TokenRefused("the token is not signed with RS256", "algorithm")
        key_id = header.get("kid")
        if not isinstance(key_id, str):
            raise TokenRefused("the token names no key", "key")
        key = await keys.get(key_id)
        if key is None:
            if not keys.available:
                raise KeysUnavailable
            raise TokenRefused("the token is signed with an unknown key", "key")
        return self._decode(token, key)

    def _decode(self, token: str, key: Any) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenRefused("the token has expired", "expired") from error
        except jwt.InvalidAudienceError as error:
            raise TokenRefused("the token is for another audience", "audience") from error
        except jwt.InvalidIssuerError as error:
            raise TokenRefused("the token is from another issuer", "issuer") from error
        except jwt.InvalidSignatureError as error:
            raise TokenRefused("the signature is wrong", "signature") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRefused("the token is not valid", "claims") from error
