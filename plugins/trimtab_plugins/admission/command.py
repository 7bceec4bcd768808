"""``trimtab admission-webhook``: arguments, what is followed, and what is said where."""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab_config.cli.arguments import add_policies, trust_asked
from trimtab_kernel.commandline import Command
from trimtab_kernel.problems import ExitCode, InputError, TrimtabError, printable
from trimtab_plugins.stopping import interval_seconds, stopped_by_signals

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from trimtab_config.policy.following import FollowedBundles
    from trimtab_plugins.admission.app import Admission


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'expected a port from 0 to 65535, got "{text}"')
    return int(text)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--folder", type=Path, required=True, metavar="DIR", help="the fleet's folder, or the link that another swaps"
    )
    parser.add_argument("--tls-cert", type=Path, required=True, metavar="FILE", help="certificate chain in PEM")
    parser.add_argument("--tls-key", type=Path, required=True, metavar="FILE", help="its key in PEM, no password")
    parser.add_argument("--tls-client-ca", type=Path, metavar="FILE", help="ask callers for a certificate of this CA")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="listen here (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=8443, metavar="PORT", help="listen here; 0 lets the system choose (default: 8443)"
    )
    parser.add_argument(
        "--interval",
        type=interval_seconds,
        default=10.0,
        metavar="SECONDS",
        help="time between two looks (default: 10)",
    )
    parser.add_argument(
        "--timeout",
        type=interval_seconds,
        default=8.0,
        metavar="SECONDS",
        help="for each question; less than the API server waits (default: 8)",
    )
    parser.add_argument("--fail-open", action="store_true", help="let pass what cannot be judged, with a warning")
    add_policies(parser)


def run(arguments: argparse.Namespace) -> ExitCode:
    """Serve until a signal comes."""
    from trimtab_config.policy.following import FollowedBundles
    from trimtab_plugins.admission.app import Admission
    from trimtab_plugins.fleet_service.server import FleetServer, encryption

    bundles = FollowedBundles(arguments.policies, trust_asked(arguments))
    admission = Admission(seconds=arguments.timeout, fail_open=arguments.fail_open)
    followed = Followed(arguments.folder, bundles, admission)
    _look(followed)  # where there is no fleet yet, nothing is let through, and it is not ready
    certificate, key = arguments.tls_cert, arguments.tls_key
    tls = encryption(certificate, key, arguments.tls_client_ca)
    before = _read(certificate, key)
    try:
        with (
            stopped_by_signals() as stop,
            FleetServer(admission.application(), arguments.host, arguments.port, tls) as server,
        ):
            print(f"serving {server.url}", flush=True)  # noqa: T201 - the product: where it listens
            while not stop.wait(arguments.interval):
                _look(followed)
                before = _renewed(tls, certificate, key, before)
    finally:
        admission.close()
    return ExitCode.DONE


def _look(followed: Followed) -> None:
    """Look; a fleet that was taken stays for long, and collecting garbage need not go through it for each question."""
    before = followed.taken
    followed.look()
    if followed.taken != before:
        gc.unfreeze()
        gc.collect()
        gc.freeze()


class Followed:
    """The fleet's folder and the bundles, looked at again and again. What was in force stays where newer ones fail."""

    def __init__(self, folder: Path, bundles: FollowedBundles, admission: Admission) -> None:
        self._folder = folder
        self._bundles = bundles
        self._admission = admission
        self._files: Mapping[str, bytes] | None = None
        self._digest = ""
        self.judges = False
        self.taken = 0
        self.said = ""

    def look(self) -> None:
        """Take what is newest, and say once what cannot be used."""
        from trimtab_config.sources.folder import load_folder
        from trimtab_plugins.admission.judging import fleet_of

        force = self._bundles.look()
        trouble = force.trouble
        try:
            files = load_folder(self._folder)
            if files != self._files or force.digest != self._digest:
                fleet, problems = fleet_of(files)
                if fleet is None:
                    raise InputError(*problems)
                self._admission.take(fleet, force.gate, force.digest)
                self._files, self._digest, self.judges = files, force.digest, True
                self.taken += 1
        except TrimtabError as error:
            trouble = "\n".join(line for line in (trouble, str(error)) if line)
        self._admission.trouble(stale=bool(trouble))
        held = "what was in force stays in force" if self.judges else "nothing is judged yet"
        said = f"{held}: {trouble}" if trouble else f"judging by {force.digest[:12]}"
        if said != self.said:
            self.said = said
            _say(said)


def _read(certificate: Path, key: Path) -> tuple[bytes, bytes] | None:
    try:
        return certificate.read_bytes(), key.read_bytes()
    except OSError:
        return None


def _renewed(
    tls: ssl.SSLContext, certificate: Path, key: Path, before: tuple[bytes, bytes] | None
) -> tuple[bytes, bytes] | None:
    """Take a certificate that was renewed: new connections see it. One that cannot be used changes nothing."""
    now = _read(certificate, key)
    if now is None or now == before:
        return before
    from trimtab_plugins.fleet_service.server import encryption

    try:
        encryption(certificate, key)  # tried apart: a pair that does not fit must not spoil the one that serves
        tls.load_cert_chain(certificate, key, password=lambda: "")
    except (TrimtabError, OSError, ValueError) as error:
        _say(f"the certificate stays as it was: {error}")
        return before
    _say("the certificate was renewed")
    return now


def _say(text: str) -> None:
    for line in text.split("\n"):
        print(printable(line), file=sys.stderr, flush=True)  # noqa: T201 - stderr is for people


COMMAND = Command(
    name="admission-webhook",
    summary="Answer the API server's question whether a deployment may be applied, by the rules that rendering asks.",
    details="Needs the fleet, which costs, fairness, age and lineage are judged by. What cannot be judged is refused, unless"
    " --fail-open says otherwise.",
    examples=("trimtab admission-webhook --folder /fleet/current --tls-cert tls.crt --tls-key tls.key --host 0.0.0.0",),
    configure=configure,
    run=run,
)
