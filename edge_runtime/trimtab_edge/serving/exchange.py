"""A request and a reply over HTTP, as connections and applications hand them to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trimtab_edge.serving.failure import Fault

Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"
Reply: TypeAlias = "tuple[int, bytes, bytes, Headers]"
"""Status, body, content type, and further headers with names in lower case."""
CLOSE: Headers = ((b"connection", b"close"),)
"""The headers of a reply behind which nothing is read any more."""


class Request:
    """One request. Plain slots and no dataclass: one is made for every request, and filled in as it arrives."""

    __slots__ = (
        "body", "chunked", "client", "expects", "headers", "json_length", "keep_alive", "length", "method", "old", "refusal",
        "start", "target", "timeout",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], client: str) -> None:
        """``headers`` with names in lower case; ``client``: the other end's address."""
        self.method = method
        self.target = target
        self.headers = headers
        self.client = client
        self.length = 0
        """Of the body, as its header says."""
        self.chunked = False
        self.expects = False
        """The client waits for a word before it sends the body (RFC 9110, 10.1.1)."""
        self.keep_alive = True
        self.old = False
        """HTTP/1.0."""
        self.json_length: int | None = None
        """Of the JSON before binary tensor data, where the body holds both."""
        self.timeout: float | None = None
        """Seconds within which an answer is of use, as its head says."""
        self.body: bytes = b""
        self.start = 0
        """Where the content begins within ``body``."""
        self.refusal: Reply | None = None
        """What it is answered with, whatever its body is."""

    def like(self, body: bytes) -> Request:
        """A request with the same head and another body; of a plain one."""
        made = Request(self.method, self.target, self.headers, self.client)
        made.length, made.json_length, made.timeout, made.body = self.length, self.json_length, self.timeout, body
        return made

    @property
    def plain(self) -> bool:
        """Whether all that matters of its head is what :meth:`like` repeats."""
        return self.keep_alive and not (self.old or self.chunked or self.expects) and self.refusal is None

    @property
    def special(self) -> bool:
        """Whether its answer's head differs from the usual one."""
        return self.old or self.method == b"HEAD"

    @property
    def content(self) -> bytes | memoryview:
        """The body."""
        return memoryview(self.body)[self.start :] if self.start else self.body


class Application(Protocol):
    """What answers the requests of a port. None of its methods raises."""

    def judge(self, request: Request) -> Reply | None:
        """Look at a head whose body is still to come: say what to refuse it with, and note what its body will be."""

    def spoiled(self, request: Request, fault: Fault) -> Reply:
        """The refusal of a request whose body was too large or did not come in time."""

    def answer(self, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
        """Answer a whole request, at once or later."""
