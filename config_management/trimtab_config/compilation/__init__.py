"""From the files of a tree to the rendered groups: the one way in that every door of the compiler takes."""

from __future__ import annotations

from trimtab_config.compilation.fleet import CompiledFleet, FleetCompiler, RenderedGroup
from trimtab_config.render.options import Monitoring, RenderOptions

__all__ = ["CompiledFleet", "FleetCompiler", "Monitoring", "RenderOptions", "RenderedGroup"]
