"""The manifest of the Slack app, as Slack reads it (https://docs.slack.dev/reference/app-manifest). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_kernel.canonical import Json

SCOPES = (
    *("chat:write", "commands", "users:read", "channels:history", "groups:history", "metadata.message:read"),
    "files:write",
)
"""What the app may do, and no more: speak, be commanded, tell guests from members, find its own messages, show a picture."""


def manifest(url: str = "", redirect: str = "") -> dict[str, Json]:
    """The manifest; for Socket Mode, or with the ``url`` where Slack reaches the bot over HTTP.

    With ``redirect``, where Slack sends browsers back, the app can be installed into several workspaces: its tokens are renewed,
    and the bot is told where it was removed.
    """
    command: dict[str, Json] = {
        "command": "/trimtab",
        "description": "What is watched, why something is proposed, approve or deny it",
        "usage_hint": "status | why ID | approve ID DIGEST | deny ID DIGEST REASON | help",
        "should_escape": True,
    }
    events: dict[str, Json] = {"bot_events": ["app_home_opened"]}
    oauth: dict[str, Json] = {"scopes": {"bot": list(SCOPES)}}
    if redirect:
        events["bot_events"] = ["app_home_opened", "app_uninstalled", "tokens_revoked"]
        oauth["redirect_urls"] = [redirect]
    interactivity: dict[str, Json] = {"is_enabled": True}
    if url:
        command["url"] = events["request_url"] = interactivity["request_url"] = url
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": "Trimtab",
            "description": "Rollbacks of models on edge fleets, decided here",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": False,
                "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": "trimtab", "always_online": False},
            "slash_commands": [command],
        },
        "oauth_config": oauth,
        "settings": {
            "event_subscriptions": events,
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": not url,
            "token_rotation_enabled": bool(redirect),
        },
    }
