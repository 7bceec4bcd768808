"""``python examples/demo``: see ``--help``."""

from __future__ import annotations

import sys
from pathlib import Path

# The folder is run as a program, so the tree's root is not on the path by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.demo.program import main

sys.exit(main())
