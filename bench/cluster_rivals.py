"""What parlua's mpi engine is measured beside: mpirun -n 3 python3 -m mpi4py.futures cluster_rivals.py CALL WORDS...

One of the ranks runs this script and no tasks. Prints the seconds that the call took, with workers warm.
The last word of a call with chunks is their size."""
import sys
import time
from mpi4py.futures import MPIPoolExecutor

now = time.perf_counter


def nothing(x):
    pass


def same(x):
    return x


def spin(seconds):
    until = now() + seconds
    while now() < until:
        pass
    return seconds


def timed(function, items, chunk):
    with MPIPoolExecutor() as executor:
        executor.bootup()
        list(executor.map(same, range(10000), chunksize=100))
        began = now()
        results = list(executor.map(function, items, chunksize=int(chunk)))
        return now() - began, results


def empty(n, chunk):
    seconds, results = timed(nothing, range(1, int(n) + 1), chunk)
    assert len(results) == int(n)
    return seconds


def single(n):
    seconds, results = timed(same, range(1, int(n) + 1), 1)
    assert len(results) == int(n)
    return seconds


def large(n, size):
    body = b"x" * (int(size) - 8)
    items = [b"%08d" % i + body for i in range(1, int(n) + 1)]
    seconds, results = timed(same, items, 1)
    assert results == items
    return seconds


def heavy_tail(path, chunk):
    with open(path) as file:
        lengths = [float(line) for line in file]
    seconds, results = timed(spin, lengths, chunk)
    assert results == lengths
    return seconds


if __name__ == "__main__":
    print(globals()[sys.argv[1]](*sys.argv[2:]))
