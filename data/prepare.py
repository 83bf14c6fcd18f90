#!/usr/bin/env python3
"""Turns text into token shards, which ./train --data 'NAME_train_*.bin' reads.

  data/prepare.py --out shards/books book.txt 'more/*.txt'
  zcat web.jsonl.gz | data/prepare.py --out shards/web --jsonl --tokenizer cl100k_base

A text file is one document (with --between: what lies between), JSON Lines are one a line. Each
begins with a separator, 0 for bytes and <|endoftext|> for tiktoken's, by which ./train
--document-mask tells them apart; empty ones are left out. Memory does not grow with the data, but for a
document that --between or a line ends; and no file bears its final name before all are written.
"""

import argparse
import array
import codecs
import contextlib
import glob
import gzip
import json
import os
import re
import signal
import struct
import sys
import zlib

MOST_TOKENS = 2**31 - 1  # of a shard: its header counts them as int32
PIECE = 1 << 20  # characters, or bytes, of a long document that are encoded on their own
BATCH = 4 * PIECE  # of the pieces that are encoded at once


class UserError(Exception):
    """What the user can mend: a sentence that names it, and the remedy."""


# ---- documents -----------------------------------------------------------------------------------


def find_files(names):
    """The files that names and globs stand for; "-" is the standard input."""
    files = []
    if names.count("-") > 1:
        raise UserError("- is named twice: there is one standard input")
    for name in names:
        matches = [name] if name == "-" or os.path.exists(name) else sorted(glob.glob(name))
        if not matches:
            raise UserError(f"{name}: no such file, and as a glob it matches none: check the path")
        files += matches
    for name in files:
        if os.path.isdir(name):
            raise UserError(f"{name} is a directory: name its files, such as '{name}/*.txt'")
    return files


def open_input(name):
    if name == "-":
        return sys.stdin.buffer
    return gzip.open(name) if name.endswith(".gz") else open(name, "rb")


def json_text(line, where, field):
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, nested too deep
        raise UserError(f"{where} is not JSON in UTF-8: mend it or take it out") from None
    if not isinstance(record, dict) or field not in record:
        raise UserError(f'{where} has no field "{field}": name the one that holds text by --field')
    if not isinstance(record[field], str):
        raise UserError(f'{where}: its "{field}" is no text: name the field that is by --field')
    try:
        return record[field].encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: its text holds half a surrogate pair: mend it") from None


def json_documents(lines, name, field):
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        if line.strip():
            yield where, [json_text(line, where, field)]


def as_read(parts, name):
    """Blocks or lines of a file."""
    try:
        yield from parts
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(f"{name} is damaged, or not packed by gzip: copy it again") from None


def text_documents(blocks, name, between):
    if not between:
        yield name, blocks
        return
    number, before, rest = 1, [], b""  # before rest, which may end within the separator
    for block in blocks:
        *whole, rest = (rest + block).split(between)
        for text in whole:
            yield f"{name}, document {number}", [*before, text]
            number, before = number + 1, []
        sure = max(0, len(rest) - len(between) + 1)
        before += [rest[:sure]] * (sure > 0)
        rest = rest[sure:]
    yield f"{name}, document {number}", [*before, rest]


def documents(names, args):
    """Of every document where it is from, and its bytes in blocks."""
    for name in names:
        jsonl = args.jsonl or name.removesuffix(".gz").endswith((".jsonl", ".json"))
        with open_input(name) as file:
            if jsonl:
                yield from json_documents(as_read(file, name), name, args.field)
            else:
                blocks = iter(lambda: file.read(PIECE), b"")
                yield from text_documents(as_read(blocks, name), name, args.between)


# ---- tokenizers: documents -> pieces, which are encoded each on its own --------------------------


class Bytes:
    vocabulary, separator, width = 256, 0, 2

    def pieces(self, where, blocks):
        for block in blocks:
            if 0 in block:
                raise UserError(
                    f"{where} holds a NUL byte, which separates documents: take it out by tr -d '\\0'"
                )
            yield block

    def encode(self, pieces):
        """The tokens of each, as they lie in a shard."""
        for piece in pieces:
            tokens = bytearray(2 * len(piece))
            tokens[::2] = piece
            yield tokens


class Tiktoken:
    # Where a long document may be cut: before a space between two words or numbers, and at the end
    # of a line, no empty one, before a word or number. tiktoken's patterns put the end of a token
    # here, and whether the text ends or goes on here changes none of the tokens before.
    CUT = re.compile(r"(?<=\w)(?= \w)|(?<=\S\n)(?=\w)")

    def __init__(self, name, threads):
        try:
            import tiktoken
        except ImportError:
            raise UserError(
                f"--tokenizer {name} needs the Python package tiktoken: install it by `python3 -m "
                "venv venv && venv/bin/pip install tiktoken` and run this by venv/bin/python, or "
                "choose bytes"
            ) from None
        if name not in tiktoken.list_encoding_names():
            known = ", ".join(tiktoken.list_encoding_names())
            raise UserError(f"--tokenizer {name} is not known: choose bytes, {known}")
        try:
            self.encoding = tiktoken.get_encoding(name)
        except Exception as error:  # whatever the library that fetches it raises
            raise UserError(
                f"--tokenizer {name}: its vocabulary cannot be loaded ({type(error).__name__}): "
                "tiktoken fetches it once from the internet; connect, or set TIKTOKEN_CACHE_DIR to "
                "where it lies"
            ) from None
        self.threads = threads
        self.vocabulary, self.separator = self.encoding.n_vocab, self.encoding.eot_token
        self.width = 2 if self.vocabulary <= 65536 else 4

    def pieces(self, where, blocks):
        decoder = codecs.getincrementaldecoder("utf-8")()
        text = ""
        try:
            for block in blocks:
                text += decoder.decode(block)
                while len(text) >= PIECE:
                    end = self.last_cut(text[:PIECE])
                    yield text[:end]
                    text = text[end:]
            yield text + decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise UserError(
                f"{where} is not UTF-8: convert it (iconv -t UTF-8), or choose --tokenizer bytes"
            ) from None

    def last_cut(self, text):
        """Where text without such a place is cut, tokens may differ."""
        tail = max(0, len(text) - PIECE // 16)
        cuts = [cut.start() for cut in self.CUT.finditer(text, tail)]
        return cuts[-1] if cuts else len(text)

    def encode(self, pieces):
        for tokens in self.encoding.encode_ordinary_batch(pieces, num_threads=self.threads):
            yield little_endian(tokens, self.width)


def little_endian(tokens, width):
    numbers = array.array("H" if width == 2 else "I", tokens)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


# ---- shards -------------------------------------------------------------------------------------


class Shards:
    """NAME_train_000001.bin and so on, as llm.c has them: 256 int32 (magic number, version, count
    of tokens, zeros), then the tokens, uint16 or uint32. Until publish() they end in .tmp."""

    def __init__(self, name, first, width, limit):
        self.name, self.first, self.width, self.limit = name, first, width, limit
        self.paths, self.file, self.room, self.tokens = [], None, 0, 0

    def add(self, tokens):
        left = memoryview(tokens)
        while left:
            if not self.room:
                self.open_next()
            now = left[: self.room * self.width]
            self.file.write(now)
            self.tokens += len(now) // self.width
            self.room -= len(now) // self.width
            left = left[len(now) :]

    def open_next(self):
        self.close()
        self.paths.append(f"{self.name}_{self.first + len(self.paths):06}.bin")
        self.file = open(self.paths[-1] + ".tmp", "wb")
        self.file.write(bytes(1024))
        self.room = self.limit

    def close(self):
        if not self.file:
            return
        magic, version = (20240520, 1) if self.width == 2 else (20240801, 7)
        self.file.seek(0)
        self.file.write(struct.pack("<3i", magic, version, self.limit - self.room))
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.file, self.room = None, 0

    def publish(self):
        for path in self.paths:
            os.rename(path + ".tmp", path)

    def discard(self):
        if self.file:
            with contextlib.suppress(OSError):  # of what it could not write before
                self.file.close()
        for path in self.paths:
            if os.path.exists(path + ".tmp"):
                os.remove(path + ".tmp")


# ---- all of it ----------------------------------------------------------------------------------


class Corpus:
    def __init__(self, args, tokenizer):
        self.args, self.tokenizer = args, tokenizer
        self.count, self.empty = 0, 0  # documents with text, and without
        self.train, self.val = (
            Shards(f"{args.out}_{part}", first, tokenizer.width, args.shard_tokens)
            for part, first in (("train", 1), ("val", 0))
        )

    def pieces(self, names):
        """(number of the document, piece of its text)"""
        for where, blocks in documents(names, self.args):
            empty = True
            for piece in self.tokenizer.pieces(where, blocks):
                if piece:
                    empty = False
                    yield self.count, piece
            self.count += not empty
            self.empty += empty

    def batches(self, names):
        batch, size = [], 0
        for number, piece in self.pieces(names):
            batch.append((number, piece))
            size += len(piece) + 100  # of an object's own
            if size >= BATCH:
                yield batch
                batch, size = [], 0
        yield batch

    def in_validation(self, number):
        """Every so many, and as evenly as a share allows."""
        if self.args.val_every:
            return number % self.args.val_every == self.args.val_every - 1
        return int((number + 1) * self.args.val_share) > int(number * self.args.val_share)

    def write(self, names):
        separator = little_endian([self.tokenizer.separator], self.tokenizer.width)
        last = -1
        for batch in self.batches(names):
            encoded = self.tokenizer.encode([piece for _, piece in batch])
            for (number, _), tokens in zip(batch, encoded):
                shards = self.val if self.in_validation(number) else self.train
                if number != last:
                    shards.add(separator)
                shards.add(tokens)
                last = number
        for shards in (self.train, self.val):
            shards.close()

    def check(self):
        args = self.args
        if not self.count:
            raise UserError("the input holds no text: name files that do")
        if (args.val_every or args.val_share) and not self.val.tokens:
            raise UserError(
                f"of {self.count} documents none is left for validation: give a smaller "
                "--val-every, a larger --val-share or neither (./train then holds out the last 5 %)"
            )

    def publish(self):
        self.train.publish()
        self.val.publish()

    def discard(self):
        self.train.discard()
        self.val.discard()

    def summary(self):
        text, flags = f"{self.count:,} documents", ""
        if self.empty:
            text += f" ({self.empty:,} empty ones left out)"
        parts = ((self.train, "to train on", "data"), (self.val, "for validation", "val-data"))
        for shards, what, flag in parts:
            if shards.paths:
                text += f", {shards.tokens:,} tokens {what} in {len(shards.paths)} file(s)"
                flags += f" --{flag} '{shards.name}_*.bin'"
        if not self.train.paths:
            flags = f" --evaluate --init-from RUN --data '{self.val.name}_*.bin'"
        return f"{text}\n./train{flags} --vocab {self.tokenizer.vocabulary}"


def number_in(low, high, kind=int):
    def number(text):
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    return number


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        metavar="FILE",
        help="files or globs, .gz too; - or none: standard input",
    )
    add("--out", required=True, metavar="NAME", help="such as shards/books")
    add("--tokenizer", default="bytes", help="bytes (default), or a name that tiktoken knows")
    add("--jsonl", action="store_true", help="JSON Lines, as .jsonl and .json always are")
    add("--field", default="text", help="that holds a line's text (default: text)")
    add(
        "--between", metavar="TEXT", help=r"stands between a file's documents; \n in it ends a line"
    )
    add("--shard-tokens", type=number_in(1, MOST_TOKENS), default=10**8, metavar="N",
        help="tokens of a file at most (default: 10^8)")  # fmt: skip
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--val-every", type=number_in(1, MOST_TOKENS), default=0, metavar="N",
                       help="every Nth document is for validation (default: none; 1: all)")  # fmt: skip
    split.add_argument("--val-share", type=number_in(0, 1, float), default=0.0, metavar="S",
                       help="a share of the documents is")  # fmt: skip
    add(
        "--threads",
        type=number_in(1, 4096),
        default=os.cpu_count(),
        metavar="N",
        help="of tiktoken",
    )
    args = parser.parse_args()
    if args.between == "":
        parser.error("--between is empty: give a text, or leave it out")
    if args.between:
        args.between = os.fsencode(args.between.replace("\\n", "\n"))
    return args


def prepare(args):
    names = find_files(args.files or ["-"])
    for part in ("train", "val"):
        if there := sorted(glob.glob(f"{glob.escape(args.out)}_{part}_*.bin")):
            raise UserError(f"{there[0]} is there already: remove it, or choose another --out")
    tokenizer = Bytes() if args.tokenizer == "bytes" else Tiktoken(args.tokenizer, args.threads)
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    corpus = Corpus(args, tokenizer)
    try:
        corpus.write(names)
        corpus.check()
        corpus.publish()
    finally:
        corpus.discard()
    print(corpus.summary())


def main():
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        prepare(args)
    except UserError as error:
        sys.stderr.write(f"prepare.py: {error}\n")
        return 2
    except OSError as error:
        what = f"{error.filename or args.out}: {error.strerror}"
        sys.stderr.write(f"prepare.py: {what}: check the path, its permissions and the disk\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
