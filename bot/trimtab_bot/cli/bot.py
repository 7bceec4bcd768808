"""``trimtab bot``: run the bot, or say what it remembers."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab_kernel.commandline import Command, print_json
from trimtab_kernel.problems import ExitCode, InputError, Problem, printable, quoted

if TYPE_CHECKING:
    import argparse

    from trimtab_bot.store.interface import Reading


def _run(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.assembly import assemble, elected, local_ports, state_lock
    from trimtab_bot.configuration import load_configuration
    from trimtab_bot.connections import connections
    from trimtab_bot.inbox.app import Inbox
    from trimtab_bot.inbox.server import InboxServer
    from trimtab_bot.recording import EventLines

    if arguments.once_ticks is not None and arguments.once_ticks < 1:
        raise InputError(Problem("B103", field="--once-ticks", got=quoted(arguments.once_ticks), expected="at least 1"))
    configuration = load_configuration(Path(arguments.config))
    followers = EventLines(file=Path(arguments.events) if arguments.events else None)
    with (
        state_lock(configuration.state),
        local_ports(configuration, time.time) as ports,
        elected(configuration, ports.store, followers, time.time) as (leadership, begin),
    ):
        bot = assemble(configuration, ports, followers, time.time, leadership)
        begin(bot.wake.set)

        def end(*_: object) -> None:
            bot.stop.set()
            bot.wake.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        more = connections(configuration, ports, time.time)
        server = InboxServer(
            Inbox(bot.decisions, configuration.people, commands=bot.commands, more=more.pages),
            configuration.inbox_host,
            configuration.inbox_port,
            configuration.inbox_public_hosts,
        )
        with ExitStack() as stack:
            stack.callback(server.stop)
            print(f"inbox {server.start()}", flush=True)
            if configuration.telemetry is not None:
                from trimtab_bot.telemetry import BotFigures, serving

                figures = BotFigures(
                    ports.store,
                    bot.loop.looks,
                    lambda: leadership.epoch() is not None,
                    more.workspaces,
                    bot.delivery,
                )
                print(f"metrics {stack.enter_context(serving(figures, *configuration.telemetry))}", flush=True)
            if configuration.outputs is not None:
                from trimtab_bot.outputs.service import running_outputs

                stack.enter_context(
                    running_outputs(configuration.outputs, ports.store, leadership, followers, time.time)
                )
            if configuration.slack is not None:
                from trimtab_bot.chat.service import slack_chat

                chat = slack_chat(
                    configuration,
                    configuration.slack,
                    ports.store,
                    bot.decisions,
                    bot.commands,
                    followers,
                    time.time,
                    leadership,
                    installed=more.installing,
                )
                address = stack.enter_context(chat)
                if address:
                    print(f"slack {address}", flush=True)
            if configuration.github is not None:
                from trimtab_bot.reviews.service import pull_requests

                talk = pull_requests(configuration.github, ports, bot, followers, time.time, leadership)
                stack.enter_context(talk)
            bot.loop.run(bot.stop, bot.wake, configuration.tick, arguments.once_ticks)
    return ExitCode.DONE


def _status(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.assembly import open_store
    from trimtab_bot.configuration import load_configuration

    configuration = load_configuration(Path(arguments.config))
    if configuration.database is None and not configuration.store_path.exists():
        print(f"the bot has no state in {printable(str(configuration.state))} yet", file=sys.stderr)
        return ExitCode.DONE
    store = open_store(configuration)
    try:
        with store.reading() as view:
            report = _report(view)
    finally:
        store.close()
    if arguments.output == "json":
        print_json(report)
        return ExitCode.DONE
    if not report["incidents"]:
        print("no incidents", file=sys.stderr)
    for incident in report["incidents"]:
        print(f"{incident['id']}  {incident['phase']}  {printable(str(incident['title']))}")
        for line in ("obstacle", "escalated", "closed"):
            if incident[line]:
                print(f"    {line}: {printable(str(incident[line]))}")
        for proposal in incident["proposals"]:
            print(f"    {proposal['id']}  {proposal['phase']}  {printable(str(proposal['title']))}")
    return ExitCode.DONE


def _report(view: Reading) -> dict[str, list[dict[str, Any]]]:
    proposals: dict[str, list[dict[str, Any]]] = {}
    for each in view.proposals():
        proposals.setdefault(each.incident_id, []).append(
            {"id": each.id, "number": each.number, "phase": each.ballot.phase.value, "title": each.title}
        )
    return {
        "incidents": [
            {
                "id": each.id,
                "phase": each.phase.value,
                "title": each.title,
                "obstacle": f"{each.obstacle_code} {each.obstacle}".strip(),
                "escalated": each.escalated_because,
                "closed": each.closed_because,
                "proposals": proposals.get(each.id, []),
            }
            for each in view.incidents()
        ]
    }


def _manifest(arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.chat.slack.manifest import manifest

    url = _address("--url", arguments.url)
    install = _address("--install-url", arguments.install_url)
    redirect = f"{install}/slack/oauth_redirect" if install else ""
    print_json(manifest(f"{url}/slack/events" if url else "", redirect))
    return ExitCode.DONE


def _address(option: str, given: str | None) -> str:
    from urllib.parse import urlsplit

    url = str(given or "").rstrip("/")
    parts = urlsplit(url)
    if url and (parts.scheme != "https" or not parts.netloc or parts.path):
        raise InputError(Problem("B103", field=option, got=quoted(url), expected="https://HOST, without a path"))
    return url


def _new_key(_arguments: argparse.Namespace) -> ExitCode:
    from trimtab_bot.sealing import new_key

    print(new_key())
    return ExitCode.DONE


def _configure_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="URL", help="where Slack reaches the bot over HTTP; Socket Mode without it")
    parser.add_argument(
        "--install-url", metavar="URL", help="where browsers reach the inbox; for an app of several workspaces"
    )


def _configure_run(parser: argparse.ArgumentParser) -> None:
    _configure_common(parser)
    parser.add_argument("--once-ticks", type=int, metavar="N", help="end after N ticks")
    parser.add_argument("--events", metavar="FILE", help="append one JSON object a line for every event")


def _configure_status(parser: argparse.ArgumentParser) -> None:
    _configure_common(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people, or for programs")


def _configure_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, metavar="FILE", help="the bot's configuration (bot.yaml)")


COMMAND = Command(
    name="bot",
    summary="Watch a fleet, propose rollbacks, carry out what people approve.",
    subcommands=(
        Command(
            name="run",
            summary="Run the bot and its inbox; ends with Ctrl-C.",
            examples=("trimtab bot run --config bot.yaml", "trimtab bot run --config bot.yaml --events events.jsonl"),
            configure=_configure_run,
            run=_run,
        ),
        Command(
            name="status",
            summary="Show the incidents and proposals that the bot remembers.",
            examples=("trimtab bot status --config bot.yaml",),
            configure=_configure_status,
            run=_status,
        ),
        Command(
            name="slack-manifest",
            summary="Print the manifest from which the Slack app is made.",
            examples=(
                "trimtab bot slack-manifest",
                "trimtab bot slack-manifest --url https://bot.example.com",
                "trimtab bot slack-manifest --install-url https://inbox.example.com",
            ),
            configure=_configure_manifest,
            run=_manifest,
        ),
        Command(
            name="new-key",
            summary="Print a random key for the file that secrets.keyFile names.",
            examples=("trimtab bot new-key > seal.keys",),
            run=_new_key,
        ),
    ),
)
