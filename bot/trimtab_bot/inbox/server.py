"""Runs the inbox beside the bot's loop."""

from __future__ import annotations

from trimtab_bot.serving import Served, ThreadedServer


class InboxServer(ThreadedServer):
    """The running inbox."""

    def __init__(
        self, inbox: Served, host: str = "127.0.0.1", port: int = 0, public_hosts: tuple[str, ...] = ()
    ) -> None:
        """``public_hosts``: further Host header values (``name`` or ``name:port``) under which a proxy reaches it."""
        super().__init__(inbox, host, port, public_hosts, setting="inbox.port")
