"""Codes of bills, budgets and the history they are judged by (F7)."""

from __future__ import annotations

from trimtab_kernel.problems import Code

CODES: tuple[Code, ...] = (
    Code(
        "F701",
        "bill that cannot be read",
        "The file is not what its kind of bill is delivered as, or it ends in the middle; a part of a bill is not a bill.",
        "Download the file again; `--kind` must say whose bill it is.",
    ),
    Code(
        "F702",
        "column missing",
        "Without this column a row has no amount, currency, time or account, and a guess would be money made up.",
        "Include the column in the export, or correct `--kind`.",
    ),
    Code(
        "F703",
        "cell refused",
        "One cell of the bill has not the form of its column. The row is not skipped: then the sum would not be the bill's.",
        "Look at the line that is named; a spreadsheet that saved the file may have rewritten numbers or dates.",
    ),
    Code(
        "F704",
        "period delivered twice",
        "Providers deliver a running month again and again, whole each time. Adding two deliveries doubles the bill.",
        "Keep the folder of one delivery, or give `--newest` so that the one with the newest file counts.",
    ),
    Code(
        "F705",
        "parts that overlap",
        "Two files hold the same rows, so they are two deliveries of one bill and not two parts of it.",
        "Remove the older file; parts of one delivery share no row.",
    ),
    Code(
        "F706",
        "no bill there",
        "The folder has no file that could be a part of such a bill.",
        "Name the folder or the file that holds the export, and its kind with `--kind`.",
    ),
    Code(
        "F707",
        "address refused",
        "A bill fetched over plain HTTP could be anybody's, and an address with a password in it ends up in logs.",
        "Use HTTPS, or forward the port to this machine and name localhost.",
    ),
    Code(
        "F708",
        "currency unknown",
        "OpenCost's answers have amounts without a currency, and adding amounts of unknown currency means nothing.",
        "Say which currency OpenCost's prices are in with `--currency`.",
    ),
    Code(
        "F709",
        "tag mapping refused",
        "A mapping says which key of the bill means which dimension of the fleet; this one names no such dimension.",
        "Write `--tag-key KEY=DIMENSION`, such as `--tag-key cost-center=businessUnit`; an empty dimension ignores the key.",
    ),
    Code(
        "F710",
        "history refused",
        "A forecast of wrong numbers is wrong, however careful: the history must have times in order and amounts that are numbers.",
        "Correct the line that is named; docs/budgets.md shows the columns.",
    ),
    Code(
        "F711",
        "bytes on a terminal",
        "Parquet is bytes; a terminal would obey some of them.",
        "Give `--output-file FILE`, or send stdout into a file.",
    ),
    Code(
        "F712",
        "too many business units",
        "A tag with a value for every resource is no business unit, and would fill a folder with files.",
        "Map the tag that names business units with `--tag-key` when the bill is imported.",
    ),
    Code(
        "F713",
        "month refused",
        "A month is a year and a month; anything else could mean two.",
        "Write it as in 2026-10.",
    ),
    Code(
        "F714",
        "question refused",
        "A date or a file name of the command is none that it can use.",
        "Write dates as in 2026-10-20; a plot is a file that ends in .png or .svg, drawn by what trimtab[analytics] installs.",
    ),
)
