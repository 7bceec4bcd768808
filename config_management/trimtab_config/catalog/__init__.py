"""The objects of a fleet by name, and whether they refer to each other rightly."""

from __future__ import annotations

from trimtab_config.catalog.index import TABLES, Catalog, build_catalog, with_deployment

__all__ = ["TABLES", "Catalog", "build_catalog", "with_deployment"]
