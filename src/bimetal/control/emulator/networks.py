"""Options for networks: by themselves (``-netdev``), and with their NIC (``-nic``, ``-net``)."""

from __future__ import annotations

from bimetal.control.emulator.grammar import Words, read_words, wrong
from bimetal.control.emulator.order import NicAt, Order

__all__ = ["network_of", "read_net", "read_netdev", "read_nic"]

REPEATED = ("hostfwd", "guestfwd")
KINDS = ("user", "tap", "socket", "stream", "dgram", "passt")
MODELS = ("virtio", "virtio-net-pci", "virtio-net-device", "virtio-net-pci-non-transitional")
NO_NETWORK = "none"


def read_netdev(order: Order, option: str, value: str) -> None:
    """A network, to which a device refers by its id."""
    words = read_words(option, value, "type", REPEATED)
    name = words.needed("id")
    if name in order.netdevs:
        raise wrong(option, f"there are two networks {name[:80]!r}", "give each its own id")
    order.netdevs[name] = network_of(words)


def read_nic(order: Order, option: str, value: str) -> None:
    """A NIC and its network; none, and there is no NIC that nobody has asked for."""
    words = read_words(option, value, "type", REPEATED)
    kind = words.text("type", "user")
    order.usual_nic = False
    if kind == NO_NETWORK:
        words.finish()
        return
    _check_model(words)
    mac = words.text("mac")
    words.ignore("id")
    order.nics.append(NicAt(network_of(words, kind), mac))


def read_net(order: Order, option: str, value: str) -> None:
    """The older way: a NIC (``nic``), and, in another option, the network that it is on."""
    words = read_words(option, value, "type", REPEATED)
    kind = words.needed("type")
    order.usual_nic = False
    if kind == NO_NETWORK:
        words.finish()
    elif kind == "nic":
        _check_model(words)
        order.old_nics.append(words.text("macaddr"))
        words.finish()
    else:
        order.old_networks.append(network_of(words, kind))


def network_of(words: Words, kind: str = "") -> str:
    """The network that words describe, as `Machine.nic` takes it. Raises `BimetalError`."""
    kind = kind or words.needed("type")
    if kind not in KINDS:
        raise wrong(words.option, f"{kind[:80]!r} is not there", f"write {', '.join(KINDS)}")
    words.ignore("id")
    if kind == "tap":
        # The kernel's own virtio is quicker, and else the same.
        words.ignore("vhost", "vhostfd", "vhostforce")
    told = [kind]
    for name, value in words.rest().items():
        for each in value if isinstance(value, list) else [value]:
            text = each.get("str", "") if isinstance(each, dict) else each
            if isinstance(text, bool):
                text = "on" if text else "off"
            if not isinstance(text, str | int):
                raise wrong(words.option, f"{name[:80]}={each!s:.80} is not right", "write a text")
            told.append(f"{name}={str(text).replace(',', ',,')}")
    return ",".join(told)


def _check_model(words: Words) -> None:
    words.only("model", *MODELS)
