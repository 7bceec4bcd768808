"""Accounts of others that the bot acts with: Slack's workspaces and people's accounts on GitHub, and the pages for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_bot.chat.service import Installing, installing
from trimtab_bot.sealing import Seal, reseal_all

if TYPE_CHECKING:
    from trimtab_bot.assembly import Ports
    from trimtab_bot.configuration import Configuration
    from trimtab_bot.inbox.app import MorePages
    from trimtab_bot.moments import Clock


@dataclass(frozen=True, slots=True)
class Connections:
    """What the running bot needs of them. ``workspaces`` are the names by which chat tells them apart."""

    pages: tuple[MorePages, ...] = ()
    installing: Installing | None = None
    workspaces: tuple[str, ...] = ("",)


def connections(configuration: Configuration, ports: Ports, clock: Clock) -> Connections:
    """What is configured of them. Everything kept is under the newest key afterwards.

    Raises InputError (B110) for keys and secrets that cannot be read, OutsideError.
    """
    if configuration.secrets is None:
        return Connections()
    seal = Seal.read(configuration.secrets)
    reseal_all(ports.store, seal, ("slack-installation", "github-link"))
    slack = installing(configuration, ports.store, seal, clock)
    pages: list[MorePages] = []
    if slack is not None:
        pages.append(slack.pages)
    if ports.links is not None and configuration.github is not None:
        from trimtab_bot.linking.github import site_of
        from trimtab_bot.linking.pages import LinkPages

        pages.append(LinkPages(ports.links, site_of(configuration.github.api_url), configuration.inbox_public_url))
    workspaces = ("",) if slack is None or configuration.slack is None else tuple(configuration.slack.channels)
    return Connections(tuple(pages), slack, workspaces)
