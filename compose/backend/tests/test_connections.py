"""What is written in one turn of the loop leaves as one."""

import asyncio

from app.connections import JOINED_BYTES, Joined


class Transport:
    def __init__(self):
        self.sent, self.closed_after = [], None

    def write(self, data):
        self.sent.append(data)

    def close(self):
        self.closed_after = len(self.sent)

    def get_extra_info(self, name):
        return f"the {name}"


def written(*parts, then=None):
    transport = Transport()

    async def turn():
        joined = Joined(transport, asyncio.get_running_loop())
        for part in parts:
            joined.write(part)
        if then:
            then(joined)
        early = list(transport.sent)
        await asyncio.sleep(0)
        assert joined.get_extra_info("socket") == "the socket"
        return early

    return asyncio.run(turn()), transport


def test_head_and_body_are_one():
    early, transport = written(b"head", b"body")
    assert early == [] and transport.sent == [b"headbody"]


def test_nothing_is_lost_by_closing():
    early, transport = written(b"head", b"body", then=Joined.close)
    assert early == transport.sent == [b"headbody"] and transport.closed_after == 1


def test_much_does_not_wait():
    much = b"x" * JOINED_BYTES
    early, transport = written(b"head", much, b"more")
    assert early == [b"head" + much] and transport.sent == [b"head" + much, b"more"]
