"""data/prepare.py and data/fetch.sh: their shards, read back here by a reader of its own and by
./train (the environment variable TRAIN, default ./train).

What needs a vocabulary is tried with a stand-in for tiktoken, and, where tiktoken is installed,
with encodings made here: its own patterns over a small table of merges."""

import gzip
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
PREPARE, FETCH = HOUSE / "data" / "prepare.py", HOUSE / "data" / "fetch.sh"
TRAIN = Path(os.environ.get("TRAIN", HOUSE / "train")).resolve()

MULTILINGUAL = "Grüße, мир! 你好世界。\r\nनमस्ते\t🙂\n\nfin"

# A token a character, and n_vocab as the name says; <|endoftext|> is the last one.
STAND_IN = """
class Encoding:
    def __init__(self, n):
        self.n_vocab, self.eot_token = n, n - 1
    def encode_ordinary_batch(self, texts, num_threads):
        return [[ord(c) for c in text] for text in texts]
def list_encoding_names():
    return ["characters_65536", "characters_65537", "out_of_reach"]
def get_encoding(name):
    if name == "out_of_reach":
        raise ConnectionError("no such host, and a long story")
    return Encoding(int(name.split("_")[1]))
"""


def read_shard(path):
    """Its tokens and their width, by the words of the format."""
    data = Path(path).read_bytes()
    header = struct.unpack("<256i", data[:1024])
    width = {(20240520, 1): 2, (20240801, 7): 4}[header[:2]]
    assert header[3:] == (0,) * 253
    assert len(data) == 1024 + header[2] * width, "the count does not match the size"
    return list(struct.unpack(f"<{header[2]}{'H' if width == 2 else 'I'}", data[1024:])), width


class InDirectory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.at = Path(directory.name)

    def write(self, name, content):
        path = self.at / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run_it(self, *arguments, stdin=b"", env=None):
        return subprocess.run(
            [str(a) for a in arguments], input=stdin, capture_output=True, cwd=self.at,
            env={**os.environ, **(env or {})}
        )  # fmt: skip

    def prepare(self, *arguments, stdin=b"", env=None, python=sys.executable):
        return self.run_it(python, PREPARE, "--out", "s/x", *arguments, stdin=stdin, env=env)

    def done(self, *arguments, **more):
        result = self.prepare(*arguments, **more)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout.decode()

    def refused(self, sentence, *arguments, **more):
        """Exit code 2, one line, and no file left."""
        result = self.prepare(*arguments, **more)
        error = result.stderr.decode()
        self.assertEqual(result.returncode, 2, error)
        self.assertIn(sentence, error)
        self.assertEqual(error.count("\n"), 1, error)
        self.assertEqual(self.files(), [])

    def files(self):
        return sorted(p.name for p in self.at.glob("s/*"))

    def assert_same(self, got, expected):
        """Lists of millions, of which unittest would seek all differences."""
        if got != expected:
            at = next(
                (i for i, (a, b) in enumerate(zip(got, expected)) if a != b), "the end of one"
            )
            self.fail(f"{len(got)} tokens, {len(expected)} expected; they differ from {at} on")

    def tokens(self, part):
        return [
            t
            for name in self.files()
            if f"_{part}_" in name
            for t in read_shard(self.at / "s" / name)[0]
        ]


class Documents(InDirectory):
    def test_texts_are_a_document_each_and_read_as_bytes(self):
        self.write("a.txt", MULTILINGUAL)
        self.write("b.txt", b"\xff\xfe is no UTF-8")
        out = self.done("*.txt")
        self.assert_same(
            self.tokens("train"), [0, *MULTILINGUAL.encode(), 0, *b"\xff\xfe is no UTF-8"]
        )
        self.assertEqual(read_shard(self.at / "s/x_train_000001.bin")[1], 2)
        self.assertIn("2 documents, ", out)
        self.assertIn("./train --data 's/x_train_*.bin' --vocab 256", out)

    def test_standard_input_and_its_place_among_files(self):
        self.done(stdin=b"piped")
        self.assert_same(self.tokens("train"), [0, *b"piped"])
        for name in self.files():
            (self.at / "s" / name).unlink()
        self.done(self.write("a", "A"), "-", self.write("b", "B"), stdin=b"piped")
        self.assert_same(self.tokens("train"), [0, *b"A", 0, *b"piped", 0, *b"B"])

    def test_empty_documents_are_left_out_and_do_not_count(self):
        self.write("a.txt", "")
        self.write("b.txt", "B")
        self.write("c.jsonl", '{"text": ""}\n\n{"text": "C"}\r\n{"text": "D"}')
        out = self.done("a.txt", "b.txt", "c.jsonl", "--val-every", 2)
        self.assert_same(self.tokens("train"), [0, *b"B", 0, *b"D"])
        self.assert_same(self.tokens("val"), [0, *b"C"])
        self.assertIn("3 documents (2 empty ones left out)", out)

    def test_json_lines(self):
        lines = [
            {"text": MULTILINGUAL, "url": "u"},
            {"url": "u", "text": "\ud83d\ude42"},
            {"text": "z"},
        ]
        expected = [
            t
            for line in lines
            for t in (0, *line["text"].encode("utf-16", "surrogatepass").decode("utf-16").encode())
        ]
        text = "\n".join(map(json.dumps, lines)).encode()
        self.done("--jsonl", stdin=text)
        self.assertEqual(self.tokens("train"), expected)
        self.write("b.jsonl.gz", gzip.compress(text.replace(b'"text"', b'"body"')))
        self.run_it("rm", "-r", "s")
        self.done("b.jsonl.gz", "--field", "body")
        self.assertEqual(self.tokens("train"), expected)

    def test_texts_between(self):
        text = b"one\n<|end|>\ntwo\nthree\n<|end|>\n\n<|end|>\n"
        self.done("--between", r"\n<|end|>\n", stdin=text)
        self.assert_same(self.tokens("train"), [0, *b"one", 0, *b"two\nthree"])

    def test_between_where_blocks_of_the_file_meet(self):
        for shift in range(4):  # a block is 2^20 bytes
            first = b"a" * ((1 << 20) - shift)
            self.done("--between", "<|>", stdin=first + b"<|>" + b"b" * 9)
            self.assert_same(self.tokens("train"), [0, *first, 0, *b"b" * 9])
            self.run_it("rm", "-r", "s")

    def test_between_that_comes_after_blocks(self):
        text = random.Random(1).randbytes(3 << 20).replace(b"\0", b"\1").replace(b"<|>", b"")
        self.done("--between", "<|>", stdin=text + b"<|>" + b"b" * 9 + b"<|")
        self.assert_same(self.tokens("train"), [0, *text, 0, *b"b" * 9, *b"<|"])

    def test_a_dictionary_that_is_not_there(self):
        result = self.run_it(sys.executable, PREPARE.parent / "definitions.py", "nowhere")
        self.assertEqual((result.returncode, result.stderr),
                         (2, b"definitions.py: nowhere: No such file or directory: name the dictionary's text\n"))  # fmt: skip

    def test_long_documents_are_whole(self):
        text = random.Random(1).randbytes(5 << 20).replace(b"\0", b"\1")
        self.done(stdin=text)
        self.assert_same(self.tokens("train"), [0, *text])


class Split(InDirectory):
    def prepare_numbered(self, n, *flags):
        lines = "\n".join(json.dumps({"text": chr(97 + i)}) for i in range(n))
        self.done("--jsonl", *flags, stdin=lines.encode())
        return tuple("".join(chr(t) for t in self.tokens(part) if t) for part in ("train", "val"))

    def test_every_nth_document(self):
        self.assertEqual(self.prepare_numbered(8, "--val-every", 3), ("abdegh", "cf"))

    def test_a_share(self):
        self.assertEqual(self.prepare_numbered(10, "--val-share", 0.4), ("abdfgi", "cehj"))

    def test_all(self):
        self.assertEqual(self.prepare_numbered(3, "--val-every", 1), ("", "abc"))
        self.assertEqual(self.files(), ["x_val_000000.bin"])

    def test_none(self):
        self.assertEqual(self.prepare_numbered(3), ("abc", ""))
        self.assertEqual(self.files(), ["x_train_000001.bin"])

    def test_none_where_some_were_wanted(self):
        self.refused("of 1 documents none is left for validation", "--val-every", 2, stdin=b"text")


class Shards(InDirectory):
    def test_several_of_a_fixed_size(self):
        text = bytes(range(1, 24))
        self.done("--shard-tokens", 8, stdin=text)
        names = [f"x_train_{i:06}.bin" for i in (1, 2, 3)]
        self.assertEqual(self.files(), names)
        self.assertEqual([len(read_shard(self.at / "s" / n)[0]) for n in names], [8, 8, 8])
        self.assert_same(self.tokens("train"), [0, *text])

    def test_one_token_more(self):
        self.done("--shard-tokens", 8, stdin=bytes(range(1, 25)))
        self.assertEqual([len(read_shard(p)[0]) for p in sorted(self.at.glob("s/*"))], [8, 8, 8, 1])

    def test_what_is_there_is_not_mixed_with(self):
        self.done(stdin=b"first")
        before = (self.at / "s/x_train_000001.bin").read_bytes()
        result = self.prepare(stdin=b"second")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"is there already", result.stderr)
        self.assertEqual((self.at / "s/x_train_000001.bin").read_bytes(), before)

    def test_stopped_halfway_nothing_is_left(self):
        for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            # what a shell starts in the background ignores SIGINT, and so do its children
            process = subprocess.Popen(
                [sys.executable, PREPARE, "--out", "s/x", "--shard-tokens", "1000000"],
                cwd=self.at, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
            )  # fmt: skip
            process.stdin.write(b"a" * (9 << 20))
            process.stdin.flush()
            for _ in range(300):
                if len(self.files()) >= 3:
                    break
                time.sleep(0.1)
            self.assertGreaterEqual(len(self.files()), 3)
            self.assertTrue(all(name.endswith(".bin.tmp") for name in self.files()))
            process.send_signal(sent)
            process.communicate()
            self.assertEqual(process.returncode, code)
            self.assertEqual(self.files(), [])

    def test_a_full_disk(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full here")
        (self.at / "s").mkdir()
        (self.at / "s/x_train_000001.bin.tmp").symlink_to("/dev/full")
        self.refused("No space left on device", stdin=b"a" * (1 << 20))


class Mistakes(InDirectory):
    def test_bad_lines_are_named(self):
        good = '{"text": "fine"}\n'
        for bad, sentence in (
            ('{"text": "cut', "line 3 is not JSON"),
            ('{"body": "b"}', 'line 3 has no field "text"'),
            ("[1, 2]", 'line 3 has no field "text"'),
            ('{"text": 7}', 'line 3: its "text" is no text'),
            (r'{"text": "\ud83d"}', "line 3: its text holds half a surrogate pair"),
            (r'{"text": "a\u0000b"}', "line 3 holds a NUL byte"),
        ):
            with self.subTest(bad):
                path = self.write("bad.jsonl", good + "\n" + bad + "\n" + good)
                self.refused(f"{path}, {sentence}", path)
        path = self.write("bad.jsonl", good.encode() + b'{"text": "\xff"}\n')
        self.refused("line 2 is not JSON in UTF-8", path)

    def test_files(self):
        self.refused("none.txt: no such file", "none.txt")
        self.refused("*.txt: no such file, and as a glob", "*.txt")
        (self.at / "folder").mkdir()
        self.refused("folder is a directory: name its files", "folder")
        self.refused("holds no text", stdin=b"")
        self.refused("holds no text", self.write("blank.jsonl", "\n\n"))
        self.refused("holds a NUL byte", self.write("nul", b"a" * (3 << 20) + b"\0b"))
        packed = gzip.compress(b"text" * 9999)
        self.refused("is damaged", self.write("cut.gz", packed[:-9]))
        self.refused("is damaged", self.write("none.gz", "not packed at all"))
        self.refused("- is named twice", "-", "-")

    def test_flags(self):
        for flags in (["--shard-tokens", "0"], ["--val-share", "nan"], ["--val-share", "1.1"],
                      ["--val-every", "2", "--val-share", "0.5"], ["--val-every", "x"], ["--between", ""]):  # fmt: skip
            with self.subTest(flags):
                result = self.prepare(*flags, stdin=b"text")
                self.assertEqual(result.returncode, 2)
                self.assertIn(flags[0].encode(), result.stderr)
                self.assertNotIn(b"Traceback", result.stderr)


class Vocabularies(InDirectory):
    def setUp(self):
        super().setUp()
        self.write("tiktoken.py", STAND_IN)
        self.stand_in = {"PYTHONPATH": str(self.at)}

    def test_uint16_up_to_65536_tokens(self):
        for vocabulary, width in ((65536, 2), (65537, 4)):
            out = self.done(
                "--tokenizer",
                f"characters_{vocabulary}",
                stdin=MULTILINGUAL.replace("🙂", "").encode(),
                env=self.stand_in,
            )
            tokens, found = read_shard(self.at / "s/x_train_000001.bin")
            self.assertEqual(found, width)
            self.assertEqual(tokens, [vocabulary - 1, *map(ord, MULTILINGUAL.replace("🙂", ""))])
            self.assertIn(f"--vocab {vocabulary}", out)
            self.run_it("rm", "-r", "s")

    def test_characters_where_blocks_of_the_file_meet(self):
        text = "a" + "я" * (1 << 20)  # two bytes each: the first block ends within one
        self.done("--tokenizer", "characters_65537", stdin=text.encode(), env=self.stand_in)
        self.assert_same(self.tokens("train"), [65536, *map(ord, text)])

    def test_what_cannot_be_encoded(self):
        flags = ["--tokenizer", "characters_65536"]
        path = self.write("latin1.txt", "Grüße".encode("latin1"))
        self.refused(f"{path} is not UTF-8", *flags, path, env=self.stand_in)
        self.refused("is not UTF-8", *flags, stdin="cut: ü".encode()[:-1], env=self.stand_in)
        self.refused(
            "is not known: choose bytes, characters_65536",
            "--tokenizer",
            "cl1000k",
            stdin=b"a",
            env=self.stand_in,
        )
        self.refused(
            "cannot be loaded (ConnectionError)",
            "--tokenizer",
            "out_of_reach",
            stdin=b"a",
            env=self.stand_in,
        )

    def test_without_tiktoken(self):
        self.write("tiktoken.py", "raise ImportError")
        self.refused(
            "pip install tiktoken", "--tokenizer", "cl100k_base", stdin=b"a", env=self.stand_in
        )


def small_encodings():
    """tiktoken's three patterns over a small table of merges: single bytes, and pairs among the
    bytes at which a document may be cut, so that a token reaches wherever a pattern lets it."""
    import tiktoken
    from tiktoken_ext import openai_public as own

    own.load_tiktoken_bpe = own.data_gym_to_mergeable_bpe_ranks = lambda *_, **__: {}
    ranks = {bytes([b]): b for b in range(256)}
    often = b" \n\raez.,/'_19"
    for x in often:
        for y in often:
            ranks.setdefault(bytes([x, y]), len(ranks))
    for name in ("r50k_base", "cl100k_base", "o200k_base"):
        pattern = getattr(own, name)()["pat_str"]
        yield tiktoken.Encoding("small_" + name, pat_str=pattern, mergeable_ranks=ranks,
                                special_tokens={"<|endoftext|>": len(ranks)})  # fmt: skip


class RealTiktoken(unittest.TestCase):
    def setUp(self):
        try:
            import tiktoken  # noqa: F401
        except ImportError:
            self.skipTest("no tiktoken here")
        sys.path.insert(0, str(PREPARE.parent))
        import prepare

        self.prepare = prepare
        self.addCleanup(setattr, prepare, "PIECE", prepare.PIECE)

    def test_pieces_have_the_tokens_of_the_whole(self):
        rng = random.Random(7)
        words = [
            " ",
            "  ",
            "\n",
            "\n\n",
            "\r\n",
            "a",
            "ez",
            " a",
            " 19",
            "1",
            ".",
            ", ",
            "/",
            "'",
            "_",
            "я",
            "你",
            "🙂",
            "<|endoftext|>",
        ]
        self.prepare.PIECE = 800  # the last 50 characters are searched for a cut
        for encoding in small_encodings():
            pieces_in_all = 0
            for _ in range(200):
                text = "".join(rng.choice(words) for _ in range(2000))
                tokenizer = self.prepare.Tiktoken.__new__(self.prepare.Tiktoken)
                tokenizer.encoding, tokenizer.threads, tokenizer.width = encoding, 2, 2
                data = text.encode()
                pieces = list(tokenizer.pieces("text", [data[:3333], data[3333:]]))
                self.assertEqual("".join(pieces), text)
                if not all(self.prepare.Tiktoken.CUT.match(text, end) for end in ends(pieces)):
                    continue  # there was no place for a cut, and tokens may differ
                pieces_in_all += len(pieces)
                got = b"".join(tokenizer.encode(pieces))
                expected = encoding.encode_ordinary(text)
                self.assertEqual(list(struct.unpack(f"<{len(got) // 2}H", got)), expected)
            self.assertGreater(pieces_in_all, 200)


def ends(pieces):
    at = 0
    for piece in pieces[:-1]:
        at += len(piece)
        yield at


class Train(InDirectory):
    """./train on what was written."""

    def setUp(self):
        super().setUp()
        if not TRAIN.exists():
            self.skipTest(f"no {TRAIN}")

    def train(self, *flags):
        result = self.run_it(TRAIN, "--size", "tiny", "--threads", 1, *flags)
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stdout.decode(errors="replace")  # a sample of random bytes

    def test_counts(self):
        text = random.Random(2).randbytes(5000).replace(b"\0", b"\1")
        lines = "\n".join(
            json.dumps({"text": text[i : i + 500].decode("latin1")}) for i in range(0, 5000, 500)
        )
        self.done("--jsonl", "--val-every", 5, "--shard-tokens", 1000, stdin=lines.encode())
        train, val = len(self.tokens("train")), len(self.tokens("val"))
        self.assertGreater(len(self.files()), 6)
        data = ["--data", "s/x_train_*.bin", "--val-data", "s/x_val_*.bin", "--vocab", 256]
        # no --vocab here: with it --dry-run reads no data
        self.assertIn(
            f"{train} tokens to train on, {val} held out", self.train(*data[:4], "--dry-run")
        )
        out = self.train(*data, "--document-mask", "--steps", 2, "--val-batches", 1, "--out", "run")
        self.assertIn("documents, which begin with token 0", out)
        self.assertTrue(json.loads((self.at / "run/config.json").read_text())["document-mask"])
        out = self.train("--evaluate", "--init-from", "run", "--data", "s/x_val_*.bin")
        shards = len(list(self.at.glob("s/x_val_*.bin")))  # no token before a file's first
        self.assertIn(f"tokens      {val - shards} predicted", out)

    def test_the_separator_of_a_known_vocabulary(self):
        self.write("tiktoken.py", STAND_IN.replace("characters_65537", "characters_50257"))
        self.done(
            "--tokenizer",
            "characters_50257",
            stdin=b"some words " * 200,
            env={"PYTHONPATH": str(self.at)},
        )
        out = self.train("--data", "s/x_train_*.bin", "--document-mask", "--dry-run")
        self.assertIn("documents, which begin with token 50256", out)


class Fetch(InDirectory):
    """The recipes, with a stand-in for the hub's packages."""

    def fetch(self, *arguments, **more):
        return self.run_it(FETCH, *arguments, **more)

    def setUp(self):
        super().setUp()
        self.write("datasets.py", """
def load_dataset(name, configuration, split, streaming):
    assert streaming
    if "TinyStories" in name:
        yield {"text": "Once."}
        raise ConnectionError("the line is down")
    if "wikitext" in name:
        for text in ("", " = One = \\n", " a = b \\n", " = = Part = = \\n", " = Two = \\n", "c\\n"):
            yield {"text": text}
    else:
        for i in range(20000):
            yield {"text": f"{name} {configuration} {split} {i}"}
""")  # fmt: skip
        self.write("huggingface_hub.py", """
def hf_hub_download(name, file, repo_type):
    assert (name, file, repo_type) == ("GAIR/lima", "train.jsonl", "dataset")
    return "lima_train.jsonl"
""")  # fmt: skip
        self.hub = {"PYTHONPATH": str(self.at), "PYTHON": sys.executable, "OUT": "s"}

    def test_the_list_names_every_recipe(self):
        result = self.fetch()
        self.assertEqual(result.returncode, 0)
        recipes = re.findall(r"^([a-z0-9-]+)\)", FETCH.read_text(), re.M)
        self.assertEqual(len(recipes), 7)
        for recipe in recipes:
            self.assertRegex(result.stdout.decode(), rf"(?m)^{recipe} ")

    def test_an_unknown_name(self):
        result = self.fetch("c5")
        self.assertEqual(
            (result.returncode, result.stderr),
            (2, b"fetch.sh: there is no c5: data/fetch.sh lists the names\n"),
        )

    def test_streams(self):
        result = self.fetch("c4-validation", "--tokenizer", "bytes", env=self.hub)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"10,000 documents", result.stdout)
        self.assertEqual(self.files(), ["c4-validation_val_000000.bin"])
        text = bytes(read_shard(self.at / "s/c4-validation_val_000000.bin")[0])
        self.assertTrue(
            text.startswith(b"\0allenai/c4 en validation 0\0allenai/c4 en validation 1\0")
        )
        self.assertEqual(
            self.fetch("c4-validation", "--tokenizer", "bytes", env=self.hub).returncode, 2
        )

    def test_articles(self):
        result = self.fetch(
            "wikitext-103", "--tokenizer", "bytes", "--val-share", "0", env=self.hub
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        text = bytes(read_shard(self.at / "s/wikitext-103_train_000001.bin")[0])
        self.assertEqual(text, b"\0 = One = \n a = b \n = = Part = = \n\0 = Two = \nc\n")

    def test_a_source_that_ends_early_leaves_nothing(self):
        result = self.fetch("tinystories", "--tokenizer", "bytes", "--val-share", "0", env=self.hub)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"was not read to its end", result.stderr)
        self.assertEqual(list((self.at / "s").iterdir()), [])

    def test_lima(self):
        self.write(
            "lima_train.jsonl",
            '{"conversations": ["Why?", "So."]}\n{"conversations": ["ä", "b", "c", "d"]}\n',
        )
        result = self.fetch("lima", env=self.hub)
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = (self.at / "s/lima.jsonl").read_text().splitlines()
        self.assertEqual(list(map(json.loads, lines)), [
            {"prompt": "Why?\n\n", "completion": "So."},
            {"prompt": "ä\n\nb\n\nc\n\n", "completion": "d"},
        ])  # fmt: skip

    def test_the_dictionary(self):
        if not os.path.exists("/usr/share/dictd/gcide.dict.dz"):
            self.skipTest("no dict-gcide here")
        result = self.fetch("dict-gcide", env=self.hub)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.files(), ["dict-gcide_train_000001.bin", "dict-gcide_val_000000.bin"])
        self.assertIn(b"--data 's/dict-gcide_train_*.bin'", result.stdout)


if __name__ == "__main__":
    unittest.main()
