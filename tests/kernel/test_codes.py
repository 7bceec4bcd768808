"""Every problem code is registered, explained, and used."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from trimtab_kernel.codes import ALL, BY_CODE
from trimtab_kernel.problems import Code

ROOT = Path(__file__).parents[2]
SOURCES = ("config_management", "plugins", "bot", "edge_runtime", "examples", "tools")
CODE = re.compile(r"[FGEBA][0-9]{3}")


@cache
def literals() -> dict[str, str]:
    """Every string in the source that is nothing but a code, with one place where it stands."""
    found: dict[str, str] = {}
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            if path.is_relative_to(ROOT / "config_management/trimtab_kernel/codes"):
                continue
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                    found.setdefault(node.value, f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_the_source_is_searched() -> None:
    assert {"F104", "E203"} <= literals().keys()


def test_every_code_in_the_source_is_registered() -> None:
    assert {code: place for code, place in literals().items() if code not in BY_CODE} == {}


def test_no_code_is_registered_twice() -> None:
    assert len(BY_CODE) == len(ALL)


@pytest.mark.parametrize("code", ALL, ids=lambda code: code.code)
def test_a_code_is_explained(code: Code) -> None:
    assert CODE.fullmatch(code.code)
    assert 3 <= len(code.title) <= 80
    assert code.title[0] == code.title[0].lower() or code.title.split()[0] in {"YAML", "Hold", "JSON", "Git"}
    assert not code.title.endswith(".")
    for text in (code.why, code.next_step):
        assert text.strip() == text
        assert text.endswith(".")
        assert len(text) >= 15
    assert code.next_step[0] == "`" or code.next_step[0].isupper()
