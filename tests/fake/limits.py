"""Limits of the fake provider as a server keeps them: a sliding window over what it has let in; and what it has seen, to be asked
for by tests. Clock: the server's own, monotonic.
"""
import bisect
import collections
import fnmatch
import threading
import time


class Window:
    """Amounts let in during the last `seconds`; wait_for says how long until `amount` more fits under `limit` (0 = now)."""

    def __init__(self, seconds):
        self.seconds, self.entries, self.sum = seconds, collections.deque(), 0

    def wait_for(self, amount, limit, now):
        while self.entries and self.entries[0][0] <= now - self.seconds:
            self.sum -= self.entries.popleft()[1]
        if not limit or self.sum + amount <= limit or not self.entries:
            return 0.0
        over = self.sum + amount - limit
        for at, taken in self.entries:
            over -= taken
            if over <= 0:
                return at + self.seconds - now
        return self.entries[-1][0] + self.seconds - now  # more than the limit at once: alone in the window

    def take(self, amount, now):
        self.entries.append((now, amount))
        self.sum += amount


class Limit:
    """One row: {"route", "requests_per_minute", "inputs_per_minute", "tokens_per_minute", "concurrency", "requests_per_day"}."""

    MINUTE = {"requests_per_minute": "requests", "inputs_per_minute": "inputs", "tokens_per_minute": "tokens"}

    def __init__(self, row, window_s):
        self.row, self.today, self.in_flight = row, 0, 0
        self.windows = {name: Window(window_s) for name in self.MINUTE}

    def enter(self, amounts, now):
        """None when let in, else (kind, seconds to wait): kind is "minute", "day" or "busy"."""
        if self.row.get("requests_per_day") is not None and self.today >= self.row["requests_per_day"]:
            return "day", 3600.0
        if self.row.get("concurrency") and self.in_flight >= self.row["concurrency"]:
            return "busy", 0.0
        wait = max(self.windows[name].wait_for(amounts[what], self.row.get(name), now) for name, what in self.MINUTE.items())
        if wait > 0:
            return "minute", wait
        for name, what in self.MINUTE.items():
            self.windows[name].take(amounts[what], now)
        self.today += 1
        self.in_flight += 1
        return None

    def remaining(self):
        row = self.row.get("requests_per_minute")
        return None if not row else (row, max(0, row - len(self.windows["requests_per_minute"].entries)))


class Seen:
    """Everything that has arrived. Rows: [at, route, inputs, tokens, status, fault, connection, excerpt]."""

    AT, ROUTE, INPUTS, TOKENS, STATUS, FAULT = range(6)

    def __init__(self):
        self.lock, self.in_flight = threading.Lock(), 0
        self.clear()

    def clear(self):
        with self.lock:
            self.rows, self.start = [], time.monotonic()
            self.max_in_flight, self.connections = self.in_flight, 0

    def arrive(self, route, inputs, tokens, connection, excerpt):
        with self.lock:
            self.rows.append([time.monotonic(), route, inputs, tokens, 0, "", connection, excerpt])
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)
            return self.rows[-1]

    def leave(self):
        with self.lock:
            self.in_flight -= 1

    def stats(self, pattern):
        with self.lock:
            routes = {}
            for row in self.rows:
                if not fnmatch.fnmatch(row[self.ROUTE], pattern):
                    continue
                for name in (row[self.ROUTE], "*"):
                    one = routes.setdefault(name, {"requests": 0, "inputs": 0, "tokens": 0, "ok": 0, "ok_inputs": 0, "statuses": {},
                                                   "faults": {}})
                    one["requests"] += 1
                    one["inputs"] += row[self.INPUTS]
                    one["tokens"] += row[self.TOKENS]
                    one["statuses"][str(row[self.STATUS])] = one["statuses"].get(str(row[self.STATUS]), 0) + 1
                    if row[self.FAULT]:
                        one["faults"][row[self.FAULT]] = one["faults"].get(row[self.FAULT], 0) + 1
                    elif row[self.STATUS] == 200:
                        one["ok"] += 1
                        one["ok_inputs"] += row[self.INPUTS]
            total = routes.pop("*", {"requests": 0, "inputs": 0, "tokens": 0, "ok": 0, "ok_inputs": 0, "statuses": {}, "faults": {}})
            return {**total, "routes": routes, "connections": self.connections, "in_flight": self.in_flight,
                    "max_in_flight": self.max_in_flight}

    def window(self, pattern, seconds, what):
        """The most that arrived in any window of this length (half open), refused or not."""
        with self.lock:
            rows = [r for r in self.rows if fnmatch.fnmatch(r[self.ROUTE], pattern)]
        amount = {"requests": lambda r: 1, "inputs": lambda r: r[self.INPUTS], "tokens": lambda r: r[self.TOKENS]}[what]
        times, sums = [r[self.AT] for r in rows], [0]
        for row in rows:
            sums.append(sums[-1] + amount(row))
        most = max((sums[bisect.bisect_left(times, at + seconds)] - sums[i] for i, at in enumerate(times)), default=0)
        return {"max": most, "total": sums[-1], "span_s": times[-1] - times[0] if times else 0.0,
                "times_s": [round(t - self.start, 4) for t in times]}
