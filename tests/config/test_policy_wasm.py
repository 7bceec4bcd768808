"""Modules that misbehave: whatever they do, the answer is a refusal, within limits, and the next call is none the worse."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Iterator
from importlib import metadata

import pytest
import wasmtime

from tests.policy_inputs import case_requests
from trimtab_config.policy import wasm, wasm_library
from trimtab_config.policy.bundle import DATA, MANIFEST, MODULE, PolicyBundle, read_bundle
from trimtab_config.policy.gate import PolicyGate, PolicyRefusedError, raise_problems
from trimtab_config.policy.interface import Decision, PolicyFinding, PolicyLevel
from trimtab_config.policy.shipped import WasmEngine, shipped_bundle
from trimtab_config.policy.wasm import WasmLimits, WasmPolicyEngine
from trimtab_kernel.problems import ExitCode, InputError, Problem

REQUEST = next(text for _, case, text in case_requests() if case.of_all and case.outcome == "allowed")

# A module of the same interface that answers whatever a test writes into it.
MODULE_TEXT = """
(module
  (import "env" "memory" (memory 2))
  (import "env" "opa_abort" (func $abort (param i32)))
  (import "env" "opa_builtin0" (func $builtin (param i32 i32) (result i32)))
  (global (export "opa_wasm_abi_version") i32 (i32.const %(major)d))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const %(minor)d))
  (data (i32.const 1024) "%(answer)s\\00")
  (data (i32.const 8192) "%(builtins)s\\00")
  (func (export "opa_malloc") (param i32) (result i32) (i32.const %(place)s))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (i32.const 1))
  (func (export "opa_json_dump") (param i32) (result i32) (i32.const 8192))
  (func (export "builtins") (result i32) (i32.const 1))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const 70000))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32) %(body)s)
)
"""

OTHER_KINDS = '(module (func (export "opa_wasm_abi_version")) (func (export "opa_wasm_abi_minor_version")))'


def module(
    answer: str = "[]", body: str = "(i32.const 1024)", builtins: str = "{}", major: int = 1, minor: int = 3,
    place: str = "65536",
) -> bytes:  # fmt: skip
    def escaped(text: str) -> str:
        return "".join(f"\\{byte:02x}" for byte in text.encode())

    text = MODULE_TEXT % {
        "answer": escaped(answer), "builtins": escaped(builtins), "body": body, "major": major, "minor": minor,
        "place": place,
    }  # fmt: skip
    return bytes(wasmtime.wat2wasm(text))


def bundle(code: bytes) -> PolicyBundle:
    return PolicyBundle(code, b"{}", {}, {}, "a test")


@pytest.fixture(params=["library", "package"])
def runs_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both that run modules: the library called directly, and wasmtime's package."""
    if request.param == "package":
        monkeypatch.setattr(wasm_library, "library", lambda: None)
    wasm._compiled.cache_clear()
    yield
    wasm._compiled.cache_clear()


def engine(code: bytes, limits: WasmLimits | None = None) -> WasmPolicyEngine:
    return WasmPolicyEngine(bundle(code), limits)


def only(decision: Decision) -> PolicyFinding:
    assert not decision.allowed
    [finding] = decision.findings
    return finding


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "null",
        "{}",
        "[{}]",
        '[{"result":null}]',
        '[{"result":[]}]',
        '[{"result":[null]}]',
        '[{"result":[{}]}]',
        '[{"result":[{"findings":null}]}]',
        '[{"result":[{"findings":{}}]}]',
        '[{"result":[{"findings":[1]}]}]',
        '[{"result":[{"findings":[{"rule":"a"}]}]}]',
        '[{"result":[{"findings":[]},{"findings":[]}]}]',
        '[{"result":[{"findings":[]}]},{"result":[{"findings":[]}]}]',
        '[{"result":[{"findings":[{"id":"a","rule":"a","level":"allow","field":"","got":"","expected":"","arguments":{}}]}]}]',
    ],
)
def test_what_is_no_answer_denies(answer: str) -> None:
    assert only(engine(module(answer)).decide([REQUEST])[0]).rule == "engine.undefined"


@pytest.mark.usefixtures("runs_on")
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("(loop $again (br $again)) (i32.const 1024)", "no end within the limit"),
        ("(unreachable)", "unreachable"),
        ("(call $abort (i32.const 1024)) (i32.const 1024)", "aborted: too much"),
        ("(call $builtin (i32.const 0) (i32.const 0))", "a function that is not there"),
        ("(i32.const 0)", "outside its memory"),
        ("(i32.const -5)", "outside its memory"),
        ("(i32.load (i32.const 100000000))", "out of bounds"),
    ],
)
def test_a_module_that_fails_denies_and_says_how(body: str, says: str) -> None:
    started = time.monotonic()
    finding = only(engine(module("too much", body)).decide([REQUEST])[0])
    assert finding.rule == "engine.failed"
    assert says in finding.got
    assert time.monotonic() - started < 20


def test_an_answer_that_is_no_json_denies() -> None:
    assert only(engine(module("[{")).decide([REQUEST])[0]).rule == "engine.failed"


@pytest.mark.usefixtures("runs_on")
def test_text_without_an_end_denies() -> None:
    fill = "(memory.fill (i32.const 1024) (i32.const 65) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1024))) (i32.const 1024)"
    assert "without an end" in only(engine(module("", fill)).decide([REQUEST])[0]).got


@pytest.mark.usefixtures("runs_on")
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (b"", "cannot be loaded"),
        (b"\0asm\1\0\0\0rubbish", "cannot be loaded"),
        (bytes(wasmtime.wat2wasm("(module)")), "cannot be loaded"),
        (module(builtins='{"sprintf":0}'), "functions that are not there: sprintf"),
        (module(major=2), "ABI 2.3"),
        (module(minor=1), "ABI 1.1"),
        (module(place="-5"), "outside its memory"),
        (module(place="131071"), "outside its memory"),
        (bytes(wasmtime.wat2wasm(OTHER_KINDS)), "opa_wasm_abi_version is no global"),
        (bytes(wasmtime.wat2wasm('(module (import "env" "t" (table 1 funcref)))')), "needs t, which is not there"),
        (
            bytes(wasmtime.wat2wasm('(module (import "env" "opa_abort" (func $a)) (func $s (call $a)) (start $s))')),
            "a function that is not there",
        ),
    ],
    ids=[
        "empty",
        "rubbish",
        "without exports",
        "builtins",
        "another interface",
        "an older one",
        "an address below",
        "an address behind",
        "other kinds",
        "a table",
        "an abort of nothing",
    ],
)
def test_a_module_that_cannot_be_run_is_refused_when_it_is_loaded(code: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        engine(code)
    assert caught.value.problems[0].code == "F505"


@pytest.mark.usefixtures("runs_on")
def test_one_request_that_takes_too_long_denies_no_other() -> None:
    """A hundred thousand capabilities against a hundred thousand: what is asked of the real rules without an end."""
    heavy = json.loads(REQUEST)
    heavy["model"]["capabilities"] = [f"c{index}" for index in range(3000)]
    heavy["alignment"] |= {"prohibited_capabilities": [f"p{index}" for index in range(3000)]}
    asked = [REQUEST, json.dumps(heavy).encode(), REQUEST]
    found = WasmPolicyEngine(shipped_bundle()).decide(asked)
    assert [decision.allowed for decision in found] == [True, False, True]
    assert only(found[1]).got == "no end within the limit"


@pytest.mark.usefixtures("runs_on")
def test_an_input_beyond_the_memory_denies_no_other() -> None:
    large = json.loads(REQUEST)
    large["tags"] = {f"tag-{index}": "x" * 1000 for index in range(4000)}
    limits = WasmLimits(memory=2 * 2**20)
    found = WasmPolicyEngine(shipped_bundle(), limits).decide([REQUEST, json.dumps(large).encode(), REQUEST])
    assert [decision.allowed for decision in found] == [True, False, True]
    assert only(found[1]).rule == "engine.failed"


@pytest.mark.usefixtures("runs_on")
def test_memory_does_not_grow_with_the_number_of_calls() -> None:
    made = WasmPolicyEngine(shipped_bundle())
    made.decide([REQUEST] * 256)
    before = made.memory_bytes
    for _ in range(50):
        made.decide([REQUEST] * 256)
    assert made.memory_bytes == before <= 16 * 2**20


def test_every_function_and_shape_is_as_the_package_of_the_installed_version_declares_it() -> None:
    """Another library than the known ones would be handed values of a wrong size: an upgrade has to look here."""
    from wasmtime import _bindings as declared

    def size(kind: object) -> int:
        return 0 if kind is None else ctypes.sizeof(kind)  # type: ignore[arg-type] # a type of ctypes, as declared there

    for name, (result, arguments) in wasm_library.FUNCTIONS.items():
        other = getattr(declared, f"_{name}")
        assert (size(result), [size(each) for each in arguments]) == (
            size(other.restype),
            [size(each) for each in other.argtypes],
        ), name
    for ours, theirs, parts in (
        (wasm_library.Bytes, declared.wasm_byte_vec_t, ("size", "data")),
        (wasm_library.Value, declared.wasmtime_val_t, ("kind", "of")),
        (wasm_library.Extern, declared.wasmtime_extern_t, ("kind", "of")),
        (wasm_library.Number, declared.wasmtime_valunion_t, ("i32",)),
        (wasm_library.Instance, declared.wasmtime_instance_t, ()),
    ):
        assert ctypes.sizeof(ours) == ctypes.sizeof(theirs)
        assert [getattr(ours, part).offset for part in parts] == [getattr(theirs, part).offset for part in parts]
    code = declared.wasmtime_trap_code_enum.WASMTIME_TRAP_CODE_OUT_OF_FUEL.value
    assert code == wasm_library._FUEL_TRAP
    assert int(metadata.version("wasmtime").partition(".")[0]) in wasm_library.VERSIONS
    assert wasm_library.library() is not None


# ---------------------------------------------------------------- bundles


def test_a_bundle_is_read_back_as_it_was_written() -> None:
    assert read_bundle(shipped_bundle().files()) == shipped_bundle()


@pytest.mark.parametrize("name", [MANIFEST, MODULE, DATA])
def test_a_bundle_that_was_changed_or_lacks_a_file_is_refused(name: str) -> None:
    files = shipped_bundle().files()
    changed = {**files, name: files[name][:-40] + b"  " + files[name][-38:] if name != DATA else b'{"a":1}'}
    if name != MANIFEST:
        with pytest.raises(InputError, match="digest"):
            read_bundle(changed, "bundle")
    with pytest.raises(InputError, match="F505"):
        read_bundle({other: content for other, content in files.items() if other != name}, "bundle")
    with pytest.raises(InputError, match="F505"):
        read_bundle({**files, name: b"\xff{"}, "bundle")


# ---------------------------------------------------------------- several bundles, and what comes of findings


def finding(rule: str, level: PolicyLevel, **changes: str) -> PolicyFinding:
    texts = {"id": f"{rule}@a/b/c", "title": "title", "field": "spec.a", "got": "x", "expected": "y", **changes}
    return PolicyFinding(rule=rule, level=level, arguments=(), **texts)


class Fixed:
    """An engine that has one thing to say."""

    digest = "0" * 64

    def __init__(self, *findings: PolicyFinding) -> None:
        self._decision = Decision.of(findings)

    def decide(self, requests: list[bytes]) -> list[Decision]:
        return [self._decision for _ in requests]


def test_what_one_bundle_finds_holds_and_the_stronger_word_wins() -> None:
    one = Fixed(finding("a", PolicyLevel.WARN), finding("b", PolicyLevel.DRY_RUN))
    other = Fixed(finding("a", PolicyLevel.DENY))
    for engines in ((one, other), (other, one)):
        [decision] = PolicyGate(engines, {}).decide([b"{}"])  # type: ignore[arg-type] # engines of the test's own
        assert [(found.rule, found.level.value) for found in decision.findings] == [("a", "deny"), ("b", "dry-run")]
        assert not decision.allowed


def test_the_shipped_engine_loads_nothing_before_it_is_asked() -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        WasmEngine(bundle(b"rubbish")).decide([b"{}"])
    assert WasmEngine(bundle(b"rubbish")).digest


def test_policy_alone_refuses_with_its_own_exit_code() -> None:
    refused, broken = Problem("F501", "a.yaml"), Problem("F104", "a.yaml")
    with pytest.raises(PolicyRefusedError) as caught:
        raise_problems([refused])
    assert caught.value.exit_code is ExitCode.REFUSED
    with pytest.raises(InputError) as other:
        raise_problems([refused, broken])
    assert other.value.exit_code is ExitCode.PROBLEMS
    raise_problems([])
