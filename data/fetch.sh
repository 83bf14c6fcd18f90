#!/usr/bin/env bash
# Other people's data, made ready for ./train:
#
#   data/fetch.sh                             lists what there is
#   data/fetch.sh NAME                        writes shards/NAME_..., by data/prepare.py
#   data/fetch.sh NAME --tokenizer bytes      what follows the name goes to data/prepare.py
#
# In the environment: OUT is where to (shards), PYTHON which Python (python3), DOCUMENTS how many
# documents at most (DCLM's 3 billion need a limit; 0: all), of those that come from the hub one by one:
# tinystories, c4-validation, fineweb-edu, dclm.
#
# All but dict-gcide come from the Hugging Face hub by its own packages:
#   python3 -m venv venv && venv/bin/pip install datasets huggingface_hub zstandard tiktoken
#   PYTHON=venv/bin/python data/fetch.sh tinystories
# Only dict-gcide, and the making of samples of a made-up LIMA, have been run so far: the others are
# written after the hub's pages, as there was no internet where this was written.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-shards}
python=${PYTHON:-python3}

list() {
    cat << 'END'
name           what it is                                      size, about          licence
dict-gcide     an English dictionary, installed by make deps   40 MB of text        GPL 2 or later; offline
tinystories    short stories in a child's words                1 GB to fetch        CDLA-Sharing 1.0
wikitext-103   good and featured articles of Wikipedia         0.3 GB to fetch      CC BY-SA 3.0, GFDL
c4-validation  the first 10,000 samples of C4's validation     40 MB to fetch       ODC-By, Common Crawl's terms
fineweb-edu    sample-10BT of FineWeb-Edu                      10 G tokens, 28 GB   ODC-By, Common Crawl's terms
dclm           DCLM-baseline, the first 1,000,000 documents    1.3 G tokens, of 4 T CC BY 4.0, Common Crawl's terms
lima           1,000 samples to fine-tune on (Appendix D.2)    3 MB                 CC BY-NC-SA or stricter; gated

Sizes and licences were noted without the internet at hand: the data's own page decides.
Shards are for --data 'shards/NAME_train_*.bin' --val-data 'shards/NAME_val_*.bin'; lima is samples,
--data shards/lima.jsonl.
END
}

fail() {
    echo "fetch.sh: $1" >&2
    exit 2
}

needs_python() { # the packages
    for package in "$@"; do
        "$python" -c "import $package" 2> /dev/null ||
            fail "$python has no package $package: python3 -m venv venv && venv/bin/pip install $* tiktoken, then PYTHON=venv/bin/python data/fetch.sh ..."
    done
}

# ---- sources, each to stdout --------------------------------------------------------------------

# hub DATASET CONFIGURATION SPLIT DOCUMENTS: {"text": ...} a line, as it is downloaded
hub() {
    "$python" -c '
import itertools, json, sys
from datasets import load_dataset
name, configuration, split, documents = sys.argv[1:]
rows = load_dataset(name, configuration or None, split=split, streaming=True)
for row in itertools.islice(rows, int(documents) or None):
    print(json.dumps({"text": row["text"]}))
' "$@"
}

# Lines of WikiText, which are rows of it, to articles: one begins with a heading of the first level.
articles() {
    "$python" -c '
import json, re, sys
article = []
def write():
    if article:
        print(json.dumps({"text": "".join(article)}))
for line in sys.stdin:
    text = json.loads(line)["text"]
    if re.fullmatch(r" = [^=].* = \n", text):
        write()
        article.clear()
    article.append(text)
write()
'
}

# LIMA: "conversations" are turns, by turns the user's and the assistant's. The last answer is what
# is learned, what was said before is its prompt.
samples() {
    "$python" -c '
import json, sys
for line in sys.stdin:
    *before, answer = json.loads(line)["conversations"]
    prompt = "".join(turn + "\n\n" for turn in before)
    print(json.dumps({"prompt": prompt, "completion": answer}, ensure_ascii=False))
'
}

# ---- recipes ------------------------------------------------------------------------------------

[ $# -gt 0 ] || { list; exit 0; }
name=$1
shift
case $name in
dict-gcide)
    source_of() { zcat /usr/share/dictd/gcide.dict.dz; }
    flags=(--between '\n\n' --val-share 0.05)
    [ -r /usr/share/dictd/gcide.dict.dz ] || fail "the dictionary is not installed: make deps, or apt-get install dict-gcide"
    ;;
tinystories)
    source_of() { hub roneneldan/TinyStories "" train "${DOCUMENTS:-0}"; }
    flags=(--jsonl --tokenizer cl100k_base --val-share 0.01)
    ;;
wikitext-103)
    source_of() { hub Salesforce/wikitext wikitext-103-raw-v1 train 0 | articles; }
    flags=(--jsonl --tokenizer cl100k_base --val-share 0.01)
    ;;
c4-validation)
    source_of() { hub allenai/c4 en validation "${DOCUMENTS:-10000}"; }
    flags=(--jsonl --tokenizer cl100k_base --val-every 1)
    ;;
fineweb-edu)
    source_of() { hub HuggingFaceFW/fineweb-edu sample-10BT train "${DOCUMENTS:-0}"; }
    flags=(--jsonl --tokenizer cl100k_base --val-share 0.001)
    ;;
dclm)
    source_of() { hub mlfoundations/dclm-baseline-1.0 "" train "${DOCUMENTS:-1000000}"; }
    flags=(--jsonl --tokenizer cl100k_base --val-share 0.001)
    ;;
lima) ;;
*) fail "there is no $name: data/fetch.sh lists the names" ;;
esac

# Nothing has its place in $out before the source has ended well.
mkdir -p "$out"
new=$(mktemp -d "$out/.fetch-XXXXXX")
trap 'rm -rf "$new"' EXIT

if [ "$name" = lima ]; then
    needs_python huggingface_hub
    file=$("$python" -c '
from huggingface_hub import hf_hub_download
print(hf_hub_download("GAIR/lima", "train.jsonl", repo_type="dataset"))
') || fail "LIMA cannot be fetched: agree to its terms at https://huggingface.co/datasets/GAIR/lima, then log in by venv/bin/hf auth login"
    samples < "$file" > "$new/lima.jsonl"
    mv "$new/lima.jsonl" "$out/"
    echo "./train --data '$out/lima.jsonl' --epochs 15"
    exit 0
fi

[ "$name" = dict-gcide ] || needs_python datasets
[ -z "$(find "$out" -maxdepth 1 -name "${name}_*.bin")" ] ||
    fail "$out has shards of $name already: remove them, or set OUT"
source_of | "$python" "$here/prepare.py" --out "$new/$name" "${flags[@]}" "$@" > "$new/log" ||
    fail "$name was not read to its end (see above): nothing was written"
mv "$new"/*.bin "$out/"
sed "s|$new/|$out/|g" "$new/log"
