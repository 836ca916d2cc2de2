#!/usr/bin/env python3
"""Keeps the house: layers, banned calls, order, state, sizes, words. Prints each breach; exits with 1 if there is one.

    tidy.py [ROOT]              check the tree
    tidy.py --ratchet [ROOT]    lower the entries of ratchet.txt to the present sizes; adds none
"""
import os
import sys

import banned
import layers
import order
import sizes
import state
import words
from source import Tree

CHECKS = (layers, banned, order, state, sizes, words)


def problems(tree):
    return sorted({problem for check in CHECKS for problem in check.check(tree)})


def main(arguments):
    ratchet = "--ratchet" in arguments
    roots = [a for a in arguments if not a.startswith("-")]
    root = roots[0] if roots else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    tree = Tree.load(root)
    if not tree.product():
        print(f"tidy: no sources below {root}", file=sys.stderr)
        return 1
    if ratchet:
        with open(os.path.join(root, sizes.RATCHET), "w", encoding="utf-8") as file:
            file.write(sizes.lowered(tree))
        tree = Tree.load(root)
    found = problems(tree)
    for problem in found:
        print(problem)
    print(f"tidy: {len(tree.files)} files, {len(found)} breaches of the house rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
