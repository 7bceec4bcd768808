"""The journal: what is written comes back; what is damaged is set aside and costs history, never a model."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.devices import ALIGNMENT
from trimtab_edge import durable
from trimtab_edge.lifecycle.journal import Journal, JournalError, decode_state, encode_state
from trimtab_edge.lifecycle.machine import Backoff, ModelState, Phase, Quarantined
from trimtab_edge.lifecycle.release import Release
from trimtab_edge.settings import ModelDescription
from trimtab_kernel.identity import Digest

digests = st.binary(min_size=1, max_size=4).map(Digest.of)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
descriptions = st.builds(
    ModelDescription,
    digest=st.none() | digests,
    tier=texts,
    format=texts,
    quantization=texts,
    alignment=st.none() | st.just(ALIGNMENT),
    tags=st.dictionaries(texts, texts, max_size=3).map(lambda tags: tuple(sorted(tags.items()))),
    flags=st.dictionaries(texts, st.booleans(), max_size=3).map(lambda flags: tuple(sorted(flags.items()))),
)
releases = st.builds(
    Release,
    version=st.sampled_from(["1.0.0", "2.0.0-rc.1+x"]),
    digest=digests,
    size=st.integers(0, 2**40),
    format=texts,
    uri=texts,
    description=descriptions,
)
backoffs = st.builds(Backoff, st.integers(0, 1000), st.floats(0, 1e12, allow_nan=False))
states = st.builds(
    ModelState,
    phase=st.sampled_from(Phase),
    target=st.none() | releases,
    good=st.none() | releases,
    previous=st.none() | releases,
    hindered=backoffs,
    starts=st.integers(0, 9),
    unsettled=st.booleans(),
    quarantine=st.lists(st.builds(Quarantined, digests, texts, texts, backoffs), max_size=3).map(tuple),
)
SAMPLE = ModelState(
    Phase.ACTIVE,
    good=Release("1.0.0", Digest.of(b"a"), 1, "onnx", "", ModelDescription(alignment=ALIGNMENT)),
    quarantine=(Quarantined(Digest.of(b"b"), "E301", "wrong bytes", Backoff(2, 1.5)),),
)


@given(states)
def test_every_state_comes_back_as_it_was(state: ModelState) -> None:
    assert decode_state(encode_state(state)) == state


@given(st.binary(max_size=50) | st.integers(0, 400).map(lambda cut: encode_state(SAMPLE)[:cut]))
def test_no_content_makes_the_reader_raise_anything_else_than_its_own_error(content: bytes) -> None:
    if content != encode_state(SAMPLE).rstrip(b"\n"):
        with pytest.raises(JournalError):
            decode_state(content)


@given(st.data())
def test_a_flipped_byte_gives_a_state_or_the_readers_own_error(data: st.DataObject) -> None:
    content = bytearray(encode_state(SAMPLE))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_state(bytes(content))
    except JournalError:
        return


def test_an_unreadable_file_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("sound", SAMPLE)
    (tmp_path / "models/torn.json").write_bytes(encode_state(SAMPLE)[:100])
    (tmp_path / "models/newer.json").write_text('{"format": 2}')
    (tmp_path / "models/Not A Model.json").write_text("{}")
    assert journal.read() == {"sound": SAMPLE}
    assert (tmp_path / "models/torn.unreadable").exists()
    assert journal.read() == {"sound": SAMPLE}


def test_a_write_that_does_not_fit_leaves_the_state_before(tmp_path: Path) -> None:
    """The file system refuses to write on (here by a limit on file size, as a full disk does)."""
    program = """
import resource, signal, sys
from pathlib import Path
from trimtab_edge.durable import write_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(Path(sys.argv[1]), b"x" * 5000)
except OSError as error:
    print(error.errno)
"""
    path = tmp_path / "state.json"
    durable.write_file(path, b"before")
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "27"
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_what_a_crash_left_behind_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".state.json.tmp").write_bytes(b"half")
    durable.write_file(tmp_path / "state.json", b"whole")
    assert (tmp_path / "state.json").read_bytes() == b"whole"
    (tmp_path / ".link.tmp").symlink_to("nowhere")
    durable.write_link(tmp_path / "link", "state.json")
    durable.write_link(tmp_path / "link", "state.json")
    assert (tmp_path / "link").readlink() == Path("state.json")


def test_an_exact_share_is_not_a_float_anywhere_in_a_state() -> None:
    """Alignment numbers go through the journal as text: 0.1 stays 0.1."""
    text = encode_state(SAMPLE).decode()
    assert '\\"value\\":\\"1\\"' in text
    restored = decode_state(text.encode()).good
    assert restored is not None
    assert restored.description.alignment is not None
    assert restored.description.alignment.cohorts[0].value == Decimal(1)
    assert Fraction(1, 10) == Fraction("0.1")
