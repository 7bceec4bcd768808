"""From the files of a tree to the rendered groups: the one way in that every door of the compiler takes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimtab_config.compilation.fleet import CompiledFleet, FleetCompiler, RenderedGroup
    from trimtab_config.render.options import Monitoring, RenderOptions

__all__ = ["CompiledFleet", "FleetCompiler", "Monitoring", "RenderOptions", "RenderedGroup"]

_OPTIONS = ("Monitoring", "RenderOptions")


def __getattr__(name: str) -> object:
    """Load what is asked for: a process that finds everything in its store needs no compiler."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "trimtab_config.render.options" if name in _OPTIONS else "trimtab_config.compilation.fleet"
    return getattr(import_module(where), name)
