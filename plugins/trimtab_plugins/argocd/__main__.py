"""``python3 -I -m trimtab_plugins.argocd``: exec mode, where the working directory is a checkout that nobody vouches for."""

from __future__ import annotations

import sys

from trimtab_kernel.commandline import Parser, parse_and_run
from trimtab_plugins.argocd.exec_command import COMMAND, configure

parser = Parser(prog="python3 -I -m trimtab_plugins.argocd", description=COMMAND.summary, allow_abbrev=False)
configure(parser)
parser.set_defaults(run=COMMAND.run)
sys.exit(parse_and_run(parser, None))
