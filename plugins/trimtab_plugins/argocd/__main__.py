"""``python3 -I -m trimtab_plugins.argocd``: exec mode, where the working directory is a checkout that nobody vouches for."""

from __future__ import annotations

import argparse
import sys

from trimtab_kernel.commandline import run_command
from trimtab_plugins.argocd.command import run_generate

sys.exit(int(run_command(argparse.Namespace(run=run_generate))))
