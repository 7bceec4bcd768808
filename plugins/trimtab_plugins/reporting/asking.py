"""Agents are asked over HTTP, many at a time, each within limits of time and size; none of them is believed to be well-behaved."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import urllib3

from trimtab_plugins.flux.fetching import plain_text
from trimtab_plugins.reporting.exposition import MOST_BYTES, agent_report
from trimtab_plugins.reporting.status import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trimtab_plugins.reporting.cluster import Agent

_AT_ONCE = 32
_CONNECT_SECONDS = 2.0
_READ_SECONDS = 3.0
_WHOLE_SECONDS = 6.0
"""For an answer that comes a byte at a time."""


class AgentAsker:
    """Asks agents for their metrics. :meth:`close` ends its threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ask-agent")

    def ask(self, agents: Sequence[Agent]) -> list[Device]:
        """One device for each agent, in their order; never raises for what an agent does."""
        return list(self._pool.map(self._one, agents))

    def close(self) -> None:
        """Wait for the questions under way."""
        self._pool.shutdown()

    def _one(self, agent: Agent) -> Device:
        if agent.address is None:
            return Device(agent.device, None, agent.silence)
        host, port = agent.address
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return Device(agent.device, agent_report(_fetched(f"http://{netloc}/metrics")))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            return Device(agent.device, None, plain_text(error))


def _fetched(url: str) -> bytes:
    with urllib3.PoolManager(num_pools=1, maxsize=1, retries=False) as pool:
        answer = pool.request(
            "GET",
            url,
            headers={"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity", "Connection": "close"},
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            preload_content=False,
            redirect=False,
        )
        try:
            if answer.status != 200:
                raise ValueError(f"status {answer.status} instead of metrics")
            end = time.monotonic() + _WHOLE_SECONDS
            parts, size = [], 0
            # One receive at a time: a larger read would wait for all its bytes, however slowly they come.
            while part := answer.read1(16 << 10, decode_content=False):
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise ValueError(f"more than {MOST_BYTES} bytes of metrics")
                if time.monotonic() > end:
                    raise ValueError(f"no whole answer within {_WHOLE_SECONDS:g} s")
            return b"".join(parts)
        finally:
            answer.close()
