"""How the C library keeps memory between requests: glibc hands large pieces back to the system after each use.

A 602 kB tensor then costs some 260 page faults, two thirds of the CPU time of its whole request. What is kept instead
is bounded: at most so many bytes at the heap's end, and larger pieces are still handed back.
"""

from __future__ import annotations

import ctypes

KEPT_BYTES = 16 * 1024 * 1024
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
"""malloc.h of glibc."""


def keep_freed_memory() -> bool:
    """Tell glibc, for this process; False where there is another C library, which is then left as it is."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - only glibc has it; other libraries have a mallopt that does nothing
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))
