"""Payloads that a producer compressed: gzip (`1f 8b`) and zstd (`28 b5 2f fd`), known by their first bytes."""

import gzip
import io
import zlib

import zstandard

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
EXPANDED_BYTES_MAX = 32 * 1024 * 1024  # a record holds at most 10 MiB; a bomb must not take the function's memory
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024  # what every decoder must support (RFC 8878, section 3.1.1.1.2)

ZSTD_FRAMES_MAX = 10_000  # an empty frame takes 9 bytes and some 10 µs
ZSTD_STEP_BYTES = 256  # a block of 4 bytes may stand for 128 KiB, so a bomb is found only by feeding little at a time


class CompressionError(ValueError):
    """The payload opens as compressed data and cannot be expanded; the message says why."""


def is_compressed(payload: bytes) -> bool:
    """Whether the payload opens as gzip or zstd."""
    return payload.startswith((GZIP_MAGIC, ZSTD_MAGIC))


def expand(payload: bytes) -> bytes:
    """Give the bytes that a producer compressed; several members or frames in a row are one payload.

    Raises: CompressionError when it is corrupt, cut short, or expands beyond 32 MiB.
    """
    return _expand_gzip(payload) if payload.startswith(GZIP_MAGIC) else _expand_zstd(payload)


def _expand_gzip(payload: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(payload)) as stream:
            expanded = stream.read(EXPANDED_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CompressionError(f"gzip: {error}") from error
    if len(expanded) > EXPANDED_BYTES_MAX:
        raise CompressionError(f"gzip: expands beyond {EXPANDED_BYTES_MAX} bytes")
    return expanded


def _expand_zstd(payload: bytes) -> bytes:
    expanded = bytearray()
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    view = memoryview(payload)
    start = 0
    for _ in range(ZSTD_FRAMES_MAX):
        frame = decompressor.decompressobj()  # one a frame: only so does `eof` tell a frame that was cut short
        while not frame.eof:
            if start >= len(payload):
                raise CompressionError("zstd: the payload ends within a frame")
            try:
                expanded += frame.decompress(view[start : start + ZSTD_STEP_BYTES])
            except zstandard.ZstdError as error:
                raise CompressionError(f"zstd: {error}") from error
            start += ZSTD_STEP_BYTES
            if len(expanded) > EXPANDED_BYTES_MAX:
                raise CompressionError(f"zstd: expands beyond {EXPANDED_BYTES_MAX} bytes")
        start = min(start, len(payload)) - len(frame.unused_data)
        if start == len(payload):
            return bytes(expanded)
    raise CompressionError(f"zstd: more than {ZSTD_FRAMES_MAX} frames")
