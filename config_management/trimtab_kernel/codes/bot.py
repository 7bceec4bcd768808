"""Codes of the bot."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    # B42x: the inbox's door
    Code(
        "B420",
        "too many wrong tokens",
        "Ten wrong tokens came from one address within a minute.",
        "Wait the time that the answer names, then send the right token.",
    ),
    Code(
        "B421",
        "no valid token",
        "Everything in the inbox is done as a person, and a person is known by a token.",
        "Send your own token; ask whoever keeps the bot's configuration for one.",
    ),
    Code(
        "B422",
        "a form that is not from this page",
        "A decision came without the secret of the page it should come from, or from another site (cross-site request forgery).",
        "Open the proposal again and decide there.",
    ),
    Code(
        "B423",
        "a denial without a reason",
        "Others will ask why; the reason is shown to them and recorded.",
        "Write one, of at most 2000 characters.",
    ),
    Code("B424", "no such proposal", "No proposal has this id.", "`trimtab inbox list` shows the ids."),
    Code(
        "B425",
        "a decision of the wrong shape",
        "The API takes a small JSON object with the digest of what was looked at.",
        'Send {"digest": "sha256:...", "reason": "..."}.',
    ),
    Code(
        "B426",
        "the inbox's URL is missing or unfit",
        "A token must not travel in the clear to another machine, nor be part of a URL.",
        "Give http://HOST:PORT on this machine, or https.",
    ),
    Code(
        "B427",
        "no token file",
        "A token is read from a file, never from the command line, which other users of the machine can see.",
        "Put your token alone into a file, chmod 600, and name it with --token-file.",
    ),
)
