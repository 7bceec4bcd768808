"""``trimtab inbox``: decide from a terminal, as the person whose token is given."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable, quoted

if TYPE_CHECKING:
    import argparse

    from trimtab_bot.inbox.client import InboxClient

URL_VARIABLE = "TRIMTAB_INBOX_URL"
TOKEN_VARIABLE = "TRIMTAB_TOKEN_FILE"  # noqa: S105 - the name of a variable that holds a file's name
_MAX_TOKEN = 4096


def _connect(arguments: argparse.Namespace) -> InboxClient:
    from trimtab_bot.inbox.client import InboxClient

    url = arguments.url or os.environ.get(URL_VARIABLE, "")
    if not url:
        raise InputError(
            Problem("B426", "", 0, "--url", "nothing", f"the inbox's URL, or {URL_VARIABLE} in the environment")
        )
    return InboxClient(url, _token(arguments.token_file or os.environ.get(TOKEN_VARIABLE, "")))


def _token(name: str) -> str:
    """The token in a file. It is never an argument: other users of the machine can read those."""
    if not name:
        raise InputError(
            Problem(
                "B427",
                "",
                0,
                "--token-file",
                "nothing",
                f"a file that holds your token, or {TOKEN_VARIABLE} in the environment",
            )
        )
    try:
        with Path(name).open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                print(f"warning: {printable(name)} can be read by others; 'chmod 600' it", file=sys.stderr)
            token = file.read(_MAX_TOKEN + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise InputError(
            Problem("B427", name, 0, "", quoted(str(reason)), "a readable file that holds your token")
        ) from None
    if not token or len(token) > _MAX_TOKEN or any(character.isspace() for character in token):
        raise InputError(Problem("B427", name, 1, "", "no token", "one line that holds your token"))
    return token


def _list(arguments: argparse.Namespace) -> ExitCode:
    proposals = _connect(arguments).proposals()
    if arguments.output == "json":
        print_json({"proposals": proposals})
        return ExitCode.DONE
    if not proposals:
        print("nothing to decide", file=sys.stderr)
    for view in proposals:
        state = "needs a decision" if view["open_for_decision"] else view["state"]
        print(f"{printable(view['id'])}  {state}  {printable(view['title'])}")
    return ExitCode.DONE


def _show(arguments: argparse.Namespace) -> ExitCode:
    view = _connect(arguments).proposal(arguments.proposal)
    if arguments.output == "json":
        print_json(view)
        return ExitCode.DONE
    print("\n".join(_describe(view)))
    return ExitCode.DONE


def _describe(view: dict[str, Any]) -> list[str]:
    from trimtab_bot.inbox.times import utc

    def text(value: object) -> str:
        return printable(str(value))

    state = "needs a decision" if view["open_for_decision"] else text(view["state"])
    lines = [
        text(view["title"]),
        f"state: {state} ({len(view['approvals'])} of {view['quorum']} approvals)",
        f"proposed: {utc(view['opened_at'])} by {text(view['proposer'])}; lapses {utc(view['expires_at'])}",
        "",
        *(text(line) for line in str(view["summary"]).splitlines()),
        "",
        *(f"[{text(fact['kind'])}] {text(fact['label'])}: {text(fact['value'])}" for fact in view["facts"]),
    ]
    if view["offending"]:
        commit = view["offending"]
        lines.append(
            f"[estimate] likely cause: {text(commit['sha'])[:12]} {text(commit['subject'])}, by {text(commit['author'])}"
        )
    seen = "verified by the bot while it ran" if view["verified"] else "unverified: nobody saw it run well"
    if view.get("remedy", "rollback") == "rollback":
        lines.append(f"goes back to: {text(view['model'])} {text(view['good_version'])} ({seen})")
    lines.append(f"device groups: {text(', '.join(view['device_groups']))} ({view['devices']} devices)")
    lines += ["", *(text(line) for line in str(view["diff"]).splitlines()), ""]
    lines += [f"{utc(entry['at'])}  {text(entry['text'])}" for entry in view["timeline"]]
    lines.append(f"digest: {text(view['digest'])}")
    return lines


def _approve(arguments: argparse.Namespace) -> ExitCode:
    return _decide(arguments, "approve")


def _deny(arguments: argparse.Namespace) -> ExitCode:
    return _decide(arguments, "deny", arguments.reason)


def _decide(arguments: argparse.Namespace, verb: str, reason: str = "") -> ExitCode:
    client = _connect(arguments)
    # Without --digest the decision is about what the inbox holds now; with it, about exactly what was looked at before.
    digest = arguments.digest or str(client.proposal(arguments.proposal)["digest"])
    answer = client.decide(arguments.proposal, verb, digest, reason)
    if arguments.output == "json":
        print_json(answer)
    else:
        print(printable(str(answer["message"])))
    return ExitCode.DONE


def _say(arguments: argparse.Namespace) -> ExitCode:
    reply = _connect(arguments).say(" ".join(arguments.words))
    if arguments.output == "json":
        print_json(reply)
    else:
        out = sys.stdout if reply["done"] else sys.stderr
        print("\n".join(printable(line) for line in str(reply["text"]).split("\n")), file=out)
    if reply["done"]:
        return ExitCode.DONE
    return ExitCode.REFUSED if reply["code"] else ExitCode.USAGE


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help=f"the inbox's URL (default: {URL_VARIABLE})")
    parser.add_argument("--token-file", metavar="FILE", help=f"file that holds your token (default: {TOKEN_VARIABLE})")
    parser.add_argument("--output", choices=["text", "json"], default="text", help="for people or for machines")


def _configure_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("proposal", help="id of the proposal, as 'trimtab inbox list' shows it")
    _common(parser)


def _configure_say(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="WORD", help="a command as in chat, without /trimtab; try: help")
    _common(parser)


def _configure_decide(parser: argparse.ArgumentParser) -> None:
    _configure_show(parser)
    parser.add_argument("--digest", default="", help="decide only if the proposal still has this digest")


def _configure_deny(parser: argparse.ArgumentParser) -> None:
    _configure_decide(parser)
    parser.add_argument("--reason", required=True, help="why; it is shown to everybody and recorded")


COMMAND = Command(
    name="inbox",
    summary="List, show, approve or deny what the bot proposes.",
    examples=(
        "trimtab inbox list --url http://127.0.0.1:8080 --token-file ~/.trimtab-token",
        "trimtab inbox approve p-1 --digest sha256:...",
    ),
    subcommands=(
        Command(
            "list",
            "All proposals, those that need a decision first.",
            ("trimtab inbox list --output json",),
            _common,
            _list,
        ),
        Command(
            "show",
            "One proposal with its evidence and its change.",
            ("trimtab inbox show p-1",),
            _configure_show,
            _show,
        ),
        Command(
            "approve", "Approve one proposal, as yourself.", ("trimtab inbox approve p-1",), _configure_decide, _approve
        ),
        Command(
            "deny",
            "Deny one proposal, with a reason.",
            ('trimtab inbox deny p-1 --reason "known experiment"',),
            _configure_deny,
            _deny,
        ),
        Command(
            "say",
            "Any command that people type in chat: status, why, promote, pause, hold, silence and the others.",
            ("trimtab inbox say status", "trimtab inbox say pause triage-gateways odd scores"),
            _configure_say,
            _say,
        ),
    ),
)
