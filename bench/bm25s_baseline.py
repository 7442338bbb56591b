#!/usr/bin/env python3
"""nDCG@10 of PyPI's bm25s on folders in BEIR's layout: the peer of the lexical leg in docs/retrieval.md.

bench/bm25s_baseline.py FOLDER...

Needs bm25s and PyStemmer; makes itself a private environment for them (build/venv-bm25s) when they are not there.
Each document is indexed whole, title and text joined by a blank, as bm25s' own BEIR examples do it; English stop words
and stemmer. The first row is its default (lucene, k1 1.5, b 0.75), then other usual settings.
"""
import json
import math
import os
import subprocess
import sys

PACKAGES = ["bm25s==0.3.16", "PyStemmer==3.1.0"]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, "build", "venv-bm25s")
SETTINGS = [  # method, k1, b, stemmed
    ("lucene", 1.5, 0.75, True),
    ("lucene", 1.5, 0.75, False),
    ("lucene", 1.2, 0.75, True),
    ("lucene", 0.9, 0.4, True),
    ("robertson", 1.5, 0.75, True),
    ("atire", 1.5, 0.75, True),
    ("bm25l", 1.5, 0.75, True),
    ("bm25+", 1.5, 0.75, True),
]


def use_private_environment():
    python = os.path.join(VENV, "bin", "python")
    if os.environ.get("RAG_BM25S") == "1":
        sys.exit("bm25s_baseline: bm25s cannot be imported from " + VENV)
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    os.environ["RAG_BM25S"] = "1"
    os.execv(python, [python, *sys.argv])


try:
    import bm25s
    import Stemmer
except ImportError:
    use_private_environment()


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def read_judged(path):
    judged = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            query, document, grade = line.rstrip("\n").split("\t")
            if grade.lstrip("-").isdigit() and int(grade) > 0:
                judged.setdefault(query, {})[document] = int(grade)
    return judged


def ndcg(ranked, judged):
    gain = sum(judged.get(d, 0) / math.log2(i + 2) for i, d in enumerate(ranked[:10]))
    best = sorted(judged.values(), reverse=True)[:10]
    return gain / sum(g / math.log2(i + 2) for i, g in enumerate(best))


def measure(folder):
    documents = read_lines(os.path.join(folder, "corpus.jsonl"))
    judged = read_judged(os.path.join(folder, "qrels", "test.tsv"))
    queries = [q for q in read_lines(os.path.join(folder, "queries.jsonl")) if q["_id"] in judged]
    ids = [d["_id"] for d in documents]
    texts = [(d.get("title", "") + " " + d["text"]).strip() for d in documents]
    print(f"{folder}: {len(ids)} documents, {len(queries)} questions")
    for method, k1, b, stemmed in SETTINGS:
        stemmer = Stemmer.Stemmer("english") if stemmed else None
        cut = dict(stopwords="en", stemmer=stemmer, show_progress=False)
        index = bm25s.BM25(method=method, k1=k1, b=b)
        index.index(bm25s.tokenize(texts, **cut), show_progress=False)
        asked = bm25s.tokenize([q["text"] for q in queries], **cut)
        found, _ = index.retrieve(asked, k=100, show_progress=False)
        values = [ndcg([ids[i] for i in row], judged[q["_id"]]) for row, q in zip(found, queries)]
        name = f"{method} k1 {k1} b {b}" + ("" if stemmed else ", no stemmer")
        print(f"  {name:32} nDCG@10 {sum(values) / len(values):.4f}")


if len(sys.argv) < 2:
    sys.exit("usage: bench/bm25s_baseline.py FOLDER...")
for name in sys.argv[1:]:
    measure(name)
