"""Files that somebody who means harm would put into a pull request. Each is a name, its bytes, and codes of which one must show."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024

HEAD = b"""apiVersion: apexlogic.ai/v1
kind: Hold
metadata:
  name: a
"""
SOUND = (
    HEAD
    + b"""spec:
  model: m
  owner: o
  reason: r
  until: "2027-01-01"
  version: "1.0.0"
"""
)


@dataclass(frozen=True)
class Hostile:
    """One file. ``codes``: at least one of these is among its problems."""

    name: str
    content: bytes
    codes: frozenset[str]


def _case(name: str, content: str | bytes, *codes: str) -> Hostile:
    return Hostile(name, content if isinstance(content, bytes) else content.encode(), frozenset(codes))


def _spec(text: str) -> bytes:
    return HEAD + b"spec:\n" + text.encode()


def _fill(line: str, size: int = MIB - 4096) -> str:
    return line * (size // len(line))


def _alias_bomb(levels: int, width: int) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        aliases = ", ".join([f"*l{level - 1}"] * width)
        lines.append(f"l{level}: &l{level} [{aliases}]")
    return "\n".join(lines) + "\n"


def _merge_bomb(levels: int) -> str:
    lines = ["l0: &l0 {" + ", ".join(f"k{number}: v" for number in range(200)) + "}"]
    for level in range(1, levels):
        before = ", ".join([f"*l{level - 1}"] * 10)
        lines.append(f"l{level}: &l{level} {{<<: [{before}], own{level}: v}}")
    return "\n".join(lines) + "\n"


CORPUS: tuple[Hostile, ...] = (
    _case("alias bomb: nine levels of ten", _alias_bomb(9, 10), "F110"),
    _case(
        "alias bomb: quadratic, one large list many times",
        "a: &a [" + "x, " * 3000 + "]\nb: [" + "*a, " * 3000 + "]\n",
        "F110",
    ),
    _case("alias of nothing", _spec("  reason: *nowhere\n"), "F101", "F110"),
    _case("anchor that contains itself", _spec("  groups: &a [x, *a]\n"), "F110"),
    _case("merge key that contains itself", _spec("  &a\n  <<: *a\n  reason: r\n"), "F110"),
    _case("merge keys in a circle", SOUND + b"  tags: &a {<<: *b}\n  more: &b {<<: *a}\n", "F110"),
    _case("merge bomb", _merge_bomb(40), "F110"),
    _case("merge of text", SOUND + b"  <<: text\n", "F115"),
    _case("merge key twice", b"x: &x {a: b}\n" + SOUND + b"  <<: *x\n  <<: *x\n", "F107"),
    _case("flow lists, 200,000 deep", _spec("  groups: " + "[" * 200_000), "F112"),
    _case("flow objects, 200,000 deep", _spec("  groups: " + "{a: " * 200_000), "F112"),
    _case("block lists, 300,000 deep", _spec("  groups:\n    " + "- " * 300_000 + "x\n"), "F112"),
    _case("explicit keys, 200,000 deep", "? " * 200_000, "F112"),
    _case("indentation, 1,200 deep", "".join(" " * depth + "a:\n" for depth in range(1200)), "F112"),
    _case("opened and never closed", _spec("  groups: ["), "F101"),
    _case("NUL", SOUND.replace(b"owner: o", b"owner: a\x00b"), "F102"),
    _case("NUL as an escape", SOUND.replace(b"owner: o", b'owner: "a\\0b"'), "F104"),
    _case("escape character for terminals", SOUND.replace(b"owner: o", b"owner: \x1b[2J"), "F102"),
    _case("escape character as an escape", SOUND.replace(b"owner: o", b'owner: "\\e[2J"'), "F104"),
    _case("invalid UTF-8", SOUND.replace(b"owner: o", b"owner: \xff\xfe"), "F102"),
    _case("half a UTF-8 sequence at the end", SOUND + b"# \xe2\x82", "F102"),
    _case("a surrogate in UTF-8", SOUND.replace(b"owner: o", b"owner: \xed\xa0\x80"), "F102"),
    _case("a surrogate as an escape", SOUND.replace(b"owner: o", b'owner: "\\ud800"'), "F101"),
    _case("UTF-16", SOUND.decode().encode("utf-16"), "F102"),
    _case("UTF-32", SOUND.decode().encode("utf-32"), "F102"),
    _case("tag that builds an object", _spec('  model: !!python/object/apply:os.system ["true"]\n'), "F111"),
    _case("tag of a number", _spec("  model: !!int 3\n"), "F111"),
    _case("tag on the whole document", b"!!map\n" + SOUND, "F111"),
    _case(
        "own tag with a directive",
        b"%TAG ! tag:example.com,2026:\n---\n" + SOUND.replace(b"model: m", b"model: !m m"),
        "F111",
    ),
    _case("YAML of the future", b"%YAML 9.9\n---\n" + SOUND, "F101"),
    _case("tab as indentation", HEAD + b"spec:\n\tmodel: m\n", "F114"),
    _case("tab after spaces", HEAD + b"spec:\n  \tmodel: m\n", "F114", "F101"),
    _case("key twice", SOUND + b"  model: n\n", "F107"),
    _case("key twice, once in quotes", SOUND + b'  "model": n\n', "F107"),
    _case("kind twice", SOUND + b"kind: Model\n", "F107"),
    _case("list as a key", SOUND + b"  [a, b]: c\n", "F113", "F105"),
    _case("object as a key", SOUND + b"  ? {a: b}\n  : c\n", "F113", "F105"),
    _case("null as a key", SOUND + b"  ? ~\n  : c\n", "F105"),
    _case("a key of 900,000 characters", HEAD + b'spec:\n  ? "' + b"k" * 900_000 + b'"\n  : v\n', "F105"),
    _case("a value of 900,000 characters", SOUND.replace(b"owner: o", b"owner: " + b"x" * 900_000), "F104"),
    _case("a number of 900,000 digits", SOUND.replace(b"owner: o", b"owner: " + b"9" * 900_000), "F113"),
    _case("40,000 unknown fields", HEAD + b"spec:\n" + b"".join(b"  u%d: 1\n" % n for n in range(40_000)), "F105"),
    _case("a list of 60,000 entries", _spec("  groups:\n" + "".join(f"  - g{n}\n" for n in range(60_000))), "F106"),
    _case("the same entry again and again", _spec("  groups: [" + "g, " * 60_000 + "]\n"), "F116"),
    _case("10,000 documents", "--- {}\n" * 10_000, "F103"),
    _case("999 documents that are nearly ours", ("---\n" + "apiVersion: apexlogic.ai/v1\nkind: Holdd\n") * 999, "F109"),
    _case("999 times the same object", (b"---\n" + SOUND) * 999, "F108"),
    _case("a MiB of nothing but lists", _spec("  groups: [" + _fill("[],") + "]\n"), "F110"),
    _case("a MiB of anchors", "".join(f"- &a{n} x\n" for n in range(70_000)) + SOUND.decode(), "F101", "F110"),
    _case("a MiB of commas", _spec("  groups: [" + _fill(",") + "]\n"), "F101"),
    _case("a MiB of colons", _fill(":"), "F101"),
    _case("a MiB of comments", SOUND + _fill("# c\n", MIB - 1024).encode() + b"  x: 1\n", "F101", "F105"),
    _case("a MiB of quotes", _spec("  owner: " + _fill('"')), "F101"),
    _case("two MiB", SOUND + b"#" * (2 * MIB), "F103"),
    _case("Cyrillic in a field name", SOUND.replace(b"owner", "\u043ewner".encode()), "F105"),
    _case("Cyrillic in the API version", SOUND.replace(b"apexlogic", "\u0430pexlogic".encode()), "F109"),
    _case("Cyrillic in the kind", SOUND.replace(b"Hold", "H\u043eld".encode()), "F109"),
    _case("Cyrillic in a name", SOUND.replace(b"name: a", "name: \u0430".encode()), "F104"),
    _case("full-width digits", SOUND.replace(b'"1.0.0"', '"\uff11.0.0"'.encode()), "F104"),
    _case("zero-width space in a name", SOUND.replace(b"name: a", "name: a\u200bb".encode()), "F104"),
    _case("right-to-left override in a key", SOUND.replace(b"owner", "ow\u202ener".encode()), "F105"),
    _case("Norway", SOUND.replace(b"owner: o", b"owner: no"), "F113"),
    _case("a version that is a number", SOUND.replace(b'"1.0.0"', b"1.10"), "F113"),
    _case("an object where text belongs", _spec("  model: {a: b}\n"), "F113"),
    _case("text where the spec belongs", HEAD + b"spec: text\n", "F113"),
    _case("nothing where the spec belongs", HEAD + b"spec:\n", "F113"),
    _case("metadata as a list", b"apiVersion: apexlogic.ai/v1\nkind: Hold\nmetadata: [a]\nspec: {}\n", "F113"),
    _case("kind as an object", b"apiVersion: apexlogic.ai/v1\nkind: {a: b}\nmetadata: {name: a}\nspec: {}\n", "F106"),
    _case(
        "ours hidden in a List",
        b"apiVersion: v1\nkind: List\nitems:\n- apiVersion: apexlogic.ai/v1\n  kind: Hold\n",
        "F109",
    ),
    _case("nothing at all", b"", "F117"),
    _case("a byte order mark alone", b"\xef\xbb\xbf", "F117"),
    _case("only text", b"hello\n", "F117"),
    _case("only a separator", b"---\n...\n", "F117"),
    _case("percent sign", b"%\n", "F101"),
    _case("at sign", SOUND.replace(b"owner: o", b"owner: @team"), "F101"),
)
