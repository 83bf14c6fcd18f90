#!/usr/bin/env python3
"""Turns the dictionary (zcat /usr/share/dictd/gcide.dict.dz) into samples to fine-tune on.

    python3 data/definitions.py [--every N] book.txt > definitions.jsonl

A line a word, {"prompt": "Abdicator (n.): ", "completion": "One who abdicates."}: the first
sentence of its first meaning, where that is short. --every 20 takes every twentieth word.
"""
import argparse
import json
import re
import sys

# Abdicator \Ab"di*ca`tor\, n.
#    One who abdicates.
ENTRY = re.compile(r"^(\w[\w' -]*) \\[^\\]+\\,? (n|a|adv|v\. [ti])\.[^\n]*\n"
                   r"((?:   [^\n]+\n)+)", re.M)
# etymology in brackets, the number of a meaning, its field: "[L. abdicatio.] 1. (Anat.) "
BEFORE = re.compile(r"^(?:\[[^\]]*\]\s*)?(?:1\.\s*)?(?:\([A-Z][^)]*\)\s*)?")


def samples(text):
    for word, kind, body in ENTRY.findall(text):
        meaning = BEFORE.sub("", " ".join(body.split()))
        sentence = re.match(r"[A-Z][a-z][^.\[\]{}]{10,100}\.", meaning)
        if sentence:
            yield {"prompt": f"{word} ({kind}.): ", "completion": sentence[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("book")
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    try:
        with open(given.book, encoding="utf-8", errors="replace") as book:
            found = list(samples(book.read()))
    except OSError as error:
        print(f"definitions.py: {given.book}: {error.strerror}: name the dictionary's text", file=sys.stderr)
        sys.exit(2)
    for sample in found[::max(1, given.every)]:
        print(json.dumps(sample, ensure_ascii=False))


if __name__ == "__main__":
    main()
