"""Why a request gets no result. Neutral of any protocol: each transport maps a fault to its own status."""

from __future__ import annotations

from enum import Enum, auto


class Fault(Enum):
    """Whose fault it is, and what the client may do about it."""

    INVALID = auto()
    """The request is wrong; the same request will fail again."""
    NOT_FOUND = auto()
    """No such path, model or version."""
    CONFLICT = auto()
    """The request is right, but the state of the model repository does not allow it."""
    FORBIDDEN = auto()
    """Nobody may ask this of this server."""
    TOO_LARGE = auto()
    """The body is beyond the limit."""
    UNSUPPORTED_MEDIA = auto()
    """The body is in a form that is not spoken here."""
    TIMED_OUT = auto()
    """The request did not arrive in time."""
    DEADLINE = auto()
    """The request was not answered within the time that it was given."""
    LIMITED = auto()
    """This client, or this model on this device, has had its share for now; later will do."""
    OVERLOADED = auto()
    """The queue is full; later will do."""
    UNAVAILABLE = auto()
    """The model does not answer now (loading, or it failed to load)."""
    INTERNAL = auto()
    """Our fault, or the model's."""


class RequestError(Exception):
    """``message`` is one lowercase line for the client: the place, what was got, what was expected."""

    def __init__(self, fault: Fault, message: str, retry_after: float | None = None) -> None:
        """``retry_after``: seconds after which the same request may do better, where that is known."""
        self.fault = fault
        self.message = message
        self.retry_after = retry_after
        super().__init__(message)
