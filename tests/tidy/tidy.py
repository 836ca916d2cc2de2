#!/usr/bin/env python3
"""Keeps the house: layers, banned calls, includes, order, state, sizes, words, numbers. Prints each breach; exits with 1 if there is one.

    tidy.py [ROOT]              check the tree
    tidy.py --ratchet [ROOT]    lower the entries of ratchet.txt to the present sizes; adds none
    tidy.py --numbers [ROOT]    add new numbers of fields, methods and codes to numbers.txt; changes none
"""
import os
import sys

import banned
import frozen
import includes
import layers
import order
import sizes
import state
import words
from source import Tree

CHECKS = (layers, banned, includes, order, state, sizes, words, frozen)


def problems(tree):
    return sorted({problem for check in CHECKS for problem in check.check(tree)})


def main(arguments):
    roots = [a for a in arguments if not a.startswith("-")]
    root = roots[0] if roots else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    tree = Tree.load(root)
    if not tree.product():
        print(f"tidy: no sources below {root}", file=sys.stderr)
        return 1
    for option, path, text in (("--ratchet", sizes.RATCHET, sizes.lowered), ("--numbers", frozen.LIST, frozen.extended)):
        if option in arguments:
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text(tree))
            tree = Tree.load(root)
    found = problems(tree)
    for problem in found:
        print(problem)
    print(f"tidy: {len(tree.files)} files, {len(found)} breaches of the house rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
