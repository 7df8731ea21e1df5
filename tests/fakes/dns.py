"""A DNS server over TCP that answers for headless Services as a cluster does: SRV records, and A or AAAA beside them.

Records are wire format of RFC 1035 and RFC 2782, written here because nothing else in the tests needs DNS.
"""

import asyncio
import struct
from ipaddress import ip_address
from typing import Final

from deepseek_operator.facts.base import Address

__all__ = ["NO_SUCH_NAME", "FakeDns"]

_A, _AAAA, _SRV, _IN = 1, 28, 33, 1
NO_SUCH_NAME: Final = 3
TTL_S: Final = 5


class FakeDns:
    """The server.

    Attributes
    ----------
    members
        Addresses by the name of their Service.
    asked
        Names that were asked for.
    silent
        Questions are not answered.
    code_of_none
        What is answered for a Service without members: that there is no such name, or 0 and no records.
    """

    def __init__(self) -> None:
        self.members: dict[str, tuple[Address, ...]] = {}
        self.asked: list[str] = []
        self.silent = False
        self.code_of_none = NO_SUCH_NAME
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """``host:port`` of the server."""
        assert self._server is not None
        host, port, *_ = self._server.sockets[0].getsockname()
        return str(Address(host, port))

    async def start(self, host: str = "127.0.0.1") -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, host, 0)

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self._answer(await reader.readexactly(length))
                if not self.silent:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, query: bytes) -> bytes:
        (number,) = struct.unpack("!H", query[:2])
        end = query.index(b"\0", 12) + 5
        question, name = query[12:end], _read(query[12:])
        (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
        self.asked.append(name)
        service = next((known for known in self.members if f"{known}." in f"{name}."), "")
        members = self.members.get(service, ())
        labels = [member.host.translate(str.maketrans(".:", "--")).strip("-") for member in members]
        targets = [(f"{label}.{service}.test", member) for label, member in zip(labels, members, strict=True)]
        if kind == _SRV:
            answers = [_record(name, _SRV, struct.pack("!HHH", 0, 100, one.port) + _name(to)) for to, one in targets]
            more = [_address(to, member) for to, member in targets]
        else:
            found = [member for to, member in targets if to == name and kind == _kind(member)]
            answers, more = [_address(name, member) for member in found], []
        code = 0 if answers else self.code_of_none
        head = struct.pack("!HHHHHH", number, 0x8580 | code, 1, len(answers), 0, len(more))
        return head + question + b"".join(answers + more)


def _read(packed: bytes) -> str:
    labels, at = [], 0
    while packed[at]:
        labels.append(packed[at + 1 : at + 1 + packed[at]].decode())
        at += packed[at] + 1
    return ".".join(labels)


def _name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _kind(member: Address) -> int:
    return _AAAA if ":" in member.host else _A


def _address(name: str, member: Address) -> bytes:
    return _record(name, _kind(member), ip_address(member.host).packed)


def _record(name: str, kind: int, data: bytes) -> bytes:
    return _name(name) + struct.pack("!HHIH", kind, _IN, TTL_S, len(data)) + data
