"""Keys that sign ID tokens: made, published ahead of their use, replaced, and taken away again.

They are in the control database, because every gateway must sign with the same key and publish
all of them; the private halves are encrypted with a key derived from the platform's root key, so
that neither a backup nor a reader of the database can sign.

The life of a key: it is published for a day before it signs, so that clients which remember our
keys know it by then; it signs until its successor does; it stays published until nothing that it
signed can still be valid.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal

import structlog
from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import InternalError
from astrolabe.identity.openid.schema import KEY
from astrolabe.identity.root_key import RootKey

__all__ = ["ALGORITHMS", "Algorithm", "JwtError", "SigningKeys"]

Algorithm = Literal["RS256", "ES256"]
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("RS256", "ES256")
"""What we sign with: RS256, which every client knows (OpenID Connect Core 1.0, section 15.1)."""

_PURPOSE: Final = "openid-signing-keys"
_ENCRYPTION: Final = ("dir", "A256GCM")
_RSA_BITS: Final = 2048
_AHEAD: Final = timedelta(days=1)
_CACHE_SECONDS: Final = 30.0
_SKEW: Final = timedelta(minutes=5)

_log = structlog.get_logger(__name__)


class JwtError(Exception):
    """A JWT is not one that we signed, or not (any more) valid."""


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    algorithm: str
    number: int
    use_from: datetime
    public: dict[str, Any]
    private: RSAKey | ECKey | None = field(repr=False)


class SigningKeys:
    """The signing keys of all gateways.

    Parameters
    ----------
    database
        The control database.
    root_key
        Protects the private halves.
    rotation
        How long a key signs.
    lifetime
        Longest life of what is signed.
    """

    def __init__(
        self,
        database: Database,
        *,
        root_key: RootKey,
        rotation: timedelta,
        lifetime: timedelta,
    ) -> None:
        self._database = database
        self._encryption_key = OctKey.import_key(root_key.derive(_PURPOSE))
        self._rotation = max(rotation, 2 * _AHEAD)
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._known: tuple[_Key, ...] = ()
        self._looked = -_CACHE_SECONDS

    def sign(self, claims: Mapping[str, Any], *, algorithm: Algorithm = "RS256") -> str:
        """Return the claims as a signed JWT (compact form).

        Parameters
        ----------
        claims
            What the token says, with ``exp`` within the lifetime given to the constructor.
        algorithm
            RS256 or ES256.
        """
        key = self._signing_key(algorithm)
        if key.private is None:
            raise InternalError(f"The private half of the signing key {key.kid} is not readable.")
        header = {"alg": algorithm, "kid": key.kid}
        return jwt.encode(header, dict(claims), key.private, algorithms=[algorithm])

    def verify(self, token: str, *, issuer: str, audience: str | None = None) -> dict[str, Any]:
        """Return the claims of a JWT that we signed; it may be past its ``exp``.

        For ``id_token_hint``, which is often old (OpenID Connect Core 1.0, section 3.1.2.1).

        Raises
        ------
        JwtError
            Raised if the signature is not by one of our keys, the algorithm is another than the
            key's (``none`` too), or issuer or audience differ.
        """
        keys = KeySet.import_key_set(self.jwks())  # type: ignore[arg-type]  # plain dictionaries
        try:
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError) as exc:
            raise JwtError(f"The token cannot be trusted: {exc}.") from exc
        claims: dict[str, Any] = decoded.claims
        audiences = claims.get("aud")
        if claims.get("iss") != issuer:
            raise JwtError("The token is from another issuer.")
        if audience is not None and audience not in (
            audiences if isinstance(audiences, list) else [audiences]
        ):
            raise JwtError("The token is for another client.")
        return claims

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the public halves as a JWK set (RFC 7517, section 5)."""
        for algorithm in ALGORITHMS:
            self._signing_key(algorithm)
        return {"keys": [key.public for key in self._keys()]}

    def rotate(self, *, at_once: bool = False) -> None:
        """Let new keys follow the present ones, by default after they were published for a day.

        Parameters
        ----------
        at_once
            A key became known to somebody: sign with new ones now, and stop trusting the old.
        """
        with self._lock:
            for algorithm in ALGORITHMS:
                self._add(algorithm, use_from=utc_now() + (timedelta(0) if at_once else _AHEAD))
            if at_once:
                newest = [max(k.number for k in self._of(a)) for a in ALGORITHMS]
                with self._database.write() as connection:
                    for algorithm, number in zip(ALGORITHMS, newest, strict=True):
                        connection.execute(
                            delete(KEY).where(KEY.c.algorithm == algorithm, KEY.c.number < number)
                        )
                self._load()

    def _signing_key(self, algorithm: Algorithm) -> _Key:
        now = utc_now()
        with self._lock:
            if time.monotonic() - self._looked > _CACHE_SECONDS:
                self._load()
            usable = [key for key in self._of(algorithm) if key.private is not None]
            current = [key for key in usable if key.use_from <= now]
            if not current:
                # The first key, or the root key was lost and with it all private halves.
                self._add(algorithm, use_from=now)
            elif usable[-1].use_from <= now and now - usable[-1].use_from > self._rotation - _AHEAD:
                self._add(algorithm, use_from=now + _AHEAD)
            return [
                key
                for key in self._of(algorithm)
                if key.private is not None and key.use_from <= utc_now()
            ][-1]

    def _keys(self) -> tuple[_Key, ...]:
        with self._lock:
            return self._known

    def _of(self, algorithm: str) -> list[_Key]:
        return sorted(
            (key for key in self._known if key.algorithm == algorithm), key=lambda key: key.number
        )

    def _add(self, algorithm: Algorithm, *, use_from: datetime) -> None:
        made = _generate(algorithm)
        kid = str(made.kid)
        encrypted = jwe.encrypt_compact(
            # The name is authenticated with the rest: a row cannot take another's key.
            {"alg": _ENCRYPTION[0], "enc": _ENCRYPTION[1], "kid": kid},
            made.as_pem(private=True),
            self._encryption_key,
            algorithms=_ENCRYPTION,
        )
        self._load()
        number = max((key.number for key in self._of(algorithm)), default=0) + 1
        values = {
            "kid": kid,
            "algorithm": algorithm,
            "number": number,
            "public": made.as_dict(private=False, alg=algorithm, use="sig"),
            "private": encrypted,
            "created": utc_now(),
            "use_from": use_from,
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(KEY).values(values))
        except IntegrityError:
            # Another process made the same step at the same time: its key is as good.
            _log.debug("signing key made by another process", algorithm=algorithm, number=number)
        else:
            _log.info("signing key made", kid=kid, algorithm=algorithm)
        self._remove_old()
        self._load()

    def _remove_old(self) -> None:
        """Take away keys whose last signature has expired."""
        self._load()
        now = utc_now()
        for algorithm in ALGORITHMS:
            keys = self._of(algorithm)
            gone = [
                key.kid
                for key, successor in pairwise(keys)
                if successor.use_from + self._lifetime + _SKEW < now
            ]
            if gone:
                with self._database.write() as connection:
                    connection.execute(delete(KEY).where(KEY.c.kid.in_(gone)))

    def _load(self) -> None:
        query = select(KEY).order_by(KEY.c.algorithm, KEY.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        known = {key.kid: key for key in self._known}
        self._known = tuple(
            known.get(row.kid)
            or _Key(
                kid=row.kid,
                algorithm=row.algorithm,
                number=row.number,
                use_from=row.use_from,
                public=dict(row.public),
                private=self._decrypted(row.kid, row.algorithm, row.private),
            )
            for row in rows
        )
        self._looked = time.monotonic()

    def _decrypted(self, kid: str, algorithm: str, encrypted: str) -> RSAKey | ECKey | None:
        try:
            opened = jwe.decrypt_compact(encrypted, self._encryption_key, algorithms=_ENCRYPTION)
            kind: type[RSAKey | ECKey] = RSAKey if algorithm == "RS256" else ECKey
            key = kind.import_key(opened.plaintext or b"", {"kid": kid})
        except (JoseError, ValueError) as exc:
            _log.warning("signing key not readable, another follows", kid=kid, reason=str(exc))
            return None
        return key if opened.headers().get("kid") == kid else None


def _generate(algorithm: Algorithm) -> RSAKey | ECKey:
    if algorithm == "RS256":
        return RSAKey.generate_key(_RSA_BITS, auto_kid=True)
    return ECKey.generate_key("P-256", auto_kid=True)
