"""A site whose origin is a repository on the rig's GitHub, with what people say there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from github import Auth

from tests.bot.rig import PEOPLE, Site
from tests.rigs.git_http import git_over_http
from tests.rigs.github import User, github
from trimtab_bot.assembly import HostSide, github_side
from trimtab_bot.reviews.accounts import Accounts
from trimtab_bot.reviews.listener import Listener
from trimtab_config.githost.github import connect

if TYPE_CHECKING:
    from github.Repository import Repository

    from trimtab_bot.configuration import Configuration
    from trimtab_config.githost.interface import GitHost

ROBOT = User("trimtab[bot]", 77, "ghs_token-of-the-bot", "Bot")
MARA = User("mara", 5, "ghp_token-of-mara")
BO, ADA, CY, EVE = (
    User(name, number, f"ghp_token-of-{name}") for name, number in (("bo", 6), ("ada", 7), ("cy", 8), ("eve", 666))
)
LINKED = {"mara": [5], "bo": [6], "ada": [7], "cy": [8], "robot": [77]}


def linked_people() -> list[dict[str, Any]]:
    """The rig's persons with their accounts; eve is nobody."""
    return [{**each, "github": LINKED.get(each["id"], [])} for each in PEOPLE]


class GitHubSite(Site):
    """A site whose origin is a repository on GitHub; the bot has a mirror of it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack = stack
        secret = folder / "token"
        secret.write_text(ROBOT.token + "\n")
        self.rig = stack.enter_context(github(folder / "fleet.git", ROBOT, MARA, BO, ADA, CY, EVE))
        self.clone_url = stack.enter_context(git_over_http(folder, ROBOT.token)) + "/fleet.git"
        section = {
            "repository": "acme/fleet",
            "tokenFile": "token",
            "apiUrl": self.rig.base_url,
            "cloneUrl": self.clone_url,
        }
        self.changes: dict[str, Any] = {
            "repository": "mirror.git",
            "github": section,
            "people": linked_people(),
        }
        super().__init__(folder, **self.changes)

    def git_host(self, configuration: Configuration) -> tuple[GitHost, Callable[[], None]]:
        assert configuration.github is not None
        self.side: HostSide = github_side(configuration, configuration.github, lambda: self.now, 0)
        self._stack.callback(self.side.close)
        return self.side.host, self.side.refresh

    def acting_as(self, user: User) -> Repository:
        """The repository as somebody's own client has it; its connections end with the site."""
        client = connect(self.rig.base_url, Auth.Token(user.token), 0)
        self.stack.callback(client.close)
        return client.get_repo("acme/fleet")

    def listener(self) -> Listener:
        """A new one, as after a restart."""
        settings, conversation = self.configuration.github, self.side.conversation
        assert settings is not None
        assert conversation is not None
        return Listener(
            conversation,
            self.bot.decisions,
            self.bot.commands,
            self.store,
            Accounts(settings.people),
            self.side.account,
            lambda: self.now,
            settings.check,
        )

    def answers(self) -> list[str]:
        """What the bot said on pull requests, oldest first, without the hidden line."""
        ordered = sorted(self.rig.comments.items())
        return [
            each.body.partition("\n")[2]
            for _, each in ordered
            if each.user == ROBOT and each.body.startswith("<!-- trimtab:answer")
        ]
