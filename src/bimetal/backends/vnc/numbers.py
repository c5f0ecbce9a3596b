"""Numbers of the remote framebuffer protocol: RFC 6143, and for what is younger its registry and
the community's description of it (github.com/rfbproto/rfbproto).
"""

from __future__ import annotations

from struct import Struct

__all__ = ["ClientMessage", "Encoding", "Security", "ServerMessage", "VeNCrypt"]


class Security:
    """Security types (7.1.2)."""

    NONE = 1
    VNC = 2
    VENCRYPT = 19


class VeNCrypt:
    """Version 0.2, and its subtypes with a certificate."""

    VERSION = bytes((0, 2))
    X509_NONE = 260
    X509_VNC = 261


class ClientMessage:
    """Types of messages from a client (7.5), and what follows them."""

    SET_PIXEL_FORMAT = 0
    SET_ENCODINGS = 2
    UPDATE_REQUEST = 3
    KEY = 4
    POINTER = 5
    CUT_TEXT = 6
    SET_DESKTOP_SIZE = 251
    QEMU = 255

    PIXEL_FORMAT = Struct(">3x16s")
    ENCODINGS = Struct(">xH")
    REQUEST = Struct(">BHHHH")
    KEY_EVENT = Struct(">B2xI")
    POINTER_EVENT = Struct(">BHH")
    TEXT = Struct(">3xi")
    DESKTOP_SIZE = Struct(">xHHBx")
    SCREEN_SIZE = 16
    EXTENDED_KEY = Struct(">xHII")


class ServerMessage:
    """What a server sends: an update (7.6.1), and the header of each rectangle in it."""

    UPDATE = Struct(">BxH")
    RECTANGLE = Struct(">HHHHi")
    COPY = Struct(">HH")
    INIT = Struct(">HH16sI")
    SCREENS = Struct(">B3xIHHHHI")


class Encoding:
    """Encodings (7.7), and those that say what a client can do (7.8)."""

    RAW = 0
    COPY_RECT = 1
    TIGHT = 7
    ZRLE = 16
    DESKTOP_SIZE = -223
    CURSOR = -239
    COMPRESSION_HIGHEST, COMPRESSION_LOWEST = -247, -256
    EXTENDED_KEY = -258
    EXTENDED_DESKTOP_SIZE = -308
    CURSOR_WITH_ALPHA = -314
