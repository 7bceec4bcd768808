"""The shipped rules as OPA itself sees them: strict, covered by tests, built into what is committed, and decided alike."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.policy_inputs import POLICIES, case_requests, compared_with_table, generated
from trimtab_config.cli import main
from trimtab_config.policy.bundle import DATA, MODULE
from trimtab_config.policy.interface import Decision
from trimtab_config.policy.opa_binary import Opa, OpaPolicyEngine
from trimtab_config.policy.shipped import SHIPPED, WasmEngine, gate_of, shipped_bundle, write_bundle
from trimtab_config.policy.signing import Signer
from trimtab_config.policy.wasm import WasmPolicyEngine
from trimtab_kernel.decisions import COVERED
from trimtab_kernel.problems import InputError, OutsideError

pytestmark = pytest.mark.lab
EXAMPLE = Path(__file__).parents[2] / "examples/fleet"
GENERATED = 10_000


@pytest.fixture(scope="module")
def opa(lab_programs: Callable[[str], Path]) -> Opa:
    return Opa(lab_programs("opa"))


@pytest.fixture(scope="module")
def referee(opa: Opa) -> OpaPolicyEngine:
    """OPA on the sources, without WebAssembly."""
    return OpaPolicyEngine(Opa(opa.program, timeout=600), [POLICIES])


def judged(referee: OpaPolicyEngine, requests: list[bytes]) -> list[Decision]:
    """The decisions on which OPA, what render uses and the device's table agree, to the last finding and word."""
    ours = list(WasmPolicyEngine(shipped_bundle()).decide(requests))
    theirs = list(referee.decide(requests))
    assert len(ours) == len(theirs) == len(requests)
    apart = [request for request, one, other in zip(requests, ours, theirs, strict=True) if one != other]
    assert apart == []
    return ours


def test_opa_has_nothing_against_the_sources(opa: Opa) -> None:
    assert opa.check([POLICIES]) == ()


def test_the_tests_in_rego_pass_and_reach_nearly_every_line(opa: Opa) -> None:
    report = opa.test([POLICIES])
    assert report.failed == ()
    assert report.count >= 85
    assert report.coverage >= 95, report.uncovered


def test_the_committed_bundle_is_what_opa_builds(opa: Opa) -> None:
    built = opa.build([POLICIES]).files()
    assert {name: content for name, content in built.items() if name in {MODULE, DATA}} == {
        name: (SHIPPED / name).read_bytes() for name in (MODULE, DATA)
    }
    assert opa.build([POLICIES]).rules == shipped_bundle().rules


def test_opa_render_and_device_agree_on_every_case(referee: OpaPolicyEngine) -> None:
    requests = [text for _, _, text in case_requests()]
    assert len(requests) >= 300
    count, _, by_table = compared_with_table(requests, judged(referee, requests))
    assert count >= 300
    assert by_table == COVERED


@pytest.mark.timeout(900)
def test_opa_render_and_device_agree_on_ten_thousand_documents_each(referee: OpaPolicyEngine) -> None:
    """Documents that are not whole are refused by the engines and never reach a device: more are made until it has its share."""
    requests = generated(1, GENERATED)
    decisions = judged(referee, requests)
    denied = sum(not decision.allowed for decision in decisions)
    assert denied / GENERATED >= 0.3
    hit = {finding.rule for decision in decisions for finding in decision.findings}
    assert set(shipped_bundle().rules) <= hit
    count, by_table, rows_hit = compared_with_table(requests, decisions)
    requests = generated(2, 6_000)
    more = compared_with_table(requests, judged(referee, requests))
    assert count + more[0] >= GENERATED
    assert (by_table + more[1]) / (count + more[0]) >= 0.3
    assert rows_hit | more[2] == COVERED


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            'finding contains {"field": "", "got": "", "expected": ""} if to_number(input.limits.cpu.text) > 0.75',
            "to_number",
        ),
        ('finding contains {"field": "", "got": sprintf("%v", [1]), "expected": ""}', "sprintf"),
        ('finding contains {"field": "", "got": "", "expected": ""} if time.now_ns() > 0', "time.now_ns"),
        ('finding contains {"field": "", "got": "", "expected": ""} if http.send({})', "http.send"),
        ("finding contains {", "expected"),
    ],
    ids=["text as a number", "sprintf", "clock", "network", "cut"],
)
def test_a_rule_that_does_not_decide_alike_everywhere_is_not_built(
    opa: Opa, tmp_path: Path, body: str, says: str
) -> None:
    (tmp_path / "rule.rego").write_text(f"package trimtab.rules.own.rule\n\n{body}\n", "utf-8")
    with pytest.raises(InputError) as caught:
        opa.build([tmp_path])
    assert caught.value.problems[0].code == "F506"
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package my.rules\n\nfinding contains {} if true\n", "finding in data.my.rules, which nobody asks"),
        (
            "package trimtab.rules.own.rule\n\nother contains 1 if true\n",
            "trimtab.rules.own.rule without a set finding",
        ),
        ('package trimtab.rules.own.rule\n\nfinding := "no"\n', "trimtab.rules.own.rule without a set finding"),
        ("package lib.own\n\nyes := true\n", "no rule"),
        (None, "no rule"),
    ],
    ids=["another package", "another name", "no set", "a library alone", "nothing"],
)
def test_a_rule_that_nobody_would_hear_is_not_built(opa: Opa, tmp_path: Path, text: str | None, says: str) -> None:
    """It would refuse nothing, and nobody would notice."""
    if text is not None:
        about = "# METADATA\n# title: a\n# description: b\n# custom:\n#   unblock: c\n"
        (tmp_path / "rule.rego").write_text(about + text, "utf-8")
    with pytest.raises(InputError) as caught:
        opa.build([tmp_path])
    assert [problem.code for problem in caught.value.problems] == ["F506"]
    assert says in caught.value.problems[0].got


def test_a_rule_must_say_what_it_is_for(opa: Opa, tmp_path: Path) -> None:
    text = 'package trimtab.rules.own.rule\n\nfinding contains {"field": "", "got": "", "expected": ""}\n'
    (tmp_path / "rule.rego").write_text(text, "utf-8")
    [problem] = opa.check([tmp_path])
    assert problem.code == "F506"
    assert "title, why, unblock" in problem.got


def test_rules_of_ones_own_hold_beside_the_shipped_ones(opa: Opa, tmp_path: Path) -> None:
    (tmp_path / "rule.rego").write_text(
        "# METADATA\n# title: no cameras\n# description: We have none.\n# custom:\n#   unblock: Ask us.\n"
        'package trimtab.rules.own.no_cameras\n\nfinding contains {"field": "spec.targetDevices", "got": "cameras",'
        ' "expected": "none"} if input.subject.group == "cameras"\n',
        "utf-8",
    )
    bundle = opa.build([tmp_path])
    assert bundle.rules["own.no-cameras"].unblock == "Ask us."
    engine = WasmPolicyEngine(bundle)
    requests = [text for _, case, text in case_requests() if case.of_all and b'"EdgeAIDeployment"' in text][:3]
    for decision in engine.decide(requests):
        assert [finding.rule for finding in decision.findings] == ["own.no-cameras"]


def test_a_bundle_of_ones_own_refuses_a_render_and_a_bad_one_leaves_the_old_one(
    opa: Opa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, built = tmp_path / "own", tmp_path / "bundle"
    source.mkdir()
    rule = source / "no_kiosks.rego"
    rule.write_text(
        "# METADATA\n# title: no kiosks\n# description: We have none.\n# custom:\n#   unblock: Ask us.\n"
        'package trimtab.rules.own.no_kiosks\n\nfinding contains {"field": "spec.targetDevices", "got": "kiosks",'
        ' "expected": "none"} if input.group.labels.deviceType == "kiosk"\n',
        "utf-8",
    )
    build = ["policy", "build", str(source), "-o", str(built), "--opa", str(opa.program)]
    assert main(build) == 0
    render = ["render", str(EXAMPLE), "--group", "kiosk-emea", "--policies", str(built)]
    assert main(render) == 2
    assert "own.no-kiosks: no kiosks. Ask us." in capsys.readouterr().err
    assert main(["validate", str(EXAMPLE), "--as-of", "2026-11-22", "--policies", str(built)]) == 2
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    rule.write_text(rule.read_text("utf-8") + "\nbroken if time.now_ns() > 0\n", "utf-8")
    assert main(build) == 1
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before
    (built / MODULE).write_bytes(before[MODULE] + b" ")
    capsys.readouterr()
    assert main(render) == 1
    assert "F505" in capsys.readouterr().err


def test_without_wasmtime_opa_judges_by_the_rego_that_the_bundle_was_built_from(
    opa: Opa, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [text for _, case, text in case_requests() if case.of_all]
    expected = gate_of().decide(requests)
    assert not all(decision.allowed for decision in expected)
    for name in ("wasm", "wasm_library"):
        monkeypatch.delitem(sys.modules, f"trimtab_config.policy.{name}")
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    monkeypatch.setenv("PATH", f"{opa.program.parent}{os.pathsep}{os.environ['PATH']}")
    assert gate_of().decide(requests) == expected
    with pytest.raises(OutsideError, match="wasmtime"):
        WasmEngine(shipped_bundle()).decide(requests)
    with pytest.raises(OutsideError, match="wasmtime"):
        WasmEngine(shipped_bundle(), POLICIES / "finops").decide(requests)


def test_opa_itself_takes_our_signature_and_refuses_what_it_does_not_cover(opa: Opa, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    write_bundle(shipped_bundle(), tmp_path / "bundle", Signer(key, "platform", "fleet"))

    def verified() -> subprocess.CompletedProcess[str]:
        packed = tmp_path / "bundle.tar.gz"
        with tarfile.open(packed, "w:gz") as archive:
            for path in (tmp_path / "bundle").iterdir():
                archive.add(path, f"/{path.name}")
        asked: list[str | Path] = [
            "build",
            "-b",
            packed,
            "--verification-key",
            tmp_path / "key.pub",
            "--scope",
            "fleet",
            "-t",
            "rego",
        ]
        asked += ["--verification-key-id", "platform", "--signing-alg", "ES256", "-o", tmp_path / "out.tar.gz"]
        return subprocess.run([opa.program, *asked], capture_output=True, text=True, timeout=120, check=False)

    done = verified()
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "bundle" / MODULE).write_bytes(b"\0asm\1\0\0\0other")
    refused = verified()
    assert refused.returncode
    assert f"{MODULE}: digest mismatch" in refused.stdout + refused.stderr
