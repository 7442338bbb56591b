"""What stands for models in the fake provider: vectors of hashed words, so that like texts are near each other, scores of the same
kind, and answers that quote the best source. Everything is the same on every machine and in every run.
"""
import collections
import functools
import hashlib
import math
import re

STOP = frozenset("a an and are as at be by does for from has how in is it its not of on or that the this to was what when where which who why "
                 "will with".split())
DIMS_OF_A_WORD = 4
REFUSAL = "The sources do not hold the answer."


def tokens_of(text):
    """An estimate like a tokenizer's: about four bytes a token, one at least."""
    return max(1, -(-len(text.encode()) // 4))


def words_of(text):
    found = re.findall(r"\w+", text.lower())
    return [w[:-1] if len(w) > 3 and w.endswith("s") else w for w in found]


@functools.lru_cache(maxsize=65536)
def places(word, dim):
    digest = hashlib.blake2b(word.encode(), digest_size=4 * DIMS_OF_A_WORD).digest()
    weight = 0.1 if word in STOP else 1.0
    found = []
    for i in range(DIMS_OF_A_WORD):
        number = int.from_bytes(digest[4 * i:4 * i + 4], "little")
        found.append(((number >> 1) % dim, weight if number & 1 else -weight))
    return tuple(found)


def vector_of(text, dim, length=1.0):
    """A list of dim numbers whose Euclidean length is `length`; a text without words has a vector of its own, too."""
    vector = [0.0] * dim
    for word, times in collections.Counter(words_of(text)).items() or [("", 1)]:
        for place, sign in places(word, dim):
            vector[place] += sign * math.sqrt(times)
    norm = math.sqrt(sum(x * x for x in vector))
    if norm == 0:  # signs that cancel
        vector[0] = norm = 1.0
    return [x * length / norm for x in vector]


def score_of(query, text):
    """0 to 1: how much the two are about the same."""
    a, b = set(words_of(query)) - STOP, set(words_of(text)) - STOP
    if not a or not b:
        return 0.0
    return len(a & b) / math.sqrt(len(a) * math.sqrt(len(b)) + len(a))


def sources_in(prompt):
    """[(n, text)] of what follows "[n]" at the beginnings of lines, and the question: what follows the last "Question:", or all."""
    head, mark, question = prompt.rpartition("Question:")
    if not mark:
        head, question = prompt, prompt
    parts = re.split(r"(?m)^[ \t]*\[(\d+)\]", head)
    return list(zip(map(int, parts[1::2]), parts[2::2])), question.strip()


def answer_to(prompt, system):
    """The sentence of a source that has most of the question's words, cited; without one the refusal that the instructions name."""
    sources, question = sources_in(prompt)
    best = (0.0, 0, "")
    for n, text in sources:
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
            score = score_of(question, sentence)
            if score > best[0]:
                best = (score, n, sentence.strip())
    if best[0] == 0:
        named = re.search("[\"\u201c]([^\"\u201d\n]{10,200})[\"\u201d]", system)
        return named.group(1) if named else REFUSAL
    return f"{best[2].rstrip('.!? ')} [{best[1]}]."


def pieces_of(text):
    """As a stream brings it: words with the space that follows."""
    return re.findall(r"\S+\s*|\s+", text)
