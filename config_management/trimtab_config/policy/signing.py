"""Signatures of policy bundles: who answers for every file of it.

The form is OPA's (documentation, "Bundles: signing"): ``.signatures.json`` holds one JSON Web Token whose payload lists each
file with its hash, so OPA's own tools sign and verify the same folder. Files of JSON data are hashed by what they say,
all others byte by byte. Keys are PEM files: RSA of 2,048 bits or more signs with RS256, the curve P-256 with ES256.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.problems import InputError, Problem, TrustError, printable, quoted

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURES = ".signatures.json"
NOT_TRUSTED = "F509"
_HASHES = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_STRUCTURED = frozenset({"data.json", ".manifest"})
_MOST_SIGNATURES = 2**20
_LEAST_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures count: public keys by id. ``scope`` is what a signature must be for; "" asks for none."""

    keys: Mapping[str, rsa.RSAPublicKey | ec.EllipticCurvePublicKey]
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs. ``key_id`` is what verifiers know the key by; ``scope`` what the signature is for.

    ``at`` is when, in Unix seconds: what ``policy install`` knows an older bundle by. None says nothing of it.
    """

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    key_id: str = ""
    scope: str = ""
    at: int | None = None


def trust_of(keys: Mapping[str, Path], scope: str = "") -> Trust:
    """The public keys in PEM files, by id. Raises InputError (F510)."""
    found: dict[str, rsa.RSAPublicKey | ec.EllipticCurvePublicKey] = {}
    for name, path in keys.items():
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise _no_key(path, error, "a public key in PEM") from error
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise _no_key(path, None, "a public key of RSA or of the curve P-256")
        found[name] = key
        _algorithm(key, path)
    return Trust(found, scope)


def signer_of(path: Path, key_id: str = "", scope: str = "", at: int | None = None) -> Signer:
    """The private key in a PEM file without a password. Raises InputError (F510), which never quotes the file."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, error, "a private key in PEM, without a password") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _no_key(path, None, "a private key of RSA or of the curve P-256")
    _algorithm(key.public_key(), path)
    return Signer(key, key_id, scope, at)


def signatures_of(files: Mapping[str, bytes], signer: Signer) -> bytes:
    """``.signatures.json`` for ``files``, by name."""
    payload: dict[str, Any] = {
        "files": [
            {"name": name, "hash": _hash(name, files[name], "SHA-256"), "algorithm": "SHA-256"}
            for name in sorted(files)
        ]
    }
    if signer.scope:
        payload["scope"] = signer.scope
    if signer.key_id:
        payload["keyid"] = signer.key_id
    if signer.at is not None:
        payload["iat"] = signer.at
    headers = {"kid": signer.key_id} if signer.key_id else None
    token = jwt.encode(payload, signer.key, _algorithm(signer.key.public_key(), None), headers=headers)
    return f"{json.dumps({'signatures': [token]}, indent=1)}\n".encode()


def check_signatures(files: Mapping[str, bytes], trust: Trust, place: str = "") -> str:
    """The id of the key that signed exactly ``files`` (all that the bundle has, ``.signatures.json`` among them).

    Raises TrustError (F509) where no trusted key did; ``place`` is what the message calls the bundle.
    """
    text = files.get(SIGNATURES)
    if text is None:
        raise _refused(place, f"no {SIGNATURES}", "a signed bundle")
    key_id, payload = _opened(text, trust, place)
    if trust.scope and payload.get("scope") != trust.scope:
        raise _refused(place, f"a signature for {quoted(payload.get('scope'))}", f"one for {quoted(trust.scope)}")
    signed = _signed_files(payload, place)
    there = {name: content for name, content in files.items() if name != SIGNATURES}
    for name in sorted(signed.keys() | there.keys()):
        if name not in signed:
            raise _refused(f"{place}/{name}", "a file that nobody signed", "the files of the signature and no other")
        if name not in there:
            raise _refused(f"{place}/{name}", "no such file", "every file of the signature")
        algorithm, digest = signed[name]
        if _hash(name, there[name], algorithm) != digest:
            raise _refused(f"{place}/{name}", "other bytes than were signed", f"{algorithm} {digest}")
    return key_id


def check_not_older(files: Mapping[str, bytes], before: Mapping[str, bytes], trust: Trust, place: str) -> None:
    """Raises TrustError (F509) where ``files`` were signed before those that are in force: somebody took them from a shelf.

    Both are signed as ``trust`` asks. One that does not say when it was signed is older than each that does.
    """
    new, old = (_opened(each[SIGNATURES], trust, place)[1].get("iat") for each in (files, before))
    if isinstance(old, int) and (not isinstance(new, int) or new < old):
        got = "a signature that does not say when" if not isinstance(new, int) else f"a signature of {_time(new)}"
        raise _refused(place, got, f"one no older than that in force, of {_time(old)}; --allow-older takes it")


def _time(seconds: int) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _opened(text: bytes, trust: Trust, place: str) -> tuple[str, Mapping[str, Any]]:
    """The id of the key that the token was signed with, and its payload."""
    if len(text) > _MOST_SIGNATURES:
        raise _refused(place, f"{SIGNATURES} of {len(text)} bytes", f"at most {_MOST_SIGNATURES}")
    try:
        [token] = json.loads(text)["signatures"]
        header = jwt.get_unverified_header(token)
        claimed = jwt.decode(token, options={"verify_signature": False})
    except (ValueError, KeyError, TypeError, RecursionError, jwt.PyJWTError) as error:
        raise _refused(place, f"{SIGNATURES} that cannot be read", "one JSON Web Token") from error
    name = header.get("kid") or claimed.get("keyid")
    if name is not None and name not in trust.keys:
        raise _refused(place, f"a signature by key {quoted(name)}", f"one of {', '.join(sorted(trust.keys))}")
    reason = "made by none of the keys"
    for key_id in sorted(trust.keys) if name is None else [str(name)]:
        key = trust.keys[key_id]
        try:
            # The key says how it signs, never the token: a public key must not become a shared secret.
            payload = jwt.decode(
                token, key, algorithms=[_algorithm(key, None)], options={"verify_aud": False, "verify_iat": False}
            )
        except jwt.PyJWTError as error:
            reason = printable(str(error).lower(), 100)
        else:
            return key_id, payload
    raise _refused(place, f"a signature that does not hold ({reason})", f"one by {', '.join(sorted(trust.keys))}")


def _signed_files(payload: Mapping[str, Any], place: str) -> dict[str, tuple[str, str]]:
    """Algorithm and hash by the name of the file."""
    found: dict[str, tuple[str, str]] = {}
    listed = payload.get("files")
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or item.get("algorithm") not in _HASHES or not isinstance(item.get("hash"), str):
            raise _refused(
                place, "a signature over a file that it does not describe", "name, hash and SHA-256 or longer"
            )
        name = str(item.get("name", "")).removeprefix("/")
        if name in found:
            raise _refused(place, f"{quoted(name)} signed twice", "each file once")
        found[name] = (item["algorithm"], item["hash"].lower())
    if not found:
        raise _refused(place, "a signature over no file", "every file of the bundle")
    return found


def _hash(name: str, content: bytes, algorithm: str) -> str:
    if name.rpartition("/")[2] in _STRUCTURED:
        try:
            # As Go writes JSON: these two characters are escaped wherever they stand.
            content = canonical_json(json.loads(content)).replace("\u2028".encode(), b"\\u2028")
            content = content.replace("\u2029".encode(), b"\\u2029")
        except (ValueError, RecursionError):
            return "not JSON"
    return hashlib.new(_HASHES[algorithm], content).hexdigest()


def _algorithm(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, path: Path | None) -> str:
    """How the key signs. Raises InputError (F510) for one that is too weak, or of another curve."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise _no_key(path, None, f"an RSA key of {_LEAST_RSA_BITS} bits or more, not {key.key_size}")
        return "RS256"
    if not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(path, None, f"the curve P-256, not {key.curve.name}")
    return "ES256"


def _no_key(path: Path | None, error: Exception | None, expected: str) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "a key that cannot be used"
    return InputError(Problem("F510", "" if path is None else str(path), got=str(reason), expected=expected))


def _refused(place: str, got: str, expected: str) -> TrustError:
    return TrustError(NOT_TRUSTED, f"{printable(place)}: got {got}, expected {expected}".removeprefix(": "))
