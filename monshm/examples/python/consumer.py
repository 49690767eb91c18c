"""The consumer of ../c/producer.c in Python: attaches by ctypes, and adds up the samples in the ring.

    ./producer 10000 | python3 consumer.py [PATH/libmonshm.so]
"""

import ctypes
import os
import struct
import sys
import time

SEGMENT_SIZE = 65536
SAMPLE = struct.Struct("=Qd")
RBUF_OFFSET = 128  # of mon_shm_header.rbuf


class Buffer(ctypes.Structure):
    """mon_buffer."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("begin", ctypes.c_size_t),
        ("end", ctypes.c_size_t),
        ("kind", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class Descriptor(ctypes.Structure):
    """The beginning of mon_shm_desc."""

    _fields_ = [("header", ctypes.c_void_p), ("impl", ctypes.c_int), ("orig_size", ctypes.c_size_t)]


def load(path):
    """Loads the library and says what its functions take, so that no pointer is cut to an int."""
    library = ctypes.CDLL(path, use_errno=True)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    buffer, descriptor = ctypes.POINTER(Buffer), ctypes.POINTER(Descriptor)
    for name, result, arguments in [
        ("buf_init", None, [buffer]),
        ("buf_append_data", ctypes.c_int, [buffer, pointer, size]),
        ("buf_destroy", None, [buffer]),
        ("mon_shm_decode", descriptor, [buffer, size]),
        ("mon_shm_done", None, [descriptor]),
        ("mon_shm_lock", ctypes.c_int, [descriptor]),
        ("mon_shm_unlock", ctypes.c_int, [descriptor]),
        ("mon_shm_rbuf_len", size, [pointer]),
        ("mon_shm_rbuf_read", None, [pointer, pointer, pointer, size]),
        ("mon_shm_strerror", ctypes.c_char_p, []),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def check(library, error):
    """Raises what a function that returns an errno value has returned."""
    if error:
        raise OSError(error, f"{os.strerror(error)}: {library.mon_shm_strerror().decode()}")


def attach(library, encoded):
    """Attaches by the bytes of a descriptor."""
    buffer = Buffer()
    library.buf_init(buffer)
    try:
        check(library, library.buf_append_data(buffer, encoded, len(encoded)))
        descriptor = library.mon_shm_decode(buffer, SEGMENT_SIZE)
        if not descriptor:
            check(library, ctypes.get_errno())
        return descriptor
    finally:
        library.buf_destroy(buffer)


def take(library, descriptor):
    """Takes one sample, waiting for it at most 10 s."""
    header = descriptor.contents.header
    ring = header + RBUF_OFFSET
    bytes_ = ctypes.create_string_buffer(SAMPLE.size)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        check(library, library.mon_shm_lock(descriptor))
        there = library.mon_shm_rbuf_len(ring) >= SAMPLE.size
        if there:
            library.mon_shm_rbuf_read(ring, header, bytes_, SAMPLE.size)
        check(library, library.mon_shm_unlock(descriptor))
        if there:
            return SAMPLE.unpack(bytes_.raw)
        time.sleep(0.001)
    raise TimeoutError("the producer sent nothing for 10 s")


def main():
    library = load(sys.argv[1] if len(sys.argv) > 1 else "libmonshm.so")
    descriptor = attach(library, sys.stdin.buffer.read())
    count, total = 0, 0.0
    while True:
        number, value = take(library, descriptor)
        if number == 0:
            break
        count, total = count + 1, total + value
    library.mon_shm_done(descriptor)
    print(f"{count} samples, sum {total:.1f}")


if __name__ == "__main__":
    main()
