"""What the engine writes into Chroma, read with Chroma's own Python client: names, counts, ids, vectors, metadata as docs/providers.md
says; and what is replaced and deleted through the engine is gone there.
"""
import argparse
import json
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from engine import Engine  # noqa: E402

import chromadb  # noqa: E402

TEXT = "The kingfisher dives for fish.\n\n" + "A heron stands in the reed and waits. " * 60


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def finish(engine, answer):
    check(answer.status == 202, answer)
    record = engine.finished(json.loads(answer.body))
    check(record["status"] == "succeeded", record)
    return engine.ask("GET", f"/jobs/{record['id']}/result")


def put(engine, identity, **more):
    return finish(engine, engine.request("POST", "/api/v1/collections/default/documents", {"id": identity, **more},
                                         {"Content-Type": "application/json"}))


def check_records(client, chunks):
    names = [c.name for c in client.list_collections()]
    check(len(names) == 1 and names[0].startswith("rag-"), names)
    collection = client.get_collection(names[0], embedding_function=None)
    check(collection.metadata["rag.embedder"] == "local/hash-1/768", collection.metadata)
    check(names[0] == "rag-" + collection.metadata["rag.collection"], collection.metadata)
    check(collection.configuration_json["hnsw"]["space"] == "cosine", collection.configuration_json)
    check(collection.count() == sum(chunks.values()), (collection.count(), chunks))
    got = collection.get(include=["documents", "metadatas", "embeddings"])
    counts = {}
    for identity, text, metadata, vector in zip(got["ids"], got["documents"], got["metadatas"], got["embeddings"]):
        document = metadata["document_id"]
        check(identity == f"{document}@{metadata['generation']}#{metadata['ordinal']}", identity)
        check(text and metadata["end"] > metadata["start"] >= 0, metadata)
        check(len(vector) == 768 and abs(math.fsum(x * x for x in vector) - 1) < 1e-4, "vectors have unit length")
        counts[document] = counts.get(document, 0) + 1
    check(counts == chunks, (counts, chunks))
    return collection, got


def run(engine, client):
    chunks = {
        "birds": put(engine, "birds", text=TEXT, title="Birds", uri="http://example.org/birds",
                     metadata={"lang": "en", "year": 2020, "ok": True, "tag": ["x", "y"], "none": None})["chunks"],
        "other": put(engine, "other", text="Nothing of the kind.", metadata={"lang": "de"})["chunks"],
    }
    check(chunks["birds"] > 1, chunks)
    collection, got = check_records(client, chunks)
    metadata = next(m for m in got["metadatas"] if m["document_id"] == "birds")
    check(metadata["title"] == "Birds" and metadata["uri"] == "http://example.org/birds", metadata)
    check(json.loads(metadata["metadata"]) == {"lang": "en", "year": 2020, "ok": True, "tag": ["x", "y"], "none": None}, metadata)
    # what filters look at works for other programs, too
    for where, want in (({"m.lang": "en"}, "birds"), ({"m.year": {"$gte": 2000.0}}, "birds"), ({"b.ok": 1}, "birds"),
                        ({"i.tag=s:x": 1}, "birds"), ({"z.none": 1}, "birds"), ({"m.lang": "de"}, "other")):
        found = {m["document_id"] for m in collection.get(where=where, include=["metadatas"])["metadatas"]}
        check(found == {want}, (where, found))
    # a search with a vector of the engine's finds its own chunk
    near = collection.query(query_embeddings=[got["embeddings"][0]], n_results=1)
    check(near["ids"][0][0] == got["ids"][0] and near["distances"][0][0] < 1e-4, near)
    query(engine)
    # replaced: the old generation is gone; deleted: nothing is left
    chunks["birds"] = put(engine, "birds", text="One short text.")["chunks"]
    collection, got = check_records(client, chunks)
    check("Kingfisher" not in "".join(got["documents"]), "the old text is gone")
    finish(engine, engine.request("DELETE", "/api/v1/collections/default/documents/other"))
    del chunks["other"]
    check_records(client, chunks)


def query(engine):
    answer = engine.request("POST", "/api/v1/collections/default/query", {"query": "What does the kingfisher do?", "filter": {"tag": "x"}},
                            {"Content-Type": "application/json", "Prefer": "wait=30"})
    check(answer.status == 200, answer)
    result = json.loads(answer.body)
    check(result["citations"][0]["document_id"] == "birds", result)
    check("LEXICAL_RESCORED" in [w["code"] for w in result["warnings"]], result["warnings"])
    refused = engine.request("POST", "/api/v1/collections/default/query", {"query": "kingfisher", "mode": "lexical"},
                             {"Content-Type": "application/json"})
    check(refused.status == 422 and json.loads(refused.body)["code"] == "STORE_UNSUPPORTED", refused)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--chroma", required=True, help="program of a Chroma server")
    args = parser.parse_args()
    with Engine(args.bin) as engine:
        port = engine.start_chroma(args.chroma)
        engine.start_api()
        engine.start_worker()
        run(engine, chromadb.HttpClient("127.0.0.1", port))
    print("the engine's records are as documented")


if __name__ == "__main__":
    main()
