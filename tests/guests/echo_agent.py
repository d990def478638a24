"""A stand-in for the task agent that sends back what it is sent, and does what a test tells it."""

from __future__ import annotations

import io
import zipfile

_PROGRAM = """
import os, select, time

port = "/dev/virtio-ports/org.innkeeper.agent.0"
while not os.path.exists(port):
    time.sleep(0.2)
device = os.open(port, os.O_RDWR | os.O_NONBLOCK)
while True:
    select.select([device], [], [], 1)
    try:
        data = os.read(device, 65536)
    except BlockingIOError:
        continue
    if not data:
        time.sleep(0.2)
    if data.startswith(b"write "):
        with open("/data/note", "wb") as note:
            note.write(data[6:])
        os.sync()
        data = b"written"
    elif data == b"read":
        data = open("/data/note", "rb").read() if os.path.exists("/data/note") else b"nothing"
    elif data == b"fill":
        with open("/data/fill", "wb") as fill:
            fill.write(os.urandom(1 << 20) * 8)
        os.sync()
        data = b"filled"
    while data:
        select.select([], [device], [], 1)
        try:
            data = data[os.write(device, data):]
        except BlockingIOError:
            time.sleep(0.01)
"""


def bundle() -> bytes:
    """The program as a zipapp, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", (1980, 1, 1, 0, 0, 0)), _PROGRAM)
    return buffer.getvalue()
