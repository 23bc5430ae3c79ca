"""Prints the syntax trees of Bicep files as JSON: path -> {"mistakes": [...], "text": ..., "tree": node}.

A node is {kind, named, start, end, children}; start and end count bytes. Two grammars read every file, each laxer than Bicep in
another place. Neither knows files of parameters: there, a parameter is read as a variable.
"""

import json
import re
import sys
from pathlib import Path

import pycep
import tree_sitter_bicep
from tree_sitter import Language, Parser

PARSER = Parser(Language(tree_sitter_bicep.language()))


def tree(node, mistakes):
    if node.is_error or node.is_missing:
        mistakes.append(f"line {node.start_point.row + 1}: {node.text.decode()[:80]!r}")
    # Both grammars take any white space between two members, Bicep only a comma or a new line.
    if node.type in ("infrastructure", "object", "array"):
        for one, other in zip(node.children, node.children[1:]):
            glued = one.end_point.row == other.start_point.row and other.type != "comment"
            if glued and one.is_named and other.is_named:
                mistakes.append(f"line {one.end_point.row + 1}: no comma and no new line after {one.text.decode()[-80:]!r}")
    children = [tree(child, mistakes) for child in node.children]
    return {
        "kind": node.type,
        "named": node.is_named,
        "start": node.start_byte,
        "end": node.end_byte,
        "children": children,
    }


def read(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".bicepparam":
        text = re.sub(r"(?m)^using .*$", "", re.sub(r"(?m)^param (\w+) =", r"var \1 =", text))
    mistakes = []
    nodes = tree(PARSER.parse(text.encode()).root_node, mistakes)
    try:
        pycep.BicepParser().parse(text=text)
    except Exception as error:  # its parser's own types
        mistakes.append(str(error).splitlines()[0])
    return {"mistakes": mistakes, "text": text, "tree": nodes}


json.dump({path: read(Path(path)) for path in sys.argv[1:]}, sys.stdout)
