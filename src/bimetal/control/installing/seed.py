"""What cloud-init reads in a new machine: a CD-ROM with the label ``cidata`` (cloud-init's
documentation, "NoCloud")."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.installing.media import image_library
from bimetal.control.installing.words import Words
from bimetal.control.names import host_name

__all__ = ["Seed", "make_seed", "seed_from"]

LABEL = "cidata"
KNOWN = (
    "user-data", "meta-data", "network-config", "root-password-file", "root-password-generate",
    "root-ssh-key", "clouduser-ssh-key", "ssh-key", "disable",
)  # fmt: skip
Seed = Mapping[str, str]
"""The files of a seed, by name."""


def seed_from(text: str, name: str) -> tuple[Seed, str]:
    """The seed that the words of ``--cloud-init`` ask for, for a machine called ``name``, and the
    password that was made for its root, or "". Raises `BimetalError`."""
    words = Words("--cloud-init", text or "root-password-generate=on", known=KNOWN)
    password = ""
    if "root-password-file" in words:
        password = _read(words.text("root-password-file")).splitlines()[0]
    made = secrets.token_urlsafe(12) if words.switch("root-password-generate") else ""
    data = _read(words.text("user-data")) if "user-data" in words else _user_data(
        words, made or password
    )  # fmt: skip
    meta = f"instance-id: {name}\nlocal-hostname: {host_name(name)}\n"
    seed = {
        "user-data": data,
        "meta-data": _read(words.text("meta-data")) if "meta-data" in words else meta,
    }
    if "network-config" in words:
        seed["network-config"] = _read(words.text("network-config"))
    return seed, made


def make_seed(seed: Seed, path: Path) -> None:
    """Write the image of a CD-ROM with the files of a seed, for the user alone: there are
    passwords in it. Raises `BimetalError`."""
    image = image_library()()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    for name, text in seed.items():
        content = text.encode()
        plain = name.replace("-", "_").upper()
        image.add_fp(
            BytesIO(content),
            len(content),
            f"/{plain}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    try:
        path.touch(0o600)
        with path.open("wb") as file:
            image.write_fp(file)
    except OSError as error:
        raise BimetalError(
            f"{path} cannot be written: {error.strerror}", "make room there", ExitCode.IO_ERROR
        ) from error
    finally:
        image.close()


def _user_data(words: Words, password: str) -> str:
    lines = ["#cloud-config"]
    if password:
        lines += [
            "chpasswd:",
            "  list: |",
            f"    root:{password}",
            f"  expire: {'True' if words.switch('root-password-generate') else 'False'}",
            "ssh_pwauth: True",
        ]
    if "root-ssh-key" in words:
        key = _read(words.text("root-ssh-key")).strip()
        lines += ["disable_root: False", "users:", "  - default", "  - name: root"]
        lines += ["    ssh_authorized_keys:", f"      - {key}"]
    for word in ("clouduser-ssh-key", "ssh-key"):
        if word in words:
            lines += ["ssh_authorized_keys:", f"  - {_read(words.text(word)).strip()}"]
    if words.switch("disable"):
        lines += ["runcmd:", "  - touch /etc/cloud/cloud-init.disabled"]
    return "\n".join(lines) + "\n"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise BimetalError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            "check the path of --cloud-init",
            ExitCode.NO_INPUT,
        ) from error
