"""The ports to leadership and to a lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from trimtab_kernel.election import Write


class Leadership(Protocol):
    """Whether this process acts."""

    def epoch(self) -> int | None:
        """The fencing token under which this process may act now; None where another one does. Any thread may ask."""
        ...


class LeaseStore(Protocol):
    """One lease. Methods raise OutsideError where it cannot be reached within ``timeout`` seconds."""

    def read(self, timeout: float) -> dict[str, Any] | None:
        """The lease; None where there is none."""
        ...

    def write(self, write: Write, timeout: float) -> str | None:
        """The version that was stored; None where somebody else was first."""
        ...
