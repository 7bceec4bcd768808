"""``python3 -I -m trimtab_plugins.argocd``: exec mode, where the working directory is a checkout that nobody vouches for."""

from __future__ import annotations

import sys

from trimtab_kernel.commandline import Parser, parse_and_run
from trimtab_plugins.argocd.command import GENERATE, configure_generate

parser = Parser(prog="python3 -I -m trimtab_plugins.argocd", description=GENERATE.summary, allow_abbrev=False)
configure_generate(parser)
parser.set_defaults(run=GENERATE.run)
sys.exit(parse_and_run(parser, None))
