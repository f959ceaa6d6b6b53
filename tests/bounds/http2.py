"""As much of HTTP/2 as it takes to be a nuisance (RFC 9113, sections 4 and 6; RFC 7541, section 6.2.2)."""

from tests.bounds.site import Line

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 1, 3, 4, 6, 7, 9
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME_MAX_BYTES = 16_384
_STATIC_STATUSES = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


class Http2:
    """A connection that has said hello."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._rest = b""
        self._next_stream = 1
        line.send(_PREFACE + _frame(_SETTINGS, 0, 0, b""))

    def request(self, method: str, path: str, authority: str, *headers: tuple[str, str]) -> int:
        """Send a request without a body; return its stream."""
        pseudo = ((":method", method), (":scheme", "http"), (":path", path), (":authority", authority))
        block = b"".join(_literal(name, value) for name, value in (*pseudo, *headers))
        stream = self._next_stream
        self._next_stream += 2
        pieces = [block[at : at + _FRAME_MAX_BYTES] for at in range(0, len(block), _FRAME_MAX_BYTES)]
        for number, piece in enumerate(pieces):
            kind = _CONTINUATION if number else _HEADERS
            flags = (0 if number else _END_STREAM) | (_END_HEADERS if number == len(pieces) - 1 else 0)
            self._line.send(_frame(kind, flags, stream, piece))
        return stream

    def status(self, stream: int) -> int:
        """Wait for the answer of a stream. Raises AssertionError where the stream or the connection ends first."""
        while True:
            kind, flags, at, payload = self._read()
            if kind == _HEADERS and at == stream:
                return _status(payload)
            assert not (kind == _RESET and at == stream), f"the stream was reset: {payload.hex()}"
            assert kind != _GOAWAY, f"the connection was given up: {payload!r}"
            if kind == _SETTINGS and not flags & _ACK:
                self._line.send(_frame(_SETTINGS, _ACK, 0, b""))
            if kind == _PING and not flags & _ACK:
                self._line.send(_frame(_PING, _ACK, 0, payload))

    def _read(self) -> tuple[int, int, int, bytes]:
        head = self._take(9)
        size = int.from_bytes(head[:3], "big")
        return head[3], head[4], int.from_bytes(head[5:9], "big"), self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._rest) < count:
            more = self._line.raw.recv(65_536)
            assert more, "the connection ended"
            self._rest += more
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """Write a header field without indexing and without Huffman coding."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    content = text.encode()
    return _integer(len(content)) + content


def _integer(number: int) -> bytes:
    """Write an integer with a prefix of seven bits (RFC 7541, section 5.1)."""
    if number < 127:
        return bytes([number])
    digits = [127]
    number -= 127
    while number >= 128:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes([*digits, number])


def _status(block: bytes) -> int:
    """Read `:status`, which comes first: indexed, or a literal with an indexed name."""
    first = block[0]
    if first == 0x3F or first & 0xE0 == 0x20:  # a change of the table's size comes before it
        at = 1
        if first & 0x1F == 0x1F:
            while block[at] & 0x80:
                at += 1
            at += 1
        return _status(block[at:])
    if first & 0x80:
        return _STATIC_STATUSES[first & 0x7F]
    text = block[2 : 2 + (block[1] & 0x7F)]
    return int(text) if not block[1] & 0x80 else _huffman_digits(text)


def _huffman_digits(text: bytes) -> int:
    """Decode digits (RFC 7541, appendix B): 0 to 2 have five bits, 3 to 9 six."""
    bits = "".join(f"{byte:08b}" for byte in text)
    digits = ""
    while len(digits) < 3:
        if bits[:5] in ("00000", "00001", "00010"):
            digits += str(int(bits[:5], 2))
            bits = bits[5:]
        else:
            digits += str(int(bits[:6], 2) - 0b011001 + 3)
            bits = bits[6:]
    return int(digits)
