#!/usr/bin/env python3
"""Ten questions, written before looking, about the HTML manual of PostgreSQL 15 (package postgresql-doc-15: over 1,000
pages that nobody here wrote). Prints the rank of the page that should answer each, and the answer's first words.

    ragctl collections create pg15
    ragctl ingest --collection pg15 /usr/share/doc/postgresql-doc-15/html
    bench/postgresql_manual.py [URL [COLLECTION]]
"""
import json
import os
import sys
import urllib.request

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
collection = sys.argv[2] if len(sys.argv) > 2 else "pg15"
here = os.path.dirname(os.path.abspath(__file__))


def ask(question, **more):
    body = json.dumps({"query": question, **more}).encode()
    request = urllib.request.Request(f"{url}/api/v1/collections/{collection}/query", body,
                                     {"Content-Type": "application/json", "Prefer": "wait=30"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


ranks = []
for line in open(os.path.join(here, "postgresql-manual.tsv"), encoding="utf-8"):
    page, question = line.rstrip("\n").split("\t")
    pages = []
    for hit in ask(question, generate=False, top_k=100)["results"]:
        name = hit["document_id"].rsplit("/", 1)[-1]
        if name not in pages:
            pages.append(name)
    rank = pages.index(page) + 1 if page in pages else 0
    ranks.append(rank)
    answer = ask(question)["answer"]
    print(f"{rank or '-':>3}  {page:32} {question}\n       first: {pages[0]}; answer: {' '.join(answer.split())[:160]}")
found = [rank for rank in ranks if rank]
print(f"right page first: {ranks.count(1)} of {len(ranks)}; in the first three: {sum(r <= 3 for r in found)}; "
      f"in the first ten: {sum(r <= 10 for r in found)}; MRR {sum(1 / r for r in found) / len(ranks):.2f}")
