"""What the server does on the side: reading meters, and letting noisy counts move."""

from __future__ import annotations

import asyncio
import logging
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from trimtab_edge.telemetry.resources import INTERVAL

if TYPE_CHECKING:
    from trimtab_edge.serving.release import Release
    from trimtab_edge.telemetry.inference import InferenceCounts
    from trimtab_edge.telemetry.resources import Resources

_log = logging.getLogger("trimtab.serve")


async def watch_resources(resources: Resources, counts: InferenceCounts, interval: float = INTERVAL) -> None:
    """Read the meters every ``interval`` seconds, until cancelled."""
    _log.info(
        "energy: %s (%s%s); memory: %s; gpu: %s",
        resources.energy.name,
        resources.energy.grade.value,
        f", {resources.energy.detail}" if resources.energy.detail else "",
        resources.memory_source.name,
        resources.gpu_grade.value,
    )
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="meters") as thread:
        while True:
            cpu = counts.cpu_ns()
            reading = await loop.run_in_executor(thread, resources.read, time.monotonic())
            resources.settle(reading, cpu)
            await asyncio.sleep(interval)


async def release_counts(release: Release, counts: InferenceCounts, period: float) -> None:
    """Let what is shown of the counts move once a period (seconds), until cancelled."""
    while True:
        await asyncio.sleep(period)
        release.advance(counts)


def system_facts() -> dict[str, str]:
    """The operating system's name and version (os-release(5), where there is one), and the processor's architecture."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    return {
        "os": release.get("ID", platform.system().lower()),
        "os_version": release.get("VERSION_ID", platform.release()),
        "architecture": platform.machine(),
    }
