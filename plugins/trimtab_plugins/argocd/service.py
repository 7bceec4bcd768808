"""The four calls of ``plugin.ConfigManagementPluginService``: bytes in, a question to the renderer, bytes or a status out.

Nothing is said before the whole stream is read: Argo CD shows an answer before that as "error sending stream: EOF". The one
exception is a deadline that comes near.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import re
import sys
import time
import traceback
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from trimtab_kernel.problems import InputError, OutsideError, Problem, printable, quoted
from trimtab_plugins.argocd import config_management_plugin_pb2 as pb
from trimtab_plugins.argocd.checkout import Checkout, FleetFiles, fleet_folder
from trimtab_plugins.argocd.diagnosis import MAX_BYTES, cut, diagnosis
from trimtab_plugins.argocd.parameters import Wish, read_wish, shown_folder
from trimtab_plugins.argocd.progress import Progress
from trimtab_plugins.argocd.runs import Runs
from trimtab_plugins.argocd.telemetry import Outcome
from trimtab_plugins.argocd.unpacking import Limits, Unpacking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from trimtab_plugins.argocd.parameters import Announcement
    from trimtab_plugins.argocd.plugin_config import Discover, PluginConfig
    from trimtab_plugins.argocd.rendering import Renderer
    from trimtab_plugins.argocd.telemetry import Telemetry

    Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
    Answer: TypeAlias = Callable[["Call"], Awaitable[bytes]]

SERVICE = "plugin.ConfigManagementPluginService"
MARGIN = 1.0
"""Seconds before the deadline at which a call is answered, with what is known until then."""
LONGEST = 600.0
"""Seconds for a call whose caller sets no deadline."""
_AT_ONCE = 0.002  # seconds of unpacking before others get their turn; giving it costs a tenth of a millisecond
_FREELY_KEPT = 2 * 1024 * 1024  # bytes of manifests that any call may keep
_LARGE_AT_ONCE = 3  # calls that keep more; the others wait, and repo-server with them
_DRAINED = 4 * 1024 * 1024 * 1024  # bytes of a refused archive that are read before the call is given up
_STATUS = {
    "A105": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "A115": grpc.StatusCode.DEADLINE_EXCEEDED,
    "A116": grpc.StatusCode.FAILED_PRECONDITION,
    "A118": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "A119": grpc.StatusCode.INTERNAL,
}


class Call:
    """One stream: what came with it, and how far it is."""

    def __init__(self, name: str, context: Context, limits: Limits, runs: Runs, large: asyncio.Semaphore) -> None:
        """``large`` admits the calls that keep more than a little, so that many at once do not fill the memory."""
        self._large = large
        self._is_large = False
        self.context = context
        self.outcome = Outcome(name)
        self.progress = Progress(time.monotonic)
        self.environment: dict[str, str] = {}
        self.folder = ""
        self.shown = ""
        self.last_byte = time.monotonic()
        self._limits = limits
        self._runs = runs
        self._metadata: pb.ManifestRequestMetadata | None = None
        self._refusals: list[InputError] = []
        self._checkout: Checkout | None = None
        self._unpacking: Unpacking | None = None
        self._hash = hashlib.sha256()
        self._received = 0

    async def receive(self) -> Checkout:
        """Read the stream to its end. Raises InputError with the first reason why the archive cannot be taken."""
        while True:
            message: object = await self.context.read()
            if message is grpc.aio.EOF:
                break
            await self._take(message)
        self.last_byte = time.monotonic()
        self._judge_transport()
        assert self._unpacking is not None
        assert self._checkout is not None
        if not self._refusals:
            self._unpacking.finish()
        self._raise_first()
        return self._checkout

    def files(self, checkout: Checkout) -> FleetFiles:
        """The fleet of a checkout, problems named as the repository does."""
        fleet = checkout.fleet()
        self.outcome.files = len(fleet.files)
        return fleet

    def end(self) -> None:
        """Nothing is kept any more."""
        if self._is_large:
            self._is_large = False
            self._large.release()

    async def _take(self, message: object) -> None:
        assert isinstance(message, bytes)
        try:
            request = pb.AppStreamRequest.FromString(message)
        except DecodeError:
            self._refuse("a message that is none of the protocol", "an AppStreamRequest")
            return
        if request.HasField("file"):
            await self._chunk(request.file.chunk)
        elif request.HasField("metadata"):
            self._begin(request.metadata)
        else:
            self._refuse("an empty message", "metadata or a part of the archive")

    def _begin(self, metadata: pb.ManifestRequestMetadata) -> None:
        if self._metadata is not None:
            self._refuse("metadata a second time", "metadata once, then the archive")
            return
        self._metadata = metadata
        for entry in metadata.env:
            self.environment[entry.name] = entry.value
        self.outcome.app = self.environment.get("ARGOCD_APP_NAME") or metadata.appName
        self.outcome.revision = self.environment.get("ARGOCD_APP_REVISION", "")
        self.outcome.folder = metadata.appRelPath
        try:
            self.folder = fleet_folder(metadata.appRelPath)
        except InputError as error:
            self._refusals.append(error)
        self.shown = shown_folder(self.environment, self.folder)
        self._checkout = Checkout(self.folder)
        self._unpacking = Unpacking(self._checkout, self._limits, self._runs)

    async def _chunk(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._unpacking is None:
            self._refuse("a part of the archive before the metadata", "metadata first")
            return
        if self._received > _DRAINED:
            self._raise_first()
        self._hash.update(chunk)
        if self._refusals:
            return
        begun = time.monotonic()
        try:
            for _ in self._unpacking.feed(chunk):
                if time.monotonic() - begun >= _AT_ONCE:
                    await asyncio.sleep(0)
                    begun = time.monotonic()
        except InputError as error:
            self._refusals.append(error)
        self.outcome.archive_bytes = self._received
        self.outcome.entries = self._unpacking.entries
        if not self._is_large and self._checkout is not None and self._checkout.kept_bytes > _FREELY_KEPT:
            self.progress.enter("wait")
            await self._large.acquire()
            self._is_large = True
            self.progress.enter("receive")

    def _judge_transport(self) -> None:
        self.outcome.archive_bytes = self._received
        metadata = self._metadata
        if metadata is None:
            self._refuse("a stream without metadata", "metadata, then the archive")
            self._raise_first()
            return
        if self._refusals and self._refusals[0].problems[0].code in {"A102", "A105"}:
            self._raise_first()
        if self._received != metadata.size:
            problem = Problem("A104", got=f"{self._received} bytes", expected=f"{metadata.size}, as announced")
            raise InputError(problem)
        if self._hash.hexdigest() != metadata.checksum.lower():
            got, expected = f"sha256 {self._hash.hexdigest()[:16]}...", f"{quoted(metadata.checksum, 16)}, as announced"
            raise InputError(Problem("A103", got=got, expected=expected))

    def _refuse(self, got: str, expected: str) -> None:
        if len(self._refusals) < 3:
            self._refusals.append(InputError(Problem("A102", got=got, expected=expected)))

    def _raise_first(self) -> None:
        if self._refusals:
            raise self._refusals[0]


class PluginService:
    """All calls, over one renderer."""

    def __init__(
        self, config: PluginConfig, renderer: Renderer, executor: Executor, telemetry: Telemetry, limits: Limits
    ) -> None:
        """``executor`` has the threads that render; streams are read on the event loop."""
        self._config = config
        self._renderer = renderer
        self._executor = executor
        self._telemetry = telemetry
        self._limits = limits
        self._runs = Runs()  # of all calls, which are read on one loop
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._announced = pb.ParametersAnnouncementResponse(
            parameterAnnouncements=[_message(each) for each in config.announced]
        ).SerializeToString()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What grpc calls."""
        streams = {
            "GenerateManifest": self._generate,
            "MatchRepository": self._match,
            "GetParametersAnnouncement": self._announce,
        }
        rpcs: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.stream_unary_rpc_method_handler(self._answering(name, each)) for name, each in streams.items()
        }
        rpcs["CheckPluginConfiguration"] = grpc.unary_unary_rpc_method_handler(self._check)
        return grpc.method_handlers_generic_handler(SERVICE, rpcs)

    async def _check(self, content: bytes, context: Context) -> bytes:
        del content, context
        return pb.CheckPluginConfigurationResponse(
            isDiscoveryConfigured=bool(self._config.discover), provideGitCreds=False
        ).SerializeToString()

    async def _generate(self, call: Call) -> bytes:
        checkout = await call.receive()
        call.progress.enter("wait")
        wish = read_wish(call.environment)
        call.outcome.group = wish.group
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._executor, self._render, call, checkout, wish)
        call.progress.enter("answer")
        return response

    def _render(self, call: Call, checkout: Checkout, wish: Wish) -> bytes:
        call.progress.enter("read")
        rendered = self._renderer.render(call.files(checkout), wish, call.shown, call.progress)
        call.outcome.objects = len(rendered.manifests)
        call.outcome.cached = rendered.cached
        return pb.ManifestResponse(manifests=rendered.manifests, sourceType="Plugin").SerializeToString()

    async def _match(self, call: Call) -> bytes:
        checkout = await call.receive()
        discover = self._config.discover
        checkout.fleet()
        supported = bool(discover) and matches(discover, [*checkout.names(), *checkout.folders()])
        return pb.RepositoryResponse(isSupported=supported, isDiscoveryEnabled=bool(discover)).SerializeToString()

    async def _announce(self, call: Call) -> bytes:
        await call.receive()
        return self._announced

    def _answering(self, name: str, answer: Answer) -> Callable[[object, Context], Awaitable[bytes]]:
        async def rpc(requests: object, context: Context) -> bytes:
            del requests  # read by the call itself
            call = Call(name, context, self._limits, self._runs, self._large)
            self._telemetry.begin()
            try:
                return await self._bounded(call, answer)
            finally:
                call.end()
                call.outcome.answer = time.monotonic() - call.last_byte
                call.outcome.stages = {
                    stage: spent for stage, spent in call.progress.seconds().items() if spent >= 0.0005
                }
                slowest, spent = call.progress.slowest()
                call.outcome.slowest = f"{slowest}:{spent:.2f}s" if spent >= 0.1 else ""
                self._telemetry.end(call.outcome)

        return rpc

    async def _bounded(self, call: Call, answer: Answer) -> bytes:
        remaining: float | None = call.context.time_remaining()
        budget = LONGEST if remaining is None else max(remaining - MARGIN, remaining / 2)
        task = asyncio.ensure_future(answer(call))
        try:
            done, _ = await asyncio.wait({task}, timeout=budget)
            if not done:
                problem = Problem("A115", got=str(call.progress), expected=f"an answer within {budget:.1f} s")
                await self._abort(call, (problem,))
            return task.result()
        except InputError as error:
            await self._abort(call, error.problems)
        except OutsideError as error:
            call.outcome.status = grpc.StatusCode.UNAVAILABLE.name
            await call.context.abort(grpc.StatusCode.UNAVAILABLE, cut(printable(str(error)), MAX_BYTES))
            raise AssertionError from error  # abort raises
        except (grpc.aio.AbortError, asyncio.CancelledError):
            call.outcome.status = "CANCELLED" if call.outcome.status == "OK" else call.outcome.status
            raise
        except Exception as error:  # whatever else goes wrong is ours
            traceback.print_exception(error, file=sys.stderr)
            await self._abort(call, (Problem("A119", got=type(error).__name__, expected="no failure"),))
        finally:
            call.progress.abandon()  # a render that is still going ends at its next file
            task.cancel()

    async def _abort(self, call: Call, problems: tuple[Problem, ...]) -> NoReturn:
        status = _STATUS.get(problems[0].code, grpc.StatusCode.INVALID_ARGUMENT)
        call.outcome.status = status.name
        call.outcome.codes = tuple(sorted({problem.code for problem in problems}))[:20]
        await call.context.abort(status, diagnosis(problems, call.shown))
        raise AssertionError  # abort raises


def matches(discover: Discover, names: list[str]) -> bool:
    """Whether one of ``names`` (below the Application's folder) fits: fileName wins over glob, as in the stock server."""
    if discover.file_name:
        parts = discover.file_name.removeprefix("./").split("/")
        return any(
            len(found) == len(parts) and all(fnmatch.fnmatchcase(*pair) for pair in zip(found, parts, strict=True))
            for found in (name.split("/") for name in names)
        )
    whole = _glob(discover.glob)
    return any(whole.fullmatch(name) for name in names)


@lru_cache(maxsize=16)
def _glob(pattern: str) -> re.Pattern[str]:
    """``**`` stands for any folders, none included; ``*`` and ``?`` stay within one name."""
    text = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./")):
        text += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(text, re.DOTALL)


def _message(announcement: Announcement) -> pb.ParameterAnnouncement:
    return pb.ParameterAnnouncement(
        name=announcement.name,
        title=announcement.title,
        tooltip=announcement.tooltip,
        required=announcement.required,
        itemType=announcement.item_type,
        collectionType=announcement.collection_type,
        string=announcement.string,
        array=announcement.array,
        map=dict(announcement.mapping),
    )
