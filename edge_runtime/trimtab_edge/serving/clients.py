"""A share for each client: a token bucket per address or API key, in bounded memory.

Keys are kept as keyed hashes under a secret of this process: neither an address nor an API key can be read from memory
dumps or leaves with anything. Token bucket: a client may ask ``burst`` times at once, and ``rate`` times a second on.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

MAX_CLIENTS = 4096


class ClientShares:
    """Used on one event loop; ``secret`` keys the hashes, times are a steady clock's seconds."""

    def __init__(self, rate: float, burst: float, secret: bytes, *, capacity: int = MAX_CLIENTS) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._secret = secret
        self._capacity = capacity
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """The clients that are remembered."""
        return len(self._buckets)

    def take(self, client: bytes, now: float) -> float:
        """0 where the client may ask now; else the seconds until it may."""
        key = hashlib.blake2b(client, digest_size=16, key=self._secret).digest()
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        wait = 0.0
        if tokens >= 1:
            tokens -= 1
        else:
            wait = (1 - tokens) / self._rate
        self._buckets[key] = (tokens, now)
        if len(self._buckets) > self._capacity:
            # Who has not asked for longest is forgotten: its bucket is the fullest one, so it gains least by it.
            self._buckets.popitem(last=False)
        return wait
