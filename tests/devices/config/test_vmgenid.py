"""The generation ID: the same for the life of a machine, another in each copy of it."""

from bimetal.devices.config.vmgenid import VmGenId


def identity(device: VmGenId, size: int = 8) -> bytes:
    reads = (device.read(at, size).to_bytes(size, "little") for at in range(0, 16, size))
    return b"".join(reads)


def test_it_is_random_and_stays() -> None:
    device, other = VmGenId(), VmGenId()
    first = identity(device)
    assert first != identity(other)
    device.write(0, 8, 0)
    device.reset()
    assert [identity(device, size) for size in (1, 2, 4, 8)] == [first] * 4
    assert device.read(0x10, 8) == 0
    assert device.events.counts == {"guest error: write to the generation ID": 1}


def test_a_copy_has_another_and_the_guest_hears_of_it() -> None:
    device, copy, heard = VmGenId(), VmGenId(), list[bool]()
    copy.irq.connect(heard.append)
    copy.load(device.save())
    assert identity(copy) == identity(device)
    copy.forked()
    assert identity(copy) != identity(device)
    assert heard == [True, False]
