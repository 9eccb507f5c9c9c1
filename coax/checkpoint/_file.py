"""Files of arrays and one description, which nothing in them can turn into a program.

The layout is that of safetensors: the length of a header as u64, the header in JSON, and the arrays one after another.
The description, and a checksum of every byte, are in the header's metadata. A large array that lz4 makes much smaller
is stored as one lz4 frame, under the type of bytes.

References
----------
The safetensors format, https://github.com/huggingface/safetensors; the LZ4 frame format, https://github.com/lz4/lz4.
"""

from __future__ import annotations

import concurrent.futures
import json
import math
import os
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple, NoReturn, Self

import lz4.frame
import numpy as np

from ..errors import CheckpointError, DamagedFileError
from ..utils import Rows
from ..utils import replacing as replacing_file
from ._bytes import PIECE, on_host, pieces
from ._dtypes import CODES, DTYPES

__all__ = ("File", "write_file")

_MOST_HEADER = 1 << 24  # bytes
_MOST_AXES = 32
_BEGIN = b'{"__metadata__":{"crc32":"'  # the checksum of the header follows, and is counted as zeros
_NO_CRC = b"00000000"
_AT_CRC = 8 + len(_BEGIN)
_SAMPLE, _WORTH = 1 << 16, 0.6  # bytes that are compressed to see whether it helps, and what they must come down to
_LEAST = 1 << 12  # bytes: nothing smaller is compressed
_RATIO = 255  # what lz4 can do at most


class _Entry(NamedTuple):
    """Where an array is, and what it looks like."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    crc32: int
    is_lz4: bool

    @property
    def nbytes(self) -> int:
        return DTYPES[self.dtype].itemsize * math.prod(self.shape)


# --- writing ----------------------------------------------------------------------------------------------------------


def write_file(path: str | os.PathLike[str], description: dict[str, Any], arrays: Sequence[Any]) -> None:
    """Write a file, or leave what was there as it is.

    Parameters
    ----------
    path : path
    description : dict
        Anything that JSON can hold.
    arrays : sequence of array or Rows
        Of the types in :data:`CODES`. One at a time is in host memory.

    Raises
    ------
    CheckpointError
        If the description is too long.
    OSError
        If the file cannot be written.
    """
    bounds = np.cumsum([0, *(x.dtype.itemsize * math.prod(x.shape) * 2 + PIECE for x in arrays)])
    widest = [
        _Entry(x.dtype.name, x.shape, int(a), int(b), 0xFFFFFFFF, False)
        for x, a, b in zip(arrays, bounds[:-1], bounds[1:], strict=True)
    ]
    size = -(-(len(_header(description, widest)) + 8) // 64) * 64 - 8  # so that arrays start at a multiple of 64
    if size > _MOST_HEADER:
        raise CheckpointError(
            f"{os.fspath(path)}: expected a description of at most {_MOST_HEADER} bytes, got {size}. "
            "Fix: keep many numbers in one array, not in a list."
        )
    try:
        with replacing_file(path) as file, concurrent.futures.ThreadPoolExecutor(1) as other:
            file.seek(8 + size)
            entries: list[_Entry] = []
            for x in arrays:
                entries.append(_write_array(file, other, on_host(x), entries[-1].stop if entries else 0))
            header = size.to_bytes(8, "little") + _header(description, entries).ljust(size)
            file.seek(0)
            file.write(header[:_AT_CRC] + b"%08x" % zlib.crc32(header) + header[_AT_CRC + 8 :])
    except OSError as err:
        raise OSError(
            err.errno, f"{err.strerror}: {os.fspath(path)} was not written; an older file of that name is as it was"
        ) from err


def _header(description: dict[str, Any], entries: Sequence[_Entry]) -> bytes:
    more = [{"dtype": e.dtype, "shape": e.shape, "crc32": e.crc32, "lz4": e.is_lz4} for e in entries]
    text = json.dumps({**description, "arrays": more}, separators=(",", ":"), allow_nan=False)
    table = {}
    for i, e in enumerate(entries):
        is_bytes = e.is_lz4 or CODES[e.dtype] == "U8"
        shape = [e.stop - e.start] if is_bytes else e.shape
        code = "U8" if is_bytes else CODES[e.dtype]
        table[str(i)] = {"dtype": code, "shape": shape, "data_offsets": [e.start, e.stop]}
    metadata = {"crc32": _NO_CRC.decode(), "coax": text}
    return json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode()


def _write_array(file: BinaryIO, other: concurrent.futures.Executor, x: np.ndarray | Rows, start: int) -> _Entry:
    packed = (_Packed if _shrinks(x) else _Plain)(file, other)
    for piece in pieces(x):
        packed.write(piece)
    packed.finish()
    return _Entry(x.dtype.name, tuple(x.shape), start, start + packed.size, packed.crc32, isinstance(packed, _Packed))


def _shrinks(x: np.ndarray | Rows) -> bool:
    if x.nbytes < _LEAST:
        return False
    sample = next(pieces(x, _SAMPLE))
    return len(lz4.frame.compress(sample)) < _WORTH * len(sample)


class _Plain:
    """Bytes on their way into a file. Their checksum is computed while they are written."""

    def __init__(self, file: BinaryIO, other: concurrent.futures.Executor):
        self._file, self._other = file, other
        self._crc32: Any = None
        self.size, self.crc32 = 0, 0

    def write(self, piece: Any) -> None:
        self._wait()
        if len(piece) < PIECE // 4:
            self.crc32 = zlib.crc32(piece, self.crc32)
        else:
            self._crc32 = self._other.submit(zlib.crc32, piece, self.crc32)
        self._file.write(piece)
        self.size += len(piece)

    def finish(self) -> None:
        """Write what is left, and wait for the checksum."""
        self._wait()

    def _wait(self) -> None:
        if self._crc32 is not None:
            self.crc32, self._crc32 = self._crc32.result(), None


class _Packed(_Plain):
    """The same, as an lz4 frame."""

    def __init__(self, file: BinaryIO, other: concurrent.futures.Executor):
        super().__init__(file, other)
        self._frame = lz4.frame.LZ4FrameCompressor()
        super().write(self._frame.begin())

    def write(self, piece: Any) -> None:
        super().write(self._frame.compress(piece))

    def finish(self) -> None:
        super().write(self._frame.flush())
        super().finish()


# --- reading ----------------------------------------------------------------------------------------------------------


class File:
    """A file of :func:`write_file`, open for reading.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    path : str
    description : dict
        What was given to :func:`write_file`. The checksum fits; what it says is not checked.

    Raises
    ------
    DamagedFileError
        If it is no such file, or not as it was written. Nothing in it is run, and no more memory is taken than its size
        warrants.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self._start, header = self._read_header(os.fstat(self._file.fileno()).st_size)
            self.description, self._entries = self._parse(header)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        """Count the arrays."""
        return len(self._entries)

    def looks(self, i: int) -> tuple[np.dtype, tuple[int, ...]]:
        """Dtype and shape of an array."""
        if i >= len(self):
            self._damaged(f"there is no array {i} in it")
        return DTYPES[self._entries[i].dtype], self._entries[i].shape

    def read(self, i: int) -> np.ndarray:
        """An array of one's own.

        Raises
        ------
        DamagedFileError
            If it is not as it was written.
        """
        entry = self._entries[i]
        flat = np.empty(entry.nbytes, np.uint8)
        self._file.seek(self._start + entry.start)
        crc = self._unpack(i, entry, flat) if entry.is_lz4 else self._fill(i, flat)
        if crc != entry.crc32:
            self._damaged(f"array {i} has the checksum {crc:08x} instead of {entry.crc32:08x}")
        if entry.dtype == "bool" and flat.size and flat.max() > 1:
            self._damaged(f"array {i} has truth values that are neither 0 nor 1")
        return flat.view(DTYPES[entry.dtype]).reshape(entry.shape)

    def _damaged(self, fault: str) -> NoReturn:
        raise DamagedFileError(
            f"{self.path}: {fault}. It is damaged, or no checkpoint of coax. "
            "Fix: load an older one, e.g. with Checkpointer.restore_latest."
        )

    def _fill(self, i: int, flat: np.ndarray) -> int:
        view, crc = flat.data, 0
        for start in range(0, len(flat), PIECE):
            piece = view[start : start + PIECE]
            if self._file.readinto(piece) != len(piece):
                self._damaged(f"it ends within array {i}")
            crc = zlib.crc32(piece, crc)
        return crc

    def _unpack(self, i: int, entry: _Entry, flat: np.ndarray) -> int:
        frame, left, at, crc = lz4.frame.LZ4FrameDecompressor(), entry.stop - entry.start, 0, 0
        while not frame.eof:
            packed = b""
            if frame.needs_input:
                packed = self._file.read(min(left, PIECE))
                left -= len(packed)
                crc = zlib.crc32(packed, crc)
                if not packed:
                    self._damaged(f"it ends within array {i}")
            try:
                piece = frame.decompress(packed, max_length=PIECE)
            except (RuntimeError, ValueError, EOFError, MemoryError) as err:
                self._damaged(f"array {i} is no lz4 frame ({err})")
            if at + len(piece) > len(flat):
                self._damaged(f"array {i} is larger than it says")
            flat[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        if at != len(flat) or left or frame.unused_data:
            self._damaged(f"array {i} has not the size it says")
        return crc

    def _read_header(self, size: int) -> tuple[int, bytes]:
        length = self._file.read(8)
        count = int.from_bytes(length, "little")
        if len(length) < 8 or not _AT_CRC <= count <= min(size - 8, _MOST_HEADER):
            self._damaged("it does not begin with the length of a header")
        text = self._file.read(count)
        header = length + text
        if len(text) != count or not text.startswith(_BEGIN):
            self._damaged("it has no header of coax")
        zeroed = header[:_AT_CRC] + _NO_CRC + header[_AT_CRC + 8 :]
        if header[_AT_CRC : _AT_CRC + 8] != b"%08x" % zlib.crc32(zeroed):
            self._damaged("the checksum of its header is wrong")
        return 8 + count, text

    def _parse(self, header: bytes) -> tuple[dict[str, Any], list[_Entry]]:
        try:
            table = json.loads(header)
            description = json.loads(table.pop("__metadata__")["coax"])
            arrays = description.pop("arrays")
            entries = [_as_entry(one, table.pop(str(i))) for i, one in enumerate(arrays)]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as err:
            self._damaged(f"its header does not say what is in it ({type(err).__name__}: {str(err)[:80]})")
        stops = [0, *(e.stop for e in entries)]
        if table or [e.start for e in entries] != stops[:-1]:
            self._damaged("its header names arrays that do not follow each other")
        if self._start_of(header) + stops[-1] != os.fstat(self._file.fileno()).st_size:
            self._damaged("it is shorter or longer than its header says")
        return description, entries

    @staticmethod
    def _start_of(header: bytes) -> int:
        return 8 + len(header)


def _as_entry(one: Any, where: Any) -> _Entry:
    """An entry, or a ``ValueError``."""
    (start, stop), shape = where["data_offsets"], tuple(one["shape"])
    numbers = (start, stop, one["crc32"], *shape)
    entry = _Entry(one["dtype"], shape, start, stop, one["crc32"], one["lz4"])
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers) or type(entry.is_lz4) is not bool:
        raise ValueError("not a number")
    if entry.dtype not in CODES or len(shape) > _MOST_AXES or stop < start:
        raise ValueError("no such array")
    stored, size = stop - start, entry.nbytes
    if size > _RATIO * stored if entry.is_lz4 else size != stored:
        raise ValueError(f"{stored} bytes for an array of {size}")
    if size == 0 and math.prod(max(n, 1) for n in shape) >= 1 << 62:
        raise ValueError("no such shape")
    return entry
