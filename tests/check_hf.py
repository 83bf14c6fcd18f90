"""Models that ./train --export-hf writes, in Hugging Face transformers, and theirs by --import-hf.

usage: check_hf.py TRAIN LOGITS DIRECTORY   (./train; tests/hf/logits built; a directory, made anew)

Every placement and many options, with random weights and gammas that are not one: the logits of
transformers are those of peri.cpp within 1e-4, and both write the same text. Then models that
transformers made: the same logits, and the same bits when they are exported again. Then the tokenizers.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

train, logits_program, directory = sys.argv[1], sys.argv[2], Path(sys.argv[3])
os.environ.update(HF_HOME=str(directory / "cache"), HF_HUB_OFFLINE="1")

try:
    import numpy
    import torch
    import transformers
    from safetensors import safe_open
    from safetensors.numpy import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print(f"skipped: check-hf ({error}: pip install torch transformers safetensors numpy)")
    sys.exit(0)

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "hf"))
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
numbers = numpy.random.default_rng(1)

VOCAB, SEQ = 301, 48  # the table has 320 rows
# heads of 6 in 4 x 2, odd halves; an eps and a base that are nobody's default
SHAPE = f"--layers 3 --width 24 --heads 4 --kv-heads 2 --ffn 37 --seq {SEQ} --batch 1".split()
NUMBERS = "--norm-eps 0.02 --rope-base 500".split()
QUICK = "--steps 1 --lr 0 --val-batches 1 --probe-every 0 --tune off --threads 1 --quiet".split()
# 1e-4 of logits around 1: some hundred roundings of fp32
TOLERANCE = 1e-4


def run(program, *flags):
    done = subprocess.run([program, *map(str, flags)], capture_output=True)
    assert done.returncode == 0, (flags, done.stderr.decode())
    return done.stdout


def write_shard(path):
    """Tokens as llm.c's data scripts write them: 256 numbers of header, then uint16."""
    header = numpy.zeros(256, dtype="<i4")
    tokens = numpy.arange(4000) * 7919 % VOCAB
    header[:3] = 20240520, 1, len(tokens)
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())


def randomise(file):
    """Matrices of deviation 1 / sqrt(fan-in), gammas in [0.5, 1.5], betas about 0."""
    with safe_open(file, framework="np") as old:
        shapes = {name: old.get_slice(name).get_shape() for name in old.keys()}
    tensors = {}
    for name, shape in shapes.items():
        if len(shape) == 2:
            tensors[name] = numbers.normal(size=shape) / numpy.sqrt(shape[1])
        else:
            tensors[name] = numbers.uniform(-0.5, 0.5, size=shape) + name.endswith(".weight")
    # by chance the padding would win: exported, it must not be there
    for name in "embedding.weight", "head.weight":
        tensors[name][VOCAB:] *= 10
    tensors = {name: values.astype("float32") for name, values in tensors.items()}
    save_file(tensors, file, metadata={"vocab": str(VOCAB), "format": "pt"})


def new_model(name, flags):
    """A checkpoint with random weights."""
    out, data = directory / "runs" / name, directory / "shard.bin"
    run(train, *QUICK, *SHAPE, *NUMBERS, *flags, "--data", data, "--out", out)
    checkpoint = out / "step-00000001"
    randomise(checkpoint / "model.safetensors")
    return checkpoint


def export(checkpoint, name, *flags, program=train):
    to = directory / "hf" / name
    run(program, "--export-hf", to, "--init-from", checkpoint, *flags)
    return to


def load(path, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, trust_remote_code=True)
    return model.eval()


def our_logits(checkpoint, tokens):
    prompt = " ".join(map(str, tokens))
    out = run(logits_program, "--init-from", checkpoint, "--generate", 1, "--prompt", prompt)
    return torch.tensor(numpy.frombuffer(out, dtype="float32").reshape(len(tokens), -1))


def their_logits(model, tokens, **more):
    with torch.no_grad():
        return model(torch.tensor([list(tokens)]), **more).logits[0].float()


def our_text(checkpoint, prompt, n):
    out = run(train, "--init-from", checkpoint, "--generate", n, "--temperature", 0, "--prompt",
              " ".join(map(str, prompt)), "--threads", 1)  # fmt: skip
    return [int(word) for word in out.split()]


def their_text(model, ids, n, mask=None, **more):
    greedy = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    ids = torch.tensor(ids)
    mask = torch.ones_like(ids) if mask is None else torch.tensor(mask)
    with torch.no_grad():
        new = model.generate(ids, attention_mask=mask, max_new_tokens=n, **greedy, **more)
    return new.tolist()


def check_same(ours, theirs, what):
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    error = (ours - theirs).abs().max().item()
    assert error <= TOLERANCE, f"{what}: logits differ by {error:.3g}"
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1)), what
    return error


def check_own_code(model, checkpoint, tokens):
    """What transformers does with code that is not its own: paddings, no cache, loss."""
    text = our_text(checkpoint, tokens[:5], 20)
    assert their_text(model, [text[:5]], 20, use_cache=False)[0] == text
    padded = [text[:5], [0, 0, 0, *tokens[7:9]]]
    batch = their_text(model, padded, 20, mask=[[1] * 5, [0, 0, 0, 1, 1]])
    assert batch[0] == text and batch[1][3:] == our_text(checkpoint, tokens[7:9], 20)
    ids = torch.tensor([tokens])
    loss = model(ids, labels=ids).loss.item()
    expected = torch.nn.functional.cross_entropy(their_logits(model, tokens)[:-1], ids[0, 1:])
    assert abs(loss - expected.item()) <= 1e-5
    last = their_logits(model, tokens, logits_to_keep=1)
    assert torch.allclose(last, their_logits(model, tokens)[-1:], atol=1e-5)


# ---- every placement, and what may be chosen beside it ------------------------------------------

LLAMA, GLM4, OLMO2, PERI = (
    f"{name}ForCausalLM" for name in ("Llama", "Glm4", "Olmo2", "Peri")
)
NOT_PERI = {"pre": LLAMA, "peri": GLM4, "olmo2": OLMO2}  # transformers has these itself
LISTED = run(train, "--norm", "list").decode().splitlines()
CASES = [(name, "", NOT_PERI.get(name, PERI)) for name, *_ in map(str.split, LISTED)] + [
    ("post:1,peri:2", "", PERI),
    ("pre:1,keel:2", "", PERI),
    ("pre", "--embedding-norm on", LLAMA),
    ("pre", "--final-norm off", PERI),
    ("pre", "--layernorm", PERI),
    ("pre", "--qk-norm full", PERI),
    ("pre", "--kv-heads 4", LLAMA),
    ("pre", "--kv-heads 1", LLAMA),
    ("peri", "--embedding-norm off", GLM4),
    ("peri", "--kv-heads 1", GLM4),
    ("peri", "--heads 2 --kv-heads 2", GLM4),
    ("peri", "--final-norm off", PERI),
    ("peri", "--layernorm", PERI),
    ("peri", "--qk-norm head", PERI),
    ("peri", "--qk-norm full --layernorm", PERI),
    ("peri", "--freeze-output-gamma", GLM4),
    ("olmo2", "--embedding-norm on", OLMO2),
    ("olmo2", "--qk-norm head", PERI),
    ("olmo2", "--kv-heads 4", OLMO2),
    ("olmo2", "--layernorm", PERI),
    ("output", "--qk-norm full", OLMO2),
    ("output", "--embedding-norm on --final-norm off", PERI),
    ("simple", "--layernorm --kv-heads 1", PERI),
    ("deep", "--layernorm --embedding-norm on", PERI),
    ("keel", "--qk-norm head --final-norm on", PERI),
    ("post", "--embedding-norm on --final-norm on", PERI),
]


def check_case(placement, options, expected_class):
    what = f"{placement} {options}".strip()
    name = what.replace(" ", "_").replace(":", "-")
    checkpoint = new_model(name, ["--norm", placement, *options.split()])
    model = load(export(checkpoint, name))
    assert type(model).__name__ == expected_class, (what, type(model).__name__)
    tokens = numbers.integers(0, VOCAB, size=20).tolist()
    ours = our_logits(checkpoint, tokens)
    error = check_same(ours, their_logits(model, tokens), what)
    text = our_text(checkpoint, tokens[:5], SEQ - 5)
    theirs = their_text(model, [tokens[:5]], SEQ - 5)[0]
    assert theirs == text, (what, text, theirs)
    if expected_class == PERI:
        check_own_code(model, checkpoint, tokens)
    else:  # our own code is every model
        own = load(export(checkpoint, name + "-own", "--export-as", "peri"))
        check_same(ours, their_logits(own, tokens), what + " by modeling_peri.py")
    narrow = load(export(checkpoint, name + "-bf16", "--export-dtype", "bf16"), dtype="auto")
    assert narrow.dtype == torch.bfloat16
    # 8 bits of fraction through some 20 roundings in a row
    near = (their_logits(narrow, tokens) - ours).abs().max() / ours.abs().max()
    assert near <= 0.1, f"{what}: bf16 is {near:.3g} off"
    return error, near.item()


def check_parts():
    checkpoint = new_model("parts", ["--norm", "peri"])
    path = export(checkpoint, "parts", program=logits_program)
    assert len(list(path.glob("model-*.safetensors"))) > 2
    tokens = list(range(10, 30))
    check_same(our_logits(checkpoint, tokens), their_logits(load(path), tokens), "parts")


def check_bf16_training():
    """Matrices are stored as bf16, norms as fp32; neither is rounded again."""
    flags = ["--norm", "pre", "--precision", "bf16"]
    out = directory / "runs" / "bf16"
    data = directory / "shard.bin"
    run(train, *QUICK, *SHAPE, *flags, "--data", data, "--out", out)
    path = export(out, "bf16-training")
    assert AutoConfig.from_pretrained(path).dtype == torch.bfloat16
    tokens = list(range(10, 30))
    checkpoint = out / "step-00000001"
    check_same(our_logits(checkpoint, tokens), their_logits(load(path), tokens), "bf16 training")


# ---- models that transformers made --------------------------------------------------------------

THEIRS = [
    ("Llama", {}),
    ("Llama", {"num_key_value_heads": 4}),
    ("Llama", {"num_key_value_heads": 1, "dtype": torch.bfloat16}),
    ("Llama", {"tie_word_embeddings": True}),
    ("Olmo2", {}),
    ("Olmo2", {"num_key_value_heads": 4, "dtype": torch.float16}),
    ("Olmo2", {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12}),
    ("Glm4", {}),
    ("Glm4", {"num_key_value_heads": 1}),
    ("Glm4", {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 12, "dtype": torch.bfloat16}),
]


def their_model(name, dtype=torch.float32, **options):
    """One with random weights, gammas in [0.5, 1.5]."""
    rope = {"rope_type": "default", "rope_theta": 500.0}
    if name == "Glm4":
        rope["partial_rotary_factor"] = options["partial_rotary_factor"] = 1.0
    shape = {"vocab_size": VOCAB, "hidden_size": 24, "intermediate_size": 37, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
             "max_position_embeddings": SEQ, "rms_norm_eps": 0.02, "rope_theta": 500.0,
             "rope_parameters": rope, "attention_bias": False, "pad_token_id": None, "eos_token_id": None,
             "bos_token_id": None}  # fmt: skip
    config = getattr(transformers, name + "Config")(**{**shape, **options})
    model = AutoModelForCausalLM.from_config(config)
    for values in model.parameters():
        size = tuple(values.shape)
        drawn = (numbers.normal(size=size) / size[-1] ** 0.5 if len(size) == 2
                 else numbers.uniform(0.5, 1.5, size=size))  # fmt: skip
        values.data = torch.tensor(drawn, dtype=dtype)
    return model


def refused(path, to):
    done = subprocess.run([train, "--import-hf", str(path), "--out", str(to)], capture_output=True)
    said = done.stderr.decode()
    assert done.returncode == 2 and said.count("\n") == 1 and not to.exists(), (done, said)
    return said


def check_import(i, name, options):
    what = f"{name} {options}"
    path, to = directory / "theirs" / str(i), directory / "imported" / str(i)
    their_model(name, **options).save_pretrained(path, max_shard_size="20KB" if i % 2 else "5GB")
    run(train, "--import-hf", path, "--out", to)
    model = load(path)
    tokens = numbers.integers(0, VOCAB, size=20).tolist()
    error = check_same(our_logits(to, tokens), their_logits(model, tokens), what)
    again = load(export(to, f"theirs-{i}"))
    assert type(again) is type(model), what
    old, new = model.state_dict(), again.state_dict()
    assert old.keys() == new.keys(), what
    assert all(torch.equal(old[key], new[key]) for key in old), what
    return error


def check_imports():
    errors = [check_import(i, *case) for i, case in enumerate(THEIRS)]
    print(f"check-hf: {len(errors)} models of transformers imported: logits within {max(errors):.2g}, the same "
          "bits when exported again")  # fmt: skip
    yarn = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0, "original_max_position_embeddings": 12}
    for i, (name, options, words) in enumerate([
        ("Llama", {"rope_parameters": yarn}, "rope"),
        ("Llama", {"attention_bias": True}, "attention_bias"),
        ("Llama", {"hidden_act": "gelu"}, "hidden_act"),
        ("Llama", {"head_dim": 8}, "head_dim"),
        ("Qwen3", {}, "model_type"),
    ]):  # fmt: skip
        path = directory / "theirs" / f"refused-{i}"
        their_model(name, **options).save_pretrained(path)
        said = refused(path, directory / "imported" / f"refused-{i}")
        assert words in said, (words, said)
    half = directory / "theirs" / "half"  # as real GLM-4 models are
    model = their_model("Glm4")
    model.config.partial_rotary_factor = model.config.rope_parameters["partial_rotary_factor"] = 0.5
    model.save_pretrained(half)
    assert "partial_rotary_factor" in refused(half, directory / "imported" / "half")


# ---- text ---------------------------------------------------------------------------------------


def check_bytes():
    """From training to text, as the README says it."""
    out = directory / "runs" / "stories"
    run(train, *"--size tiny --steps 150 --lr 1e-2 --tune off --quiet --out".split(), out)
    path = export(out, "stories")
    model, tokenizer = load(path), AutoTokenizer.from_pretrained(path)
    ours = run(train, *"--generate 50 --temperature 0 --prompt Tom --init-from".split(), out)
    inputs = tokenizer("<|endoftext|>Tom", return_tensors="pt")
    text = tokenizer.decode(their_text(model, inputs.input_ids.tolist(), 50)[0])
    text = text.removeprefix("<|endoftext|>").replace("<|endoftext|>", "\n")
    assert text + "\n" == ours.decode()

    assert len(tokenizer) == 256
    special = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    assert special == (0, 0, 0) and tokenizer.convert_ids_to_tokens(0) == "<|endoftext|>"
    for text in (
        "".join(map(chr, range(1, 256))),
        "Größe, 大きさ, размер, حجم, 크기, 🙂",
        "ĀāĠġ \u00ad\u2028 <|endoftext |>",
        "  blanks  \n\n\ttabs\r\n ",
    ):
        ids = tokenizer(text).input_ids
        assert ids == list(text.encode()) and tokenizer.decode(ids) == text, text
    assert tokenizer("a\0b").input_ids == [97, 0, 98]
    every = tokenizer.convert_ids_to_tokens(list(range(256)))
    assert tokenizer.convert_tokens_to_ids(every) == list(range(256)) and len(set(every)) == 256
    padded = tokenizer(["a", "bcd"], padding=True)
    assert padded.input_ids in ([[97, 0, 0], [98, 99, 100]], [[0, 0, 97], [98, 99, 100]])


def check_harness():
    """The log-likelihoods that lm-evaluation-harness scores by, with and without a context."""
    try:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        print(f"skipped: lm-evaluation-harness ({error}: pip install 'lm_eval[hf]')")
        return
    checkpoint, path = directory / "runs" / "stories", directory / "hf" / "stories"
    pairs = [("Once upon a time", " there was"), ("", "Tom"), ("Tom saw", " eine Größe"),
             ("Tom saw", " a"), ("The cat", " is in the garden")]  # fmt: skip
    harness = HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=2)
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    scores = harness.loglikelihood(requests, disable_tqdm=True)
    for (context, text), (theirs, _) in zip(pairs, scores):
        read, predicted = list(context.encode()) or [0], list(text.encode())
        logits = our_logits(checkpoint, read + predicted)[len(read) - 1 : -1]
        chosen = logits.log_softmax(-1).gather(1, torch.tensor(predicted)[:, None])
        assert abs(chosen.sum().item() - theirs) <= TOLERANCE, (context, text, theirs)


def our_log_likelihood(checkpoint, question, choice):
    """By --evaluate: of the choice and the end of the text behind it."""
    path = directory / "sample.jsonl"
    path.write_text(json.dumps({"prompt": question, "completion": choice}) + "\n")
    out = run(train, "--evaluate", "--init-from", checkpoint, "--data", path).decode()
    said = {line.split()[0]: line.split()[1] for line in out.splitlines() if line}
    return -float(said["loss"]) * int(said["tokens"])


def check_task():
    """A multiple-choice task of one's own in lm-evaluation-harness: each choice is as likely there
    as --evaluate says."""
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        print(f"skipped: a task in lm-evaluation-harness ({error}: pip install 'lm_eval[hf]')")
        return
    folder, end = directory / "task", "<|endoftext|>"
    folder.mkdir()
    docs = [{"question": "Tom saw", "choices": [" a cat.", " the sea.", " 12."], "answer": 0},
            {"question": "The dog is in", "choices": [" the garden.", " größe."], "answer": 0}]
    for doc in docs:
        doc["choices"] = [choice + end for choice in doc["choices"]]
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    (folder / "stories.yaml").write_text(json.dumps({  # JSON is YAML
        "task": "stories", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(folder / "docs.jsonl")}},
        "output_type": "multiple_choice", "doc_to_text": "{{question}}",
        "doc_to_choice": "choices", "doc_to_target": "answer", "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}))
    checkpoint, path = directory / "runs" / "stories", directory / "hf" / "stories"
    harness = HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=1)
    done = lm_eval.simple_evaluate(
        model=harness, tasks=["stories"], log_samples=True, bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False))
    samples = done["samples"]["stories"]
    assert len(samples) == len(docs) and done["results"]["stories"]["acc,none"] >= 0
    for sample in samples:
        for choice, answers in zip(sample["doc"]["choices"], sample["resps"]):
            question = sample["doc"]["question"]
            ours = our_log_likelihood(checkpoint, question, choice.removesuffix(end))
            assert abs(ours - answers[0][0]) <= TOLERANCE, (sample["doc"], choice, ours, answers)


def check_tiktoken():
    """data/hf/tokenizer.py with an encoding that has gaps between its special tokens."""
    try:
        import tiktoken
        import tokenizer as script
    except ImportError as error:
        print(f"skipped: tokenizer.py ({error}: pip install tiktoken)")
        return
    ranks = {bytes([byte]): byte for byte in range(256)}
    for pair in b"th", b"the", b" the", b"in", b"ing", "ö".encode(), b"  ":
        ranks[pair] = len(ranks)
    encoding = tiktoken.Encoding(
        "small",
        pat_str=r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 270, "<|end|>": 299},
    )
    path = directory / "hf" / "stories-tiktoken"
    shutil.copytree(directory / "hf" / "stories", path)
    script.write(encoding, path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    text = "the thing, größe  12345<|endoftext|>in<|end|>"
    ids = tokenizer(text).input_ids
    assert ids == encoding.encode(text, allowed_special="all") and tokenizer.decode(ids) == text
    assert 270 in ids and tokenizer.eos_token_id == 270


shutil.rmtree(directory, ignore_errors=True)
directory.mkdir(parents=True)
write_shard(directory / "shard.bin")
errors = [check_case(*case) for case in CASES]
worst, near = (max(column) for column in zip(*errors))
print(f"check-hf: {len(CASES)} models in transformers {transformers.__version__}: the same text, "
      f"logits within {worst:.2g}; in bf16 within {near:.2g} of the largest")  # fmt: skip
check_imports()
check_parts()
check_bf16_training()
check_bytes()
check_harness()
check_task()
check_tiktoken()
print("check-hf: parts, bf16 checkpoints and tokenizers load")
