"""Posts and updates messages through Slack's web API."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from trimtab_bot.chat.interface import Place
from trimtab_bot.chat.slack.blocks import METADATA, REPLY, message_blocks, message_text, reply_text
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from slack_sdk.web import SlackResponse

    from trimtab_bot.chat.interface import Message, Reply

API = "https://slack.com/api/"
TIMEOUT = 10
_LOOK_BACK = 200
_TOO_MANY = 429
_GONE = frozenset({"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"})


def web_client(token: str | None, base_url: str = API) -> WebClient:
    """A client that repeats nothing by itself: a post that is sent twice is two messages."""
    return WebClient(token=token, base_url=base_url, timeout=TIMEOUT, retry_handlers=[])


class SlackRoom:
    """A :class:`trimtab_bot.chat.interface.ChatRoom` in one channel."""

    def __init__(self, client: WebClient, channel: str) -> None:
        self._client = client
        self._channel = channel

    def find(self, incident: str) -> Place | None:
        """See ChatRoom. Our own messages carry their incident as metadata, which nobody else can write for us."""
        me = self._call("who we are", self._client.auth_test).get("bot_id")
        cursor = ""
        seen = 0
        while seen < _LOOK_BACK:
            answer = self._call(
                "earlier messages",
                self._client.conversations_history,
                channel=self._channel,
                limit=100,
                cursor=cursor,
                include_all_metadata=True,
            )
            for message in answer["messages"]:
                seen += 1
                metadata = message.get("metadata") or {}
                payload = metadata.get("event_payload") or {}
                if (
                    message.get("bot_id") == me
                    and metadata.get("event_type") == METADATA
                    and payload.get("incident") == incident
                ):
                    return Place(self._channel, message["ts"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return None

    def post(self, message: Message) -> Place:
        """See ChatRoom."""
        answer = self._call(
            "a message",
            self._client.chat_postMessage,
            channel=self._channel,
            text=message_text(message),
            blocks=message_blocks(message),
            metadata={"event_type": METADATA, "event_payload": {"incident": message.incident}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return Place(answer["channel"], answer["ts"])

    def update(self, place: Place, message: Message) -> None:
        """See ChatRoom."""
        try:
            self._call(
                "a message",
                self._client.chat_update,
                channel=place.channel,
                ts=place.id,
                text=message_text(message),
                blocks=message_blocks(message),
                metadata={"event_type": METADATA, "event_payload": {"incident": message.incident}},
            )
        except _GoneError:
            return

    def has_reply(self, place: Place, through: int) -> bool:
        """See ChatRoom. A text carries its mark as metadata, a picture in its file's name."""
        me = self._call("who we are", self._client.auth_test).get("bot_id")
        cursor = ""
        for _ in range(_LOOK_BACK // 100):
            try:
                answer = self._call(
                    "a thread",
                    self._client.conversations_replies,
                    channel=place.channel,
                    ts=place.id,
                    limit=100,
                    cursor=cursor,
                    include_all_metadata=True,
                )
            except _GoneError:
                return True
            for message in answer["messages"]:
                metadata = message.get("metadata") or {}
                marked = metadata.get("event_type") == REPLY and metadata["event_payload"].get("through") == through
                pictured = any(file.get("name") == _picture_name(through) for file in message.get("files") or ())
                if message.get("bot_id") == me and (marked or pictured):
                    return True
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return False

    def reply(self, place: Place, reply: Reply) -> None:
        """See ChatRoom."""
        text = reply_text(reply)
        try:
            if reply.picture is not None:
                self._upload(place, text, reply.picture, _picture_name(reply.through))
                return
            self._call(
                "a reply",
                self._client.chat_postMessage,
                channel=place.channel,
                thread_ts=place.id,
                text=text,
                mrkdwn=True,
                metadata={
                    "event_type": REPLY,
                    "event_payload": {"incident": reply.incident, "through": reply.through},
                },
                unfurl_links=False,
                unfurl_media=False,
            )
        except _GoneError:
            return

    def _upload(self, place: Place, text: str, content: bytes, name: str) -> None:
        """The three steps of an upload; only the last one makes anything visible."""
        asked = self._call(
            "a place for a picture",
            self._client.files_getUploadURLExternal,
            filename=name,
            length=len(content),
            alt_txt="The measured interval against its limit",
        )
        try:
            request = urllib.request.Request(str(asked["upload_url"]), data=content, method="POST")  # noqa: S310 - Slack's answer
            with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310 - see above
                pass
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise OutsideError(f"slack: a picture: no answer ({type(error).__name__})") from error
        self._call(
            "a picture",
            self._client.files_completeUploadExternal,
            files=[{"id": asked["file_id"], "title": "evidence"}],
            channel_id=place.channel,
            thread_ts=place.id,
            initial_comment=text,
        )

    def _call(self, what: str, method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:  # noqa: ANN401 - as slack_sdk takes them
        try:
            return method(**arguments)
        except SlackApiError as error:
            reason = str(error.response.get("error", "")) if isinstance(error.response.data, dict) else ""
            if error.response.status_code == _TOO_MANY:
                after = float(error.response.headers.get("Retry-After", "30"))
                raise OutsideError(f"slack: {what}: too many requests", after) from error
            if reason in _GONE:
                raise _GoneError from error
            raise OutsideError(f"slack: {what}: {reason or f'status {error.response.status_code}'}") from error
        except (SlackClientError, urllib.error.URLError, OSError, ValueError) as error:
            raise OutsideError(f"slack: {what}: no answer ({type(error).__name__})") from error


def _picture_name(through: int) -> str:
    return f"trimtab-evidence-{through}.png"


class _GoneError(Exception):
    """Somebody removed the message, or it can no longer be changed."""
