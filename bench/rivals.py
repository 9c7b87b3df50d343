"""What parlua is measured beside, in Python: `rivals.py CALL WORDS...` prints the seconds that it took and a check.

Starting the interpreter and, where the call does not say otherwise, the pool is left out of the time: workers are warm.
The last word of a call with chunks is their size."""
import sys
import time

WORKERS = 2
now = time.perf_counter


def warm_pool():
    import multiprocessing
    pool = multiprocessing.Pool(WORKERS)
    pool.map(abs, range(100))
    return pool


def square(x):
    return x * x


def check_of_list(results):
    n = len(results)
    return "%d:%.0f:%.0f" % (n, results[n // 2], results[-1])


def map_range(n, chunk):
    pool, n = warm_pool(), int(n)
    began = now()
    results = pool.map(square, range(1, n + 1), int(chunk))
    return now() - began, check_of_list(results)


def map_range_with_start(n, chunk):
    import multiprocessing
    n = int(n)
    began = now()
    with multiprocessing.Pool(WORKERS) as pool:
        results = pool.map(square, range(1, n + 1), int(chunk))
    return now() - began, check_of_list(results)


def map_list(n, chunk):
    pool, items = warm_pool(), [i + 0.5 for i in range(1, int(n) + 1)]
    began = now()
    results = pool.map(square, items, int(chunk))
    return now() - began, check_of_list(results)


def next_record(record):
    return {"id": record["id"], "x": record["x"] + 1, "y": record["y"] * 2, "name": record["name"],
            "even": not record["even"]}


def make_record(i):
    return {"a": i, "b": i * 0.5, "c": "s%d" % (i % 100)}


def make_string(i):
    return "text%d" % (10000000 + i)


def make_triple(i):
    return [i, i * 0.5, i * 2]


def time_map(f, n, chunk):
    pool, n = warm_pool(), int(n)
    began = now()
    results = pool.map(f, range(1, n + 1), int(chunk))
    return now() - began, results


def map_record(n, chunk):
    seconds, results = time_map(make_record, n, chunk)
    last = results[-1]
    return seconds, "%d:%d:%.1f:%s" % (len(results), last["a"], last["b"], last["c"])


def map_string(n, chunk):
    seconds, results = time_map(make_string, n, chunk)
    return seconds, "%d:%s" % (len(results), results[-1])


def map_triple(n, chunk):
    seconds, results = time_map(make_triple, n, chunk)
    last = results[-1]
    return seconds, "%d:%d:%.1f:%d" % (len(results), last[0], last[1], last[2])


def map_tables(n, chunk):
    pool = warm_pool()
    records = [{"id": i, "x": i + 0.25, "y": i * 3, "name": "n%d" % i, "even": i % 2 == 0}
               for i in range(1, int(n) + 1)]
    began = now()
    results = pool.map(next_record, records, int(chunk))
    seconds = now() - began
    last = results[-1]
    return seconds, "%d:%d:%.2f:%d:%s" % (len(results), last["id"], last["x"], last["y"], last["name"])


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def round_trip(calls, pause):
    pool, pause, all_seconds = warm_pool(), float(pause), []
    for i in range(int(calls)):
        if pause:
            time.sleep(pause)
        began = now()
        pool.apply(square, (i,))
        all_seconds.append(now() - began)
    return median(all_seconds), ""


def one_task_with_start(calls):
    import multiprocessing
    all_seconds = []
    for i in range(int(calls)):
        began = now()
        with multiprocessing.Pool(1) as pool:
            pool.apply(square, (i,))
        all_seconds.append(now() - began)
    return median(all_seconds), ""


def program_pool():
    """A whole program: timed from outside."""
    import multiprocessing
    with multiprocessing.Pool(WORKERS) as pool:
        assert sum(pool.map(square, range(1, 101))) == 338350


def program_joblib():
    import joblib
    assert sum(joblib.Parallel(n_jobs=WORKERS)(joblib.delayed(square)(i) for i in range(1, 101))) == 338350


def spin(seconds):
    until = now() + seconds
    while now() < until:
        pass
    return seconds


def heavy_tail(path, batch):
    import joblib
    with open(path) as file:
        lengths = [float(line) for line in file]
    with joblib.Parallel(n_jobs=WORKERS, batch_size=batch if batch == "auto" else int(batch)) as parallel:
        parallel(joblib.delayed(spin)(0.001) for _ in range(10))
        began = now()
        results = parallel(joblib.delayed(spin)(length) for length in lengths)
        return now() - began, len(results)


def is_prime(n):
    for d in range(2, int(n ** 0.5) + 1):
        if n % d == 0:
            return 0
    return 1


def primes(first, last, chunk):
    pool = warm_pool()
    began = now()
    results = pool.map(is_prime, range(int(first), int(last) + 1), int(chunk))
    return now() - began, sum(results)


def memory(n, chunk):
    """Measured from outside."""
    for _ in warm_pool().imap(square, range(int(n)), int(chunk)):
        pass


def words_of_part(part):
    import mmap
    path, first, last = part
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return len(text[first:last].split())


def words(path, chunk):
    """Pieces of whole lines of about `chunk` bytes."""
    import mmap
    pool, chunk = warm_pool(), int(chunk)
    began = now()
    parts, first = [], 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        while first < len(text):
            line_end = text.find(b"\n", first + chunk)
            last = len(text) if line_end < 0 else line_end + 1
            parts.append((path, first, last))
            first = last
    total = sum(pool.imap_unordered(words_of_part, parts))
    return now() - began, total


def words_of_line(line):
    return len(line.split())


def lines(path, chunk):
    pool = warm_pool()
    began = now()
    with open(path, "rb") as file:
        total = sum(pool.imap(words_of_line, file, int(chunk)))
    return now() - began, total


def hits(task):
    """Of so many samples, those in the quarter of a circle."""
    import numpy
    index, samples = task
    random = numpy.random.default_rng(index)
    x, y = random.random(samples), random.random(samples)
    return int(numpy.count_nonzero(x * x + y * y < 1))


def pi(tasks, samples):
    import numpy  # before the pool: its processes have it
    pool, tasks, samples = warm_pool(), int(tasks), int(samples)
    began = now()
    count = sum(pool.imap_unordered(hits, [(i, samples) for i in range(1, tasks + 1)], 10))
    seconds = now() - began
    assert abs(4 * count / (tasks * samples) - numpy.pi) < 0.01
    return seconds, ""


def array_sum(megabytes):
    import numpy
    a = numpy.arange(int(megabytes) * 125000) % 1000.0
    began = now()
    a.sum()
    return now() - began, ""


def twice(a, out, k):
    out[k] = 2 * a


def array_double(count, size):
    import numpy
    import os
    import tempfile
    from joblib import Parallel, delayed
    count, size = int(count), int(size)
    ins = [numpy.full(size, k, float) for k in range(count)]
    with tempfile.TemporaryDirectory() as directory:
        out = numpy.memmap(os.path.join(directory, "out"), float, "w+", shape=(count, size))
        with Parallel(WORKERS, max_nbytes="1M", temp_folder=directory) as pool:
            pool(delayed(abs)(k) for k in range(4))
            began = now()
            pool(delayed(twice)(ins[k], out, k) for k in range(count))
            return now() - began, ""


def array_filter(images, rows, columns, sigma):
    import numpy
    from joblib import Parallel, delayed
    from scipy.ndimage import gaussian_filter
    shape = int(images), int(rows), int(columns)
    stack = (numpy.arange(shape[0] * shape[1] * shape[2]) % 251).astype(numpy.float32).reshape(shape)
    out = numpy.zeros_like(stack)
    with Parallel(WORKERS, prefer="threads") as pool:
        pool(delayed(abs)(k) for k in range(4))
        began = now()
        pool(delayed(gaussian_filter)(stack[k], float(sigma), output=out[k]) for k in range(shape[0]))
        return now() - began, ""


def nearest(points, centres):
    import numpy
    distances = (centres * centres).sum(1) - 2 * points @ centres.T
    labels = distances.argmin(1)
    sums = numpy.zeros_like(centres)
    for d in range(points.shape[1]):
        sums[:, d] = numpy.bincount(labels, points[:, d], len(centres))
    return sums, numpy.bincount(labels, minlength=len(centres))


def array_kmeans(n):
    import numpy
    from joblib import Parallel, delayed
    began = now()
    points = numpy.random.default_rng(1).random((int(n), 8))
    centres = points[:16].copy()
    with Parallel(WORKERS, prefer="threads") as pool:
        for _ in range(20):
            parts = pool(delayed(nearest)(part, centres) for part in numpy.array_split(points, WORKERS))
            sums, counts = sum(p[0] for p in parts), sum(p[1] for p in parts)
            centres = sums / numpy.maximum(counts, 1)[:, None]
    return now() - began, ""


def requests(port, n):
    import aiohttp
    import asyncio

    async def run():
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            async def request():
                async with session.get("http://127.0.0.1:%s/page" % port) as response:
                    return len(await response.read())
            began = now()
            lengths = await asyncio.gather(*(request() for _ in range(int(n))))
            return now() - began, "%d" % sum(lengths)
    return asyncio.run(run())


if __name__ == "__main__":
    outcome = globals()[sys.argv[1]](*sys.argv[2:])
    if outcome:
        print(outcome[0], outcome[1])
