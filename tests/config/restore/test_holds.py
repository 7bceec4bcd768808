"""A new Hold says what it was given, under a name and in a file that nobody had."""

from __future__ import annotations

import datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trimtab_config.restore.holds import add_document, new_hold, quote
from trimtab_config.spec.kinds import HoldSpec
from trimtab_config.spec.reader import read_documents
from trimtab_kernel.identity import Digest

SPEC = HoldSpec(
    model="triage",
    owner="clinics",
    reason="biased",
    until=datetime.date(2027, 1, 1),
    version="2.0.0",
    groups=("g-1", "g-2"),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXTS)
def test_quoted_text_comes_back_from_any_reader(text: str) -> None:
    assert yaml.safe_load(quote(text)) == text
    assert yaml.load(f"a: {quote(text)}\n", Loader=yaml.CSafeLoader) == {"a": text}
    assert "\n" not in quote(text)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        quote("\ud800")


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(
        lambda text: bool(text.strip())
    ),
    st.sampled_from(["2.0.0", "2.0.0-RC.1+build.7", None]),
    st.sampled_from(["triage", "vision-analytics-v2.pt", "a" * 63, ".".join(["a" * 62] * 4)]),
)
def test_a_hold_is_read_back_as_it_was_meant(reason: str, version: str | None, model: str) -> None:
    digest = Digest("0" * 64) if version is None else None
    spec = HoldSpec(
        model=model, owner=reason[:20].strip() or "x", reason=reason, until=SPEC.until, version=version, digest=digest
    )
    taken = new_hold({}, spec, "fleet")
    made = new_hold({taken.file: taken.content}, spec, "fleet")
    result = read_documents({made.file: made.content})
    assert result.problems == ()
    assert read_documents({taken.file: taken.content, made.file: made.content}).problems == ()
    (document,) = result.documents
    assert document.spec == spec
    assert (document.metadata.name, document.metadata.namespace) == (made.key.name, "fleet")


def test_a_hold_is_named_after_its_model_and_version_and_clashes_are_numbered() -> None:
    first = new_hold({}, SPEC, "fleet")
    assert (first.file, first.key.name) == ("holds/triage-2.0.0.yaml", "triage-2.0.0")
    second = new_hold({first.file: first.content}, SPEC, "fleet")
    assert (second.file, second.key.name) == ("holds/triage-2.0.0-2.yaml", "triage-2.0.0-2")
    elsewhere = new_hold({"other.yaml": first.content}, SPEC, "fleet")
    assert elsewhere.key.name == "triage-2.0.0-2", "the name is taken in another file"
    assert new_hold({"other.yaml": first.content}, SPEC, "production").key.name == "triage-2.0.0", "another namespace"
    taken = new_hold({"holds/triage-2.0.0.yaml": b"# empty\n", "broken.yaml": b"a: ["}, SPEC, "fleet")
    assert taken.file == "holds/triage-2.0.0-2.yaml"
    both = read_documents({first.file: first.content, second.file: second.content})
    assert both.problems == ()


def test_a_document_gets_a_file_that_is_free() -> None:
    assert add_document({}, "holds/a.yaml", "x") == ("holds/a.yaml", b"x")
    assert add_document({"holds/a.yaml": b"", "holds/a-2.yaml": b""}, "holds/a.yaml", "x") == ("holds/a-3.yaml", b"x")
    assert add_document({"a": b""}, "a", "ü") == ("a-2", "ü".encode())
