"""``trimtab policy``: build, test, check and explain the rules that fleets are judged by."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_config.cli.arguments import add_trust, trust_asked
from trimtab_config.cli.dates import date
from trimtab_kernel.commandline import Command, print_json, print_problems
from trimtab_kernel.problems import ExitCode, InputError, OutsideError, Problem, TrimtabError, quoted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from trimtab_config.catalog import Catalog
    from trimtab_config.policy.bundle import PolicyBundle, RuleText
    from trimtab_config.policy.opa_binary import Opa, TestReport
    from trimtab_config.policy.signing import Signer, Trust


def _with_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="+", metavar="FOLDER", help="a folder of Rego")
    parser.add_argument("--opa", default="opa", metavar="PATH", help="the opa program; the one on the PATH otherwise")


def _opa(arguments: argparse.Namespace) -> Opa:
    from trimtab_config.policy.opa_binary import Opa

    for folder in arguments.folder:
        if not folder.is_dir():
            raise OutsideError(f"{folder} is no folder")
    return Opa.found(arguments.opa)


def configure_build(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    _with_sources(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="D", help="write the bundle into this folder"
    )
    parser.add_argument("--signing-key", type=Path, metavar="FILE", help="sign it with this key (PEM, RSA or P-256)")
    parser.add_argument("--key-id", default="", metavar="ID", help="what those who verify know the key by")
    parser.add_argument("--scope", default="", metavar="TEXT", help="what the signature is for, such as a fleet's name")


def build(arguments: argparse.Namespace) -> ExitCode:
    """Build, try, and only then write: what was there stays where anything fails."""
    from trimtab_config.policy.cases import case_problems, read_tables
    from trimtab_config.policy.shipped import gate_of_bundle, try_bundle

    signer = None
    if arguments.signing_key is not None:
        from trimtab_config.policy.signing import signer_of

        signer = signer_of(arguments.signing_key, arguments.key_id, arguments.scope, int(time.time()))
    opa = _opa(arguments)
    bundle = opa.build(arguments.folder)
    try_bundle(bundle)
    problems = _failed(opa.test(arguments.folder))
    gate = gate_of_bundle(bundle)
    tables = [table for folder in arguments.folder for table in read_tables(folder)]
    problems += [problem for table in tables for problem in case_problems(table, gate)]
    if problems:
        raise InputError(*problems)
    _written(bundle, arguments.output, signer)
    print(f"{len(bundle.rules)} rules, {len(bundle.module)} bytes, digest {bundle.digest}", file=sys.stderr)
    return ExitCode.DONE


def _failed(report: TestReport) -> list[Problem]:
    return [Problem("F507", got=f"{name} failed", expected="every test to pass") for name in report.failed]


def _written(bundle: PolicyBundle, folder: Path, signer: Signer | None = None) -> None:
    from trimtab_config.policy.shipped import write_bundle

    try:
        write_bundle(bundle, folder, signer)
    except OSError as error:
        raise OutsideError(f"cannot write {folder}: {error.strerror or error}") from error


def configure_install(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a folder that policy build wrote")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="D", help="put it in the place of the bundle in this folder"
    )
    parser.add_argument(
        "--allow-older", action="store_true", help="with keys: also one that was signed before the one that it replaces"
    )
    add_trust(parser)


def install(arguments: argparse.Namespace) -> ExitCode:
    """Verify, read and try the new bundle; only then does it take the place of the old one, as a whole."""
    from trimtab_config.policy.bundle import read_bundle
    from trimtab_config.policy.replacing import replace_folder
    from trimtab_config.policy.shipped import bundle_files, try_bundle

    try:
        trust = trust_asked(arguments)
        files = bundle_files(arguments.bundle, trust)
        if trust is not None and not arguments.allow_older:
            _newer(files, arguments.output, trust, str(arguments.bundle))
        bundle = read_bundle(files, str(arguments.bundle))
        try_bundle(bundle)
        replace_folder(arguments.output, files)
    except TrimtabError:
        print(f"{arguments.output}: the bundle that was there stays in force", file=sys.stderr)
        raise
    except OSError as error:
        raise OutsideError(f"cannot write {arguments.output}: {error.strerror or error}") from error
    print(f"{len(bundle.rules)} rules, digest {bundle.digest}", file=sys.stderr)
    return ExitCode.DONE


def _newer(files: Mapping[str, bytes], folder: Path, trust: Trust, place: str) -> None:
    """Raises TrustError (F509) where what is in ``folder`` is signed as well, and later."""
    from trimtab_config.policy.shipped import bundle_files
    from trimtab_config.policy.signing import check_not_older

    try:
        before = bundle_files(folder, trust)
    except TrimtabError:
        return  # nothing there, or nothing that counts
    check_not_older(files, before, trust, place)


def configure_check(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("folder", type=Path, nargs="*", metavar="FOLDER", help="a folder of Rego")
    parser.add_argument("--opa", default="opa", metavar="PATH", help="the opa program; the one on the PATH otherwise")
    parser.add_argument(
        "--fleet",
        type=Path,
        metavar="PATH",
        help="also what policies of this fleet say: levels and exceptions of rules that are none, exceptions that end",
    )
    parser.add_argument("--as-of", type=date, metavar="DATE", help="judge exceptions as of this day, not today")
    parser.set_defaults(usage_error=parser.error)


def check(arguments: argparse.Namespace) -> ExitCode:
    """Print what OPA has against the sources, and what is wrong with the policies of a fleet."""
    from trimtab_kernel.problems import sort_problems

    if not arguments.folder and arguments.fleet is None:
        arguments.usage_error("nothing to check: a FOLDER of Rego, or --fleet PATH")
    problems = list(_opa(arguments).check(arguments.folder)) if arguments.folder else []
    warnings: list[Problem] = []
    if arguments.fleet is not None:
        found, warnings = _of_fleet(arguments)
        problems += found
    print_problems(sort_problems([*problems, *warnings]))
    return ExitCode.PROBLEMS if problems else ExitCode.DONE


def _of_fleet(arguments: argparse.Namespace) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the policies of a fleet, and what is only to be known. Its other objects need not be there."""
    import datetime

    from trimtab_config.catalog.dates import exception_problems
    from trimtab_config.cli.fleet import read_fleet
    from trimtab_config.policy.review import unknown_rules
    from trimtab_config.policy.shipped import gate_of

    fleet = read_fleet(arguments.fleet)
    as_of = arguments.as_of or datetime.datetime.now(datetime.UTC).astimezone().date()
    unknown = [] if fleet.problems else list(unknown_rules(gate_of(), fleet.catalog))
    return [*fleet.problems, *unknown], list(exception_problems(fleet.catalog, as_of))


def configure_test(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    _with_sources(parser)
    parser.add_argument(
        "--coverage", type=float, default=95.0, metavar="PERCENT", help="least share of lines tested (95)"
    )
    parser.add_argument(
        "--no-rego", action="store_true", help="only the tables of cases, on the shipped bundle: no opa"
    )


def test(arguments: argparse.Namespace) -> ExitCode:
    """Run ``_test.rego`` and the tables; print what fails."""
    from trimtab_config.policy.cases import case_problems, read_tables
    from trimtab_config.policy.shipped import gate_of

    problems: list[Problem] = []
    said = ""
    gate = gate_of()
    if not arguments.no_rego:
        opa = _opa(arguments)
        report = opa.test(arguments.folder)
        problems += _failed(report)
        if report.coverage < arguments.coverage:
            where = ", ".join(report.uncovered[:5])
            got = f"{report.coverage:g} % of the lines tested"
            problems.append(Problem("F507", got=got, expected=f"at least {arguments.coverage:g} %", hint=where))
        said = f"{report.count} tests, {report.coverage:g} % of the lines; "
        gate = gate_of(opa.build(arguments.folder))
    tables = [table for folder in arguments.folder for table in read_tables(folder)]
    problems += [problem for table in tables for problem in case_problems(table, gate)]
    if problems:
        print_problems(problems)
        return ExitCode.PROBLEMS
    print(f"{said}{sum(len(table.cases) for table in tables)} cases", file=sys.stderr)
    return ExitCode.DONE


def configure_admission(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("path", type=Path, metavar="PATH", help="the fleet's folder, or one with its policies alone")
    parser.add_argument(
        "--format",
        choices=("vap", "webhook", "gatekeeper"),
        default="vap",
        help="ValidatingAdmissionPolicies for what CEL can say; the registration of trimtab admission-webhook; or a "
        "ConstraintTemplate and constraints of Gatekeeper, which needs --rules",
    )
    parser.add_argument("--rules", type=Path, metavar="FOLDER", help="the Rego of the shipped rules, for gatekeeper")
    parser.add_argument("--namespace", default="trimtab", help="where parameters, or the service, are (trimtab)")
    parser.add_argument("--service", default="trimtab-admission", help="the webhook's Service (trimtab-admission)")
    parser.add_argument("--fail-open", action="store_true", help="the webhook: let pass what it does not answer")
    parser.add_argument(
        "--timeout", type=int, choices=range(1, 31), default=10, metavar="SECONDS", help="of the webhook, 1 to 30 (10)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="D", help="write D/admission.yaml, not on stdout")


def admission(arguments: argparse.Namespace) -> ExitCode:
    """Print what the API server needs to judge by itself, or to ask."""
    from trimtab_config.cli.fleet import read_fleet
    from trimtab_config.emit.yaml_stream import yaml_stream
    from trimtab_config.policy.admission import validating_policies, webhook_configuration

    if arguments.format == "webhook":
        objects = [
            webhook_configuration(
                arguments.service, arguments.namespace, fail_open=arguments.fail_open, timeout=arguments.timeout
            )
        ]
    else:
        fleet = read_fleet(arguments.path)
        if fleet.problems:
            raise InputError(*fleet.problems)
        if arguments.format == "vap":
            objects = validating_policies(fleet.catalog, arguments.namespace)
        else:
            objects = _for_gatekeeper(fleet.catalog, arguments.rules)
    text = yaml_stream(objects)
    if arguments.output is None:
        sys.stdout.write(text)
        return ExitCode.DONE
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "admission.yaml").write_text(text, "utf-8")
    except OSError as error:
        raise OutsideError(f"cannot write {arguments.output}: {error.strerror or error}") from error
    return ExitCode.DONE


def _for_gatekeeper(catalog: Catalog, folder: Path | None) -> list[dict[str, Any]]:
    from trimtab_config.policy.gatekeeper import RULES, gatekeeper_objects
    from trimtab_config.policy.opa_binary import CORE

    if folder is None:
        raise OutsideError("--format gatekeeper needs --rules: the folder policies/ of a checkout")
    try:
        core = {name: (CORE / name).read_text("utf-8") for name in ("lib.rego", "main.rego")}
        rules = {
            rule: (folder / f"{rule.replace('.', '/').replace('-', '_')}.rego").read_text("utf-8") for rule in RULES
        }
    except OSError as error:
        raise OutsideError(f"cannot read {error.filename}: {error.strerror}") from error
    return gatekeeper_objects(catalog, core, rules)


def configure_explain(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "rule", nargs="?", metavar="RULE", help="a rule such as finops.cpu-cap; all of them without one"
    )
    parser.add_argument(
        "--bundle", type=Path, metavar="D", help="explain the rules of this bundle, not the shipped ones"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for machines")


def explain(arguments: argparse.Namespace) -> ExitCode:
    """Print one rule, or one line for each."""
    from trimtab_config.policy.shipped import bundle_at, shipped_bundle
    from trimtab_config.spec.nearest import did_you_mean

    bundle: PolicyBundle = shipped_bundle() if arguments.bundle is None else bundle_at(arguments.bundle)
    rules = [bundle.rules[name] for name in sorted(bundle.rules)]
    if arguments.rule is not None:
        rules = [rule for rule in rules if rule.name == arguments.rule]
        if not rules:
            hint = did_you_mean(arguments.rule, sorted(bundle.rules)) or "'trimtab policy explain' lists them"
            raise InputError(Problem("F508", got=quoted(arguments.rule), expected="the name of a rule", hint=hint))
    if arguments.output == "json":
        print_json({"digest": bundle.digest, "builder": bundle.builder, "rules": [rule.to_json() for rule in rules]})
    elif arguments.rule is None:
        width = max(len(rule.name) for rule in rules)
        print(*(f"{rule.name:<{width}}  {rule.title}" for rule in rules), sep="\n")
    else:
        print(_text(rules[0]))
    return ExitCode.DONE


def _text(rule: RuleText) -> str:
    import textwrap

    why, unblock = (
        textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="  ") for text in (rule.why, rule.unblock)
    )
    return f"{rule.name}: {rule.title}\n\nwhy:\n{why}\n\nhow to get unblocked:\n{unblock}\n\nsource: {rule.source}"


COMMAND = Command(
    name="policy",
    summary="Build, test, check and explain the rules that fleets are judged by.",
    examples=(
        "trimtab policy explain",
        "trimtab policy explain finops.cpu-cap",
        "trimtab policy test policies",
    ),
    subcommands=(
        Command(
            name="build",
            summary="Build a bundle of Rego for WebAssembly; needs the opa program.",
            details="The rules are tested and the bundle is tried before it is written, so a bundle that fails never takes the "
            "place of one that works.",
            examples=(
                "trimtab policy build our-rules -o bundle",
                "trimtab policy build our-rules -o bundle --signing-key key.pem --key-id platform",
            ),
            configure=configure_build,
            run=build,
        ),
        Command(
            name="install",
            summary="Put a bundle in the place of another, as a whole, once it is verified and tried.",
            details="Where anything fails the old one stays in force.",
            examples=("trimtab policy install bundle -o /etc/trimtab/policies --policy-key platform=platform.pem",),
            configure=configure_install,
            run=install,
        ),
        Command(
            name="test",
            summary="Run the tests of the rules and their tables of cases; needs the opa program.",
            examples=("trimtab policy test policies", "trimtab policy test policies --no-rego"),
            configure=configure_test,
            run=test,
        ),
        Command(
            name="check",
            summary="Check Rego strictly, and what every rule must say of itself; needs the opa program. Or a fleet's policies.",
            examples=("trimtab policy check policies", "trimtab policy check --fleet fleet --as-of 2026-12-31"),
            configure=configure_check,
            run=check,
        ),
        Command(
            name="admission",
            summary="Print what makes the API server judge by the fleet's policies.",
            details="Rules that CEL cannot say need the fleet: they are the webhook's.",
            examples=(
                "trimtab policy admission fleet | kubectl apply -f -",
                "trimtab policy admission fleet --format webhook --namespace trimtab -o admission",
            ),
            configure=configure_admission,
            run=admission,
        ),
        Command(
            name="explain",
            summary="Say what a rule is for and how to get unblocked.",
            examples=("trimtab policy explain alignment.fairness", "trimtab policy explain --output json"),
            configure=configure_explain,
            run=explain,
        ),
    ),
)
