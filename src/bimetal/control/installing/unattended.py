"""Answers for an installer that asks nobody: what Debian's reads from ``preseed.cfg`` in its
initial file system (Debian's Installation Guide, appendix B)."""

from __future__ import annotations

import getpass
import locale
import os
import re
from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.installing.osinfo import System
from bimetal.control.installing.words import Words, refused
from bimetal.control.names import host_name

__all__ = ["ARGUMENTS", "answers_for"]

ARGUMENTS = "priority=critical"
"""What the installer's kernel is told: questions without an answer have their defaults."""

PRESEED = "preseed.cfg"
PROFILES = {"desktop": "desktop, ssh-server", "jeos": "standard, ssh-server"}
"""What osinfo calls a kind of installation, and what tasksel calls what is installed."""

KNOWN = ("profile", "admin-password-file", "user-login", "user-password-file")
WITHOUT_EFFECT = ("product-key", "reg-login")

LOGIN = re.compile(r"[a-z][-a-z0-9_]{0,31}")
"""What the installer takes for a user's name (its package user-setup)."""

RESERVED = frozenset(
    """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats
    nobody adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src
    shadow utmp video sasl plugdev staff users nogroup netplan ftn mysql tac-plus alias qmail
    qmaild qmails qmailr qmailq qmaill qmailp asterisk vpopmail vchkpw slurm hacluster haclient
    grsec-tpe grsec-sock-all grsec-sock-clt grsec-sock-srv grsec-proc ceph opensrf libvirt-qemu
    admin bind crontab cupsys dcc dhcp dictd dnsmasq dovecot fetchmail firebird ftp fuse gdm
    haldaemon hplilp identd input jwhois klog kvm lpadmin messagebus mythtv netdev powerdev
    radvd render saned sbuild scanner slocate ssh sshd ssl-cert sslwrap statd syslog telnetd
    tftpd
    """.split()
)
"""Names for which it asks for others (its file reserved-usernames, 1.95)."""

LANGUAGE = re.compile(r"[a-z]{2,3}_[A-Z]{2}")
ZONES, LOCAL_TIME = "/zoneinfo/", "/etc/localtime"
SECRET_LIMIT = 1 << 10
TREE = "/dists/"
MIRROR = ("http", "deb.debian.org", "/debian")


def answers_for(
    text: str, system: System, name: str, disk: str, location: str
) -> tuple[dict[str, bytes], list[str]]:
    """The files for the installer of ``system`` by the words of ``--unattended``, and notes: for a
    machine called ``name``, onto the device ``disk`` of the guest, from the mirror on which the
    installer's tree is, if ``location`` is an address. Raises `BimetalError`."""
    words = Words("--unattended", text, known=KNOWN, without_effect=WITHOUT_EFFECT)
    notes = words.notes
    if not system.name.startswith("debian"):
        raise refused(
            f"OS {system.name!r} does not support unattended installation here",
            "Debian's installer does: say which Debian it is, --osinfo debian12",
        )
    if "profile" not in words:
        notes.append("--unattended without a profile: it is 'desktop', as with virt-install")
    tasks = words.choice("profile", PROFILES, "desktop")
    login = _login(words)
    user = _secret(words, "user-password-file")
    root = _secret(words, "admin-password-file")
    if tasks == PROFILES["desktop"] and not (login and user):
        raise refused(
            "--unattended profile=desktop needs a user",
            "write user-login=NAME,user-password-file=FILE, or profile=jeos",
        )
    if not root:
        raise refused(
            f"--unattended: {system.name} needs the admin-password to be set",
            "write admin-password-file=FILE, whose first line is the password of root",
        )
    lines = [
        *_place(host_name(name)),
        *_mirror(location),
        *_accounts(login, user, root),
        *_storage(disk),
        f"tasksel tasksel/first multiselect {tasks}",
        *REST,
    ]
    return {PRESEED: "".join(f"{line}\n" for line in lines).encode()}, notes


REST = (
    "d-i hw-detect/load_firmware boolean false",
    "d-i clock-setup/utc boolean true",
    "d-i apt-setup/cdrom/set-first boolean false",
    "popularity-contest popularity-contest/participate boolean false",
    "d-i grub-installer/only_debian boolean true",
    "d-i grub-installer/bootdev string default",
    # Firmware whose variables were lost finds it all the same.
    "d-i grub-installer/force-efi-extra-removable boolean true",
    "d-i finish-install/reboot_in_progress note",
)


def _place(host: str) -> list[str]:
    """Language, time and name: those of this host, as far as it says."""
    language = (locale.getlocale()[0] or "").partition(".")[0]
    if not LANGUAGE.fullmatch(language):
        language = "en_US"
    _, found, zone = os.path.realpath(LOCAL_TIME).partition(ZONES)
    return [
        f"d-i debian-installer/locale string {language}.UTF-8",
        "d-i keyboard-configuration/xkb-keymap select us",
        "d-i netcfg/choose_interface select auto",
        # The second is asked only where no server tells a name, the first holds in any case.
        f"d-i netcfg/hostname string {host}",
        f"d-i netcfg/get_hostname string {host}",
        "d-i netcfg/get_domain string",
        f"d-i time/zone string {zone if found else 'Etc/UTC'}",
    ]


def _mirror(location: str) -> list[str]:
    """Where packages come from: Debian's own servers, or those of the installer's tree."""
    protocol, host, folder = MIRROR
    kind, _, address = location.partition("://")
    place, is_tree, _ = address.partition(TREE)
    if kind in ("http", "https") and is_tree:
        protocol = kind
        host, _, above = place.partition("/")
        folder = f"/{above}"
    return [
        "d-i mirror/country string manual",
        f"d-i mirror/protocol string {protocol}",
        f"d-i mirror/{protocol}/hostname string {host}",
        f"d-i mirror/{protocol}/directory string {folder}",
        f"d-i mirror/{protocol}/proxy string",
    ]


def _accounts(login: str, user: str, root: str) -> list[str]:
    lines = [
        "d-i passwd/root-login boolean true",
        f"d-i passwd/root-password password {root}",
        f"d-i passwd/root-password-again password {root}",
    ]
    if not (login and user):
        return [*lines, "d-i passwd/make-user boolean false"]
    return [
        *lines,
        "d-i passwd/make-user boolean true",
        f"d-i passwd/user-fullname string {login}",
        f"d-i passwd/username string {login}",
        f"d-i passwd/user-password password {user}",
        f"d-i passwd/user-password-again password {user}",
        "d-i user-setup/allow-password-weak boolean true",
    ]


def _storage(disk: str) -> list[str]:
    """All of the disk, in one file system."""
    return [
        f"d-i partman-auto/disk string {disk}",
        "d-i partman-auto/method string regular",
        "d-i partman-auto/choose_recipe select atomic",
        "d-i partman-partitioning/confirm_write_new_label boolean true",
        "d-i partman/choose_partition select finish",
        "d-i partman/confirm boolean true",
        "d-i partman/confirm_nooverwrite boolean true",
    ]


def _login(words: Words) -> str:
    """The name of the user: that of who asks for the machine, if nothing is said and the installer
    takes it."""
    login = words.text("user-login")
    if not login:
        own = getpass.getuser()
        return own if _may_be(own) else ""
    if not _may_be(login.lower()):
        raise refused(
            f"--unattended: nobody can be called {login[:40]!r}",
            "user-login= is small letters, digits, - and _, and not the name of root or a service",
        )
    return login.lower()


def _may_be(login: str) -> bool:
    return login not in RESERVED and LOGIN.fullmatch(login) is not None


def _secret(words: Words, word: str) -> str:
    """The first line of the file that a word names, "" for none. Raises `BimetalError`."""
    if word not in words:
        return ""
    path = words.text(word)
    try:
        with Path(path).open(encoding="utf-8") as file:
            secret = file.readline(SECRET_LIMIT).rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise BimetalError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            f"check the path of --unattended {word}",
            ExitCode.NO_INPUT,
        ) from error
    # An answer is the rest of its line, without spaces around it, and goes on after a backslash.
    if not secret or secret != secret.strip() or secret.endswith("\\") or not secret.isprintable():
        raise BimetalError(
            f"the first line of {path} is no password that the installer could be told",
            "write one without spaces around it, control characters, and a backslash at its end",
            ExitCode.DATA,
        )
    return secret
