"""Where a login comes from, in which order, and that it is never shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from trimtab_kernel.problems import OutsideError
from trimtab_plugins.oci.credentials import Login, find_login


def config(folder: Path, **content: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(content))
    return {"DOCKER_CONFIG": str(folder)}


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper that knows one host."""
    program = tmp_path / "bin" / "docker-credential-vault"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nread -r host\n"
        'case "$1 $host" in\n'
        '\'get known.example\') echo \'{"Username": "robot", "Secret": "from-helper"}\' ;;\n'
        "'get locked.example') echo 'token s3cret is stale' >&2; exit 1 ;;\n"
        "'get odd.example') echo 'no json' ;;\n"
        "*) echo 'credentials not found in native keychain'; exit 1 ;;\nesac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_login("a.example", {"HOME": str(tmp_path)}) is None


def test_the_environment_comes_first(tmp_path: Path) -> None:
    given = config(tmp_path, auths={"a.example": auth("file:one")})
    assert find_login("a.example", given) == Login("file", "one")
    given |= {"TRIMTAB_REGISTRY_USERNAME": "env", "TRIMTAB_REGISTRY_PASSWORD": "two"}
    assert find_login("a.example", given) == Login("env", "two")


def test_docker_s_file_lies_at_home_and_is_asked_by_host(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    config(tmp_path / ".docker", auths={"https://a.example": auth("a:with:colons"), "b.example": {}})
    assert find_login("a.example", {"HOME": str(tmp_path)}) == Login("a", "with:colons")
    assert find_login("b.example", {"HOME": str(tmp_path)}) is None
    assert find_login("xa.example", {"HOME": str(tmp_path)}) is None


def test_a_helper_is_asked_for_its_hosts(tmp_path: Path, helper: Path) -> None:
    del helper
    one = config(tmp_path, credHelpers={"known.example": "vault"}, auths={"known.example": auth("old:old")})
    assert find_login("known.example", one) == Login("robot", "from-helper")
    store = config(tmp_path, credsStore="vault", auths={"known.example": {}})
    assert find_login("known.example", store) == Login("robot", "from-helper")
    assert find_login("unknown.example", store) is None


@pytest.mark.parametrize("host", ["locked.example", "odd.example"])
def test_a_helper_that_fails_is_an_error_that_does_not_repeat_it(tmp_path: Path, helper: Path, host: str) -> None:
    del helper
    with pytest.raises(OutsideError, match="docker-credential-vault") as caught:
        find_login(host, config(tmp_path, credsStore="vault"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        {"credsStore": "../../bin/sh"},
        {"credsStore": "missing-helper"},
        {"auths": {"a.example": {"auth": "no base64!"}}},
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_and_not_nobody(tmp_path: Path, content: dict[str, object]) -> None:
    with pytest.raises(OutsideError):
        find_login("a.example", config(tmp_path, **content))


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OutsideError, match=r"config\.json"):
        find_login("a.example", {"DOCKER_CONFIG": str(tmp_path)})


def test_a_login_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(Login("ada", "s3cret"))
