"""The server: Starlette over uvicorn in a thread."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import html
import itertools
import json
import math
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.rigs.slack.limits import Limits
from tests.rigs.slack.oauth import OAuth

Json: TypeAlias = Any
TEAM = "T0HOME"
PATIENCE = 30.0
FORM = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next ``times`` calls of a method: a status; with ``after`` only once the work is done."""

    method: str
    status: int
    after: bool = False
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Connection:
    socket: WebSocket
    loop: asyncio.AbstractEventLoop


class SlackRig:
    """Workspaces with one app, which is in the first of them from the beginning."""

    def __init__(self) -> None:
        self.bot_token, self.app_token = "xoxb-of-the-bot", "xapp-of-the-bot"
        self.oauth = OAuth({self.bot_token: TEAM})
        self.url = ""
        self.faults: list[Fault] = []
        self.signing_secret, self.http = "signing-secret-of-the-app", ""
        self.connections_told = 1
        self.clock: Callable[[], float] = time.time
        self.homes: dict[str, dict[str, Json]] = {}
        self.limits: Limits | None = None
        self.calls: list[str] = []
        self.messages: dict[str, dict[str, Json]] = {}
        self.replies: list[dict[str, Json]] = []
        self.files: dict[str, dict[str, Json]] = {}
        self.users: dict[str, dict[str, Json]] = {}
        self.views: list[dict[str, Json]] = []
        self.responses: list[dict[str, Json]] = []
        self.acks: dict[str, Json] = {}
        self._expected = 0
        self._numbers = itertools.count(1)
        self._connections: list[_Connection] = []
        self._changed = threading.Condition()

    # ------------------------------------------------ what tests do

    def person(self, user: str, team: str = TEAM, **odd: bool) -> str:
        """A member of the workspace; ``odd`` such as ``is_restricted=True``."""
        self.users[user] = {"id": user, "team_id": team, "name": user.lower(), **odd}
        return user

    def await_listener(self) -> None:
        """Until the app listens."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._connections), PATIENCE), "nobody connected"

    def press(
        self,
        user: str,
        action: str,
        message: dict[str, Json],
        team: str = TEAM,
        times: int = 1,
        user_team: str = "",
    ) -> list[Json]:
        """Press a button of a message; gives what the app then said to that person alone.

        ``user_team`` is the person's own workspace where that is another one (Slack Connect).
        """
        before = len(self.responses)
        self._envelope("interactive", self.click(user, action, message, team, user_team), times)
        return self.responses[before:]

    def click(
        self, user: str, action: str, message: dict[str, Json], team: str = TEAM, user_team: str = ""
    ) -> dict[str, Json]:
        """What Slack tells the app when somebody presses a button of a message."""
        (button,) = [
            element
            for block in message["blocks"]
            for element in block.get("elements", ())
            if element.get("action_id") == action
        ]
        return {
            "type": "block_actions",
            "team": {"id": team, "domain": "x"},
            "user": {"id": user, "team_id": user_team or team, "username": user.lower()},
            "api_app_id": "A1",
            "token": "legacy",
            "container": {"type": "message", "message_ts": message["ts"], "channel_id": message["channel"]},
            "channel": {"id": message["channel"], "name": "fleet"},
            "trigger_id": f"trigger-{next(self._numbers)}",
            "response_url": f"{self.url}/respond/{next(self._numbers)}",
            "message": message,
            "actions": [
                {"type": "button", "action_id": action, "block_id": "b", "value": button["value"], "action_ts": "1.1"}
            ],
        }

    def submit(self, user: str, view: dict[str, Json], reason: str, team: str = TEAM) -> Json:
        """Submit a modal; gives what the app answers (errors, or nothing)."""
        payload = {
            "type": "view_submission",
            "team": {"id": team, "domain": "x"},
            "user": {"id": user, "team_id": team, "username": user.lower()},
            "api_app_id": "A1",
            "token": "legacy",
            "trigger_id": f"trigger-{next(self._numbers)}",
            "view": {**view, "id": "V1", "state": {"values": {"reason": {"text": {"value": reason}}}}},
        }
        return self._envelope("interactive", payload)

    def type(self, user: str, text: str, team: str = TEAM) -> str:
        """Type a command; gives the answer that only that person sees."""
        payload = {
            "command": "/trimtab",
            "text": text,
            "team_id": team,
            "team_domain": "x",
            "user_id": user,
            "user_name": user.lower(),
            "channel_id": "C0FLEET",
            "channel_name": "fleet",
            "api_app_id": "A1",
            "token": "legacy",
            "response_url": f"{self.url}/respond/{next(self._numbers)}",
            "trigger_id": f"trigger-{next(self._numbers)}",
        }
        answer = self._envelope("slash_commands", payload)
        # Over HTTP a text alone is answered as plain text.
        return answer if isinstance(answer, str) else str((answer or {}).get("text", ""))

    def drop_connections(self) -> None:
        """As a network does."""
        with self._changed:
            connections, self._connections = self._connections, []
        for each in connections:
            asyncio.run_coroutine_threadsafe(each.socket.close(1012), each.loop).result(PATIENCE)

    def open_home(self, user: str, team: str = TEAM) -> dict[str, Json]:
        """Open the app's home; gives what the app then shows there."""
        before = self.homes.pop(user, None)
        del before
        number = next(self._numbers)
        event = {"type": "app_home_opened", "user": user, "channel": "D1", "tab": "home"}
        body = {
            "type": "event_callback",
            "team_id": team,
            "api_app_id": "A1",
            "event_id": f"Ev{number}",
            "event": event,
        }
        self._envelope("events_api", body)
        return self.home(user)

    def home(self, user: str) -> dict[str, Json]:
        """What the app's home shows to somebody, once it shows something."""
        with self._changed:
            assert self._changed.wait_for(lambda: user in self.homes, PATIENCE), "no home"
            return self.homes[user]

    def press_home(self, user: str, action: str) -> None:
        """Press a button of the home; what is answered is shown there."""
        with self._changed:
            view = self.homes.pop(user)
        button = next(
            element
            for block in view["blocks"]
            for element in block.get("elements", ())
            if element.get("action_id") == action
        )
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "x"},
            "user": {"id": user, "team_id": TEAM, "username": user.lower()},
            "api_app_id": "A1",
            "token": "legacy",
            "container": {"type": "view", "view_id": "V2"},
            "view": {**view, "id": "V2"},
            "trigger_id": f"trigger-{next(self._numbers)}",
            "actions": [
                {"type": "button", "action_id": action, "block_id": "b", "value": button["value"], "action_ts": "1.1"}
            ],
        }
        self._envelope("interactive", payload)
        self.home(user)

    def settle(self) -> None:
        """Until every repeat of what was pressed has been answered."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.responses) >= self._expected, PATIENCE), (
                "an answer is missing"
            )

    def uninstall(self, team: str, at: float | None = None) -> None:
        """Somebody removes the app from a workspace; ``at`` is when, now unless given."""
        with self._changed:
            self.oauth.tokens = {token: each for token, each in self.oauth.tokens.items() if each != team}
        self.tell(team, {"type": "app_uninstalled"}, at)

    def tell(self, team: str, event: dict[str, Json], at: float | None = None) -> None:
        """An event of a workspace."""
        body = {"type": "event_callback", "team_id": team, "api_app_id": "A1", "event": event}
        number = next(self._numbers)
        told = int(time.time() if at is None else at)
        self._envelope("events_api", {**body, "event_id": f"Ev{number}", "event_time": told})

    def request(self, kind: str, payload: dict[str, Json], at: float | None = None) -> tuple[bytes, dict[str, str]]:
        """A signed request, as Slack sends it over HTTP: the raw body and its headers."""
        if kind == "events_api":
            body, content_type = json.dumps(payload), "application/json"
        elif kind == "interactive":
            body, content_type = urllib.parse.urlencode({"payload": json.dumps(payload)}), FORM
        else:
            body, content_type = urllib.parse.urlencode(payload), FORM
        stamp = str(int(self.clock() if at is None else at))
        signed = hmac.new(self.signing_secret.encode(), f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {
            "content-type": content_type,
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": f"v0={signed}",
        }
        return body.encode(), headers

    def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, Json]:
        """Send a request to the app; gives the status and what was answered."""
        request = urllib.request.Request(self.http, data=body, headers=headers, method="POST")  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - a URL of the test's own
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read()
        try:
            return status, json.loads(content or b"null")
        except ValueError:
            return status, content.decode()

    def _envelope(self, kind: str, payload: dict[str, Json], times: int = 1) -> Json:
        responds = kind == "interactive" and payload["type"] == "block_actions" and "response_url" in payload
        self._expected = len(self.responses) + times
        name = f"envelope-{next(self._numbers)}"
        if self.http:
            body, headers = self.request(kind, payload)
            answers = [self.send(body, headers) for _ in range(times)]
            assert {status for status, _ in answers} == {200}, answers
            self.acks[name] = answers[0][1]
        else:
            self._send_envelope(name, kind, payload, times)
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.acks, PATIENCE), "no acknowledgement"
            if responds:
                # What is said to the person alone comes after the acknowledgement.
                wanted = str(payload["response_url"]).rpartition("/")[2]
                self._changed.wait_for(
                    lambda: (
                        any(each["_to"] == wanted for each in self.responses)
                        or any(view["_trigger"] == payload["trigger_id"] for view in self.views)
                    ),
                    PATIENCE,
                )
            return self.acks[name]

    def _send_envelope(self, name: str, kind: str, payload: dict[str, Json], times: int) -> None:
        self.await_listener()
        with self._changed:
            connection = self._connections[-1]
        text = json.dumps({"type": kind, "envelope_id": name, "accepts_response_payload": True, "payload": payload})
        for _ in range(times):
            asyncio.run_coroutine_threadsafe(connection.socket.send_text(text), connection.loop).result(PATIENCE)

    # ------------------------------------------------ what the app calls

    async def api(self, request: Request) -> Response:
        """Every method of the web API."""
        method = request.path_params["method"]
        body = await request.body()
        if request.headers.get("content-type", "").startswith("application/json"):
            given = json.loads(body or b"{}")
        else:
            given = dict(urllib.parse.parse_qsl(body.decode()))
        given = {**dict(request.query_params), **given}
        token = request.headers.get("authorization", "").removeprefix("Bearer ") or given.get("token", "")
        if token.startswith("Basic "):
            client, _, secret = base64.b64decode(token.removeprefix("Basic ")).decode().partition(":")
            given = {**given, "client_id": client, "client_secret": secret}
        with self._changed:
            self.calls.append(method)
            wait = self.limits.ask(method, str(given.get("channel", ""))) if self.limits is not None else 0.0
            if wait:
                return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(math.ceil(wait))})
            fault = next((each for each in self.faults if each.times > 0 and each.method == method), None)
            if fault is not None:
                fault.times -= 1
            if fault is not None and not fault.after:
                return JSONResponse({"ok": False, "error": "fault"}, fault.status, fault.headers)
            answer = self.oauth.call(method, token, given) or self._answer(method, token, given)
            self._changed.notify_all()
        if fault is not None:
            return JSONResponse({"ok": False, "error": "fault"}, fault.status, fault.headers)
        return JSONResponse(answer)

    def _answer(self, method: str, token: str, given: dict[str, Json]) -> dict[str, Json]:
        team = TEAM if method == "apps.connections.open" and token == self.app_token else self.oauth.tokens.get(token)
        if team is None:
            return {"ok": False, "error": "invalid_auth"}
        bot = "B0BOT" if team == TEAM else f"B0{team}"
        for key in ("blocks", "metadata", "view"):
            if isinstance(given.get(key), str):
                given[key] = json.loads(given[key])
        match method:
            case "auth.test":
                return {
                    "ok": True,
                    "team_id": team,
                    "user_id": f"U{bot[1:]}",
                    "bot_id": bot,
                    "url": self.url,
                    "user": "trimtab",
                }
            case "apps.connections.open":
                return {"ok": True, "url": self.url.replace("http://", "ws://") + "/link"}
            case "users.info":
                user = self.users.get(given["user"])
                return {"ok": True, "user": user} if user else {"ok": False, "error": "user_not_found"}
            case "chat.postMessage" if not given.get("thread_ts"):
                ts = f"{1_795_000_000 + next(self._numbers)}.000100"
                said = {**given, "ts": ts, "bot_id": bot, "posted": time.monotonic(), "edits": 0, "_team": team}
                self.messages[ts] = said
                return {"ok": True, "channel": given["channel"], "ts": ts, "message": {"ts": ts}}
            case "chat.update":
                found = self.messages.get(given["ts"])
                if found is None or found["_team"] != team:
                    return {"ok": False, "error": "message_not_found"}
                found.update(given)
                found["edits"] += 1
                return {"ok": True, "channel": given["channel"], "ts": given["ts"]}
            case "conversations.history":
                ordered = sorted(self.messages.items(), reverse=True)
                found_messages = [each for _, each in ordered if each["_team"] == team]
                start = int(given.get("cursor") or 0)
                page = found_messages[start : start + int(given.get("limit", 100))]
                more = str(start + len(page)) if start + len(page) < len(found_messages) else ""
                return {"ok": True, "messages": page, "response_metadata": {"next_cursor": more}}
            case "views.open":
                self.views.append({**given["view"], "_trigger": given["trigger_id"]})
                return {"ok": True, "view": {"id": "V1"}}
        return self._answer_of_threads(method, given)

    def _answer_of_threads(self, method: str, given: dict[str, Json]) -> dict[str, Json]:
        match method:
            case "views.publish":
                self.homes[given["user_id"]] = given["view"]
                return {"ok": True, "view": {"id": "V2"}}
            case "chat.postMessage":
                return self._reply(given)
            case "files.getUploadURLExternal":
                name = f"F{next(self._numbers)}"
                self.files[name] = {"id": name, "name": given["filename"], "length": int(given["length"])}
                return {"ok": True, "upload_url": f"{self.url}/upload/{name}", "file_id": name}
            case "files.completeUploadExternal":
                files = given["files"] if isinstance(given["files"], list) else json.loads(given["files"])
                found_files = [self.files.get(each["id"]) for each in files]
                if not all(
                    each is not None and len(each.get("content", b"")) == each["length"] for each in found_files
                ):
                    return {"ok": False, "error": "file_not_found"}
                shown = [{"id": each["id"], "name": each["name"]} for each in found_files if each]
                text = given.get("initial_comment", "")
                return self._reply({**given, "channel": given["channel_id"], "text": text, "files": shown})
            case "conversations.replies":
                parent = self.messages.get(given["ts"])
                if parent is None:
                    return {"ok": False, "error": "thread_not_found"}
                thread = [each for each in self.replies if each["thread_ts"] == given["ts"]]
                return {"ok": True, "messages": [parent, *thread], "response_metadata": {"next_cursor": ""}}
        return {"ok": False, "error": "unknown_method"}

    def _reply(self, given: dict[str, Json]) -> dict[str, Json]:
        if given["thread_ts"] not in self.messages:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"{1_795_000_000 + next(self._numbers)}.000200"
        self.replies.append({**given, "ts": ts, "bot_id": "B0BOT"})
        return {"ok": True, "channel": given["channel"], "ts": ts, "files": given.get("files", [])}

    async def authorize(self, request: Request) -> Response:
        """The page on which Slack asks a person: one link for each workspace in which they may say yes."""
        choices = "".join(
            f'<p><a id="{team}" href="{html.escape(self.oauth.consent(str(request.url), team))}">{team}</a></p>'
            for team in sorted(self.oauth.teams)
        )
        return Response(f"<!doctype html><title>rig</title>{choices}", media_type="text/html")

    async def upload(self, request: Request) -> Response:
        """Where a file's bytes go."""
        content = await request.body()
        with self._changed:
            self.files[request.path_params["name"]]["content"] = content
        return Response("OK")

    async def respond(self, request: Request) -> Response:
        """A response_url."""
        content = json.loads(await request.body())
        with self._changed:
            self.responses.append({**content, "_to": request.path_params["number"]})
            self._changed.notify_all()
        return JSONResponse({"ok": True})

    async def link(self, socket: WebSocket) -> None:
        """Socket Mode."""
        await socket.accept()
        await socket.send_text(
            json.dumps({"type": "hello", "num_connections": self.connections_told, "connection_info": {"app_id": "A1"}})
        )
        connection = _Connection(socket, asyncio.get_running_loop())
        with self._changed:
            self._connections.append(connection)
            self._changed.notify_all()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                text = await socket.receive_text()
                message = json.loads(text)
                with self._changed:
                    self.acks[message["envelope_id"]] = message.get("payload")
                    self._changed.notify_all()
        with self._changed:
            if connection in self._connections:
                self._connections.remove(connection)


@contextlib.contextmanager
def slack() -> Iterator[SlackRig]:
    """A running rig."""
    rig = SlackRig()
    app = Starlette(
        routes=[
            Route("/api/{method}", rig.api, methods=["GET", "POST"]),
            Route("/oauth/v2/authorize", rig.authorize),
            Route("/upload/{name}", rig.upload, methods=["POST"]),
            Route("/respond/{number}", rig.respond, methods=["POST"]),
            WebSocketRoute("/link", rig.link),
        ]
    )
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, ws="wsproto", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="slack-rig")
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < deadline, "the rig did not start"
        time.sleep(0.01)
    rig.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield rig
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(PATIENCE)
