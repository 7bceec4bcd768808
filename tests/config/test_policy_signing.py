"""Signed bundles: who may put rules in force, and what stays in force where nobody may."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.policy_inputs import case_requests
from trimtab_config.cli import main
from trimtab_config.policy.bundle import DATA, MANIFEST, MODULE
from trimtab_config.policy.following import FollowedBundles
from trimtab_config.policy.shipped import bundle_at, shipped_bundle, write_bundle
from trimtab_config.policy.signing import SIGNATURES, Signer, Trust, signatures_of, signer_of, trust_of
from trimtab_kernel.problems import InputError, TrustError

RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())
TRUST = Trust({"platform": RSA.public_key(), "curve": CURVE.public_key()}, "fleet")
SIGNER = Signer(RSA, "platform", "fleet")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(shipped_bundle(), tmp_path / "bundle", SIGNER)
    return tmp_path / "bundle"


def pem(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize("signer", [SIGNER, Signer(CURVE, "curve", "fleet"), Signer(CURVE, "", "fleet")])
def test_a_bundle_that_a_trusted_key_signed_is_taken(tmp_path: Path, signer: Signer) -> None:
    write_bundle(shipped_bundle(), tmp_path / "bundle", signer)
    assert bundle_at(tmp_path / "bundle", TRUST) == shipped_bundle()


def _cut(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _changed(folder: Path) -> None:
    text = json.loads((folder / MANIFEST).read_bytes())
    text["rules"][0]["unblock"] = "Nothing to do."
    (folder / MANIFEST).write_text(json.dumps(text), "utf-8")


def _unsigned(folder: Path) -> None:
    (folder / SIGNATURES).unlink()


def _more(folder: Path) -> None:
    (folder / "more.json").write_bytes(b"{}")


def _signed_by(signer: Signer) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        files = {name: (folder / name).read_bytes() for name in (MANIFEST, MODULE, DATA)}
        (folder / SIGNATURES).write_bytes(signatures_of(files, signer))

    return change


def _token(key: object, algorithm: str, **payload: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        [old] = json.loads((folder / SIGNATURES).read_bytes())["signatures"]
        claims = jwt.decode(old, options={"verify_signature": False})
        token = jwt.encode({**claims, **payload}, key, algorithm)  # type: ignore[arg-type] # of every kind of key
        (folder / SIGNATURES).write_text(json.dumps({"signatures": [token]}), "utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_cut, "every file of the signature"),
        (_changed, "other bytes than were signed"),
        (_unsigned, "a signed bundle"),
        (_more, "a file that nobody signed"),
        (_signed_by(Signer(OTHER_RSA, "platform", "fleet")), "does not hold"),
        (_signed_by(Signer(OTHER_RSA, "", "fleet")), "does not hold"),
        (_signed_by(Signer(RSA, "stranger", "fleet")), 'key "stranger"'),
        (_signed_by(Signer(RSA, "platform", "another")), 'expected one for "fleet"'),
        (_signed_by(Signer(RSA, "curve", "fleet")), "does not hold"),
        (_token(None, "none"), "does not hold"),
        (_token("a shared secret that is long enough for the library", "HS256"), "does not hold"),
        (_token(RSA, "RS512"), "does not hold"),
        (_token(RSA, "RS256", exp=1), "expired"),
        (_token(RSA, "RS256", files=[]), "over no file"),
        (_token(RSA, "RS256", files=[{"name": DATA, "hash": "0", "algorithm": "MD5"}]), "does not describe"),
        (lambda folder: (folder / SIGNATURES).write_bytes(b"{"), "cannot be read"),
        (lambda folder: (folder / SIGNATURES).write_bytes(b'{"signatures": []}'), "cannot be read"),
    ],
)
def test_nothing_of_a_bundle_is_used_that_nobody_trusted_signed_as_it_is(
    bundle: Path, change: Callable[[Path], None], says: str
) -> None:
    change(bundle)
    with pytest.raises(TrustError) as caught:
        bundle_at(bundle, TRUST)
    assert caught.value.code == "F509"
    assert says in caught.value.reason


def test_a_public_key_is_never_taken_for_a_shared_secret(bundle: Path) -> None:
    """The old trick: a token signed by HMAC, with the text of the public key as its secret."""
    import base64
    import hashlib
    import hmac

    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    [old] = json.loads((bundle / SIGNATURES).read_bytes())["signatures"]
    payload = old.split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"platform"}').rstrip(b"=").decode()
    proof = hmac.new(secret, f"{head}.{payload}".encode(), hashlib.sha256).digest()
    token = f"{head}.{payload}.{base64.urlsafe_b64encode(proof).rstrip(b'=').decode()}"
    (bundle / SIGNATURES).write_text(json.dumps({"signatures": [token]}), "utf-8")
    with pytest.raises(TrustError, match="does not hold"):
        bundle_at(bundle, TRUST)


def test_keys_that_are_none_or_too_weak_are_refused_and_never_quoted(tmp_path: Path) -> None:
    weak = pem(tmp_path / "weak", rsa.generate_private_key(65537, 1024))  # noqa: S505 - what is refused
    other = pem(tmp_path / "other", ec.generate_private_key(ec.SECP384R1()))
    locked = tmp_path / "locked"
    locked.write_bytes(CURVE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    junk = tmp_path / "junk"
    junk.write_text("confidential", "utf-8")
    for path in (weak, other, locked, junk, tmp_path / "none"):
        with pytest.raises(InputError) as caught:
            signer_of(path)
        assert caught.value.problems[0].code == "F510"
        assert "confidential" not in str(caught.value)
    for path in (weak.with_suffix(".pub"), other.with_suffix(".pub"), junk):
        with pytest.raises(InputError, match="F510"):
            trust_of({"a": path})


def test_what_was_in_force_stays_until_the_new_bundle_is_signed_and_whole(bundle: Path, tmp_path: Path) -> None:
    followed = FollowedBundles([bundle], TRUST)
    first = followed.now
    assert followed.look() is first
    requests = [text for _, case, text in case_requests() if case.of_all][:20]
    expected = first.gate.decide(requests)
    good = shutil.copytree(bundle, tmp_path / "good")
    for change in (_changed, _unsigned, _cut):
        change(bundle)
        now = followed.look()
        assert now.trouble.startswith("F509")
        assert now.gate.decide(requests) == expected
    shutil.rmtree(bundle)
    assert "F505" in followed.look().trouble
    assert followed.now.bundles == first.bundles
    good.rename(bundle)
    assert followed.look().trouble == ""


def test_a_process_does_not_begin_with_fewer_rules_than_it_was_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="F505"):
        FollowedBundles([tmp_path / "none"])


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(OSError, match="thesis"):
        write_bundle(shipped_bundle(), tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_install_verifies_before_it_replaces_and_render_asks_for_the_signature(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = pem(tmp_path / "key", RSA)
    active = tmp_path / "active"
    asked = ["--policy-key", f"platform={key.with_suffix('.pub')}", "--policy-scope", "fleet"]
    assert main(["policy", "install", str(bundle), "-o", str(active), *asked]) == 0
    before = {path.name: path.read_bytes() for path in active.iterdir()}
    assert set(before) == {MANIFEST, MODULE, DATA, SIGNATURES}
    _changed(bundle)
    capsys.readouterr()
    assert main(["policy", "install", str(bundle), "-o", str(active), *asked]) == 2
    error = capsys.readouterr().err
    assert "F509" in error
    assert "stays in force" in error
    assert {path.name: path.read_bytes() for path in active.iterdir()} == before
    fleet = Path(__file__).parents[2] / "examples/fleet"
    render = ["render", str(fleet), "--group", "kiosk-emea", "--policies"]
    assert main([*render, str(active), *asked]) == 0
    assert main([*render, str(bundle), *asked]) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_bundle_from_the_shelf_is_not_installed_over_a_newer_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its signature is good; that somebody has brought it back is all that is wrong."""
    key = pem(tmp_path / "key", RSA)
    asked = ["--policy-key", f"platform={key.with_suffix('.pub')}", "--policy-scope", "fleet"]
    for name, at in (("undated", None), ("old", 1_700_000_000), ("new", 1_800_000_000)):
        write_bundle(shipped_bundle(), tmp_path / name, Signer(RSA, "platform", "fleet", at))

    def install(name: str, *more: str) -> int:
        return main(["policy", "install", str(tmp_path / name), "-o", str(tmp_path / "active"), *asked, *more])

    for name in ("undated", "old", "old", "new"):
        assert install(name) == 0
    active = (tmp_path / "active" / SIGNATURES).read_bytes()
    for name in ("old", "undated"):
        capsys.readouterr()
        assert install(name) == 2
        error = capsys.readouterr().err
        assert "F509" in error
        assert "of 2027-01-15 08:00:00 UTC; --allow-older takes it" in error
        assert (tmp_path / "active" / SIGNATURES).read_bytes() == active
    assert install("old", "--allow-older") == 0


def test_a_signature_that_says_its_own_end_is_good_until_then(bundle: Path) -> None:
    """As other signers may write it; ours says no end."""
    [token] = json.loads((bundle / SIGNATURES).read_bytes())["signatures"]
    payload = jwt.decode(token, options={"verify_signature": False})
    for end, good in ((4_000_000_000, True), (1_700_000_000, False)):
        again = jwt.encode({**payload, "exp": end}, RSA, "RS256", headers={"kid": "platform"})
        (bundle / SIGNATURES).write_text(json.dumps({"signatures": [again]}), "utf-8")
        if good:
            assert bundle_at(bundle, TRUST) == shipped_bundle()
        else:
            with pytest.raises(TrustError, match="expired"):
                bundle_at(bundle, TRUST)
