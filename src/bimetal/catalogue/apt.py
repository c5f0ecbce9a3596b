"""Debian packages of any suite and architecture, through apt with a state of its own.

``apt-get`` finds the mirror, checks signatures and hashes, resumes and retries; the host's own
package lists, database and configuration stay as they are, and root is not needed. What is used
of the host: the mirror that it is set to, and Debian's archive keys.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import make_private
from bimetal.catalogue.progress import Progress
from bimetal.catalogue.room import no_room, tells_of_no_room

__all__ = ["Apt", "Package", "check_mirror", "find_keyring", "find_mirror"]

MIRROR_VARIABLE = "BIMETAL_MIRROR"
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
)

APT_HELPER = "/usr/lib/apt/apt-helper"
"""Fetches one file the way apt does, through its proxies and methods."""

DEBIAN_SUITES = re.compile(
    r"(bookworm|trixie|forky|duke|sid|stable|oldstable|testing|unstable)(-updates|-backports)?"
)

UNVERIFIED = ("NO_PUBKEY", "is not signed", "EXPKEYSIG")
"""What apt prints if Debian's keys are older here than the packages' signatures."""

OWN_FILES = "give kernel and initial file system yourself with --kernel and --initrd"

# Valid-Until is not checked: snapshots of mirrors are in use, and an old list that is signed
# still names packages that are what they say. Sandboxing to another user would need root.
CONFIG = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::Lists "{folder}/lists";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}";
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
Acquire::Retries "2";
Acquire::http::Timeout "30";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""


class Package(Struct, frozen=True):
    """One version of a package, as the package list describes it."""

    name: str
    version: str
    architecture: str
    depends: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name under which apt stores it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Apt:
    """The packages of one suite for one architecture; its state lies in ``folder``.

    The caller holds a lock on that folder.
    """

    def __init__(self, folder: Path, mirror: str, keyring: Path, suite: str, architecture: str):
        self.folder, self.mirror = folder, mirror
        for name in ("lists/partial", "cache/archives/partial", "state"):
            make_private(folder / name)
        (folder / "state" / "status").touch()
        source = f"deb [signed-by={keyring} arch={architecture}] {mirror} {suite} main\n"
        (folder / "sources.list").write_text(source)
        (folder / "apt.conf").write_text(CONFIG.format(folder=folder, architecture=architecture))

    def update(self, progress: Progress) -> None:
        """Fetch the package lists."""
        self._get(["update", "--error-on=any"], self.folder, progress, "the package lists")

    def packages(self, names: Iterable[str], follow: re.Pattern[str]) -> list[Package]:
        """The newest versions of ``names`` and of what they depend on that matches ``follow``."""
        found: dict[str, Package] = {}
        wanted = list(names)
        while wanted:
            records = self._show(wanted)
            found |= {package.name: package for package in records}
            needs = dict.fromkeys(need for package in records for need in package.depends)
            wanted = [need for need in needs if follow.match(need) and need not in found]
        return list(found.values())

    def download(self, packages: Sequence[Package], progress: Progress) -> list[Path]:
        """Fetch and verify packages that are not there yet."""
        pool, partial = self.folder / "packages", self.folder / "packages" / "partial"
        make_private(partial)
        missing = [package for package in packages if not (pool / package.file).exists()]
        if missing:
            # apt-get takes up what it left half done, if it finds it in the folder it runs in.
            exact = [f"{package.name}={package.version}" for package in missing]
            self._get(["download", *exact], partial, progress, "the guest's packages")
            for package in missing:
                (partial / package.file).replace(pool / package.file)
        return [pool / package.file for package in packages]

    def discard(self, files: Iterable[Path]) -> None:
        """Remove packages that are no longer needed."""
        for file in files:
            file.unlink(missing_ok=True)

    def _show(self, names: Sequence[str]) -> list[Package]:
        command = ["apt-cache", "show", "--no-all-versions", *names]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0 and tells_of_no_room(done.stderr):
            raise no_room()
        records = [_package(text) for text in done.stdout.split("\n\n") if text.strip()]
        absent = sorted(set(names) - {package.name for package in records})
        if absent:
            raise BimetalError(
                f"the mirror {self.mirror} has no package {absent[0]}",
                f"name another mirror of Debian in {MIRROR_VARIABLE}, or {OWN_FILES}",
                ExitCode.UNAVAILABLE,
            )
        return records

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "APT_CONFIG": str(self.folder / "apt.conf"),
            "LC_ALL": "C",
            "DEBIAN_FRONTEND": "noninteractive",
        }

    def _get(self, words: list[str], folder: Path, progress: Progress, what: str) -> None:
        """Run apt-get in ``folder`` and report what it says on its status descriptor."""
        reader, writer = os.pipe()
        command = ["apt-get", "-q", "-o", f"APT::Status-Fd={writer}", *words]
        with (self.folder / "apt.log").open("w+") as log, os.fdopen(reader) as status:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[writer],
                )
            except FileNotFoundError as error:
                raise _no_apt() from error
            finally:
                os.close(writer)
            with process:
                try:
                    for line in status:
                        _report(line, progress)
                except BaseException:
                    process.terminate()
                    raise
            if process.returncode != 0:
                log.seek(0)
                raise self._failed(what, log.read())

    def _failed(self, what: str, log: str) -> BimetalError:
        if tells_of_no_room(log):
            return no_room()
        errors = [line[2:].strip() for line in log.splitlines() if line.startswith("E:")]
        reason = errors[0] if errors else "apt-get failed without a reason"
        remedy = f"check the network, name another mirror in {MIRROR_VARIABLE}"
        if any(words in log for words in UNVERIFIED):
            remedy = "install the newest package debian-archive-keyring"
        return BimetalError(
            f"{what} could not be fetched from {self.mirror}: {reason}",
            f"{remedy}, or {OWN_FILES}",
            ExitCode.UNAVAILABLE,
        )


def find_mirror() -> str:
    """The mirror of Debian that this host's apt uses, or the one named in ``BIMETAL_MIRROR``."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return named
    rows = _targets()
    for uri, _, origin, label in rows:
        if (origin, label) == ("Debian", "Debian"):
            return uri
    # Without lists, as before the first "apt-get update" and in most containers, apt knows the
    # names of suites and nothing more, and tells them only to those who say that this will do.
    others = {uri for uri, _, origin, _ in rows if origin}
    for uri, release, _, _ in _targets("--no-release-info"):
        if DEBIAN_SUITES.fullmatch(release) and "security" not in uri and uri not in others:
            return uri
    raise BimetalError(
        "this host's apt is set to no mirror of Debian",
        f"name one in {MIRROR_VARIABLE}, or {OWN_FILES}",
        ExitCode.UNAVAILABLE,
    )


def _targets(*options: str) -> list[list[str]]:
    """Where the host's apt has lists of packages from: address, suite, origin and label."""
    fields = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(LABEL)"
    filters = "Created-By: Packages", "Component: main"
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", *options, "--format", fields, *filters],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise _no_apt() from error
    return [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 3]


def find_keyring() -> Path:
    """Debian's archive keys on this host."""
    for path in KEYRINGS:
        if path.exists():
            return path
    raise BimetalError(
        "this host has not the keys that Debian signs its packages with",
        f"install the package debian-archive-keyring, or {OWN_FILES}",
        ExitCode.UNAVAILABLE,
    )


def check_mirror(suite: str = "trixie") -> str:
    """The mirror's address, after it has answered; `BimetalError` if it does not, or is not."""
    mirror = find_mirror()
    find_keyring()
    with tempfile.TemporaryDirectory() as folder:
        wanted = f"{mirror.rstrip('/')}/dists/{suite}/InRelease"
        done = subprocess.run(
            [APT_HELPER, "download-file", wanted, f"{folder}/InRelease"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        if tells_of_no_room(done.stderr):
            raise BimetalError(
                f"the disk with the temporary folder {tempfile.gettempdir()} is full",
                "make room there, or set TMPDIR to another folder",
                ExitCode.UNAVAILABLE,
            )
        raise BimetalError(
            f"the mirror {mirror} does not answer",
            f"check the network, name another mirror in {MIRROR_VARIABLE}, or {OWN_FILES}",
            ExitCode.UNAVAILABLE,
        )
    return mirror


def _no_apt() -> BimetalError:
    return BimetalError(
        "this host has no apt-get, which the catalogue fetches its guests with",
        f"{OWN_FILES}; they can be copied from the cache of a host that has it",
        ExitCode.UNAVAILABLE,
    )


def _package(record: str) -> Package:
    """A package from its paragraph of the list (Debian Policy, section 5.1)."""
    fields: dict[str, str] = {}
    for line in record.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields[name] = value.strip()
    depends = re.split(r"[,|]", fields.get("Depends", ""))
    names = tuple(re.split(r"[\s:(]", need.strip())[0] for need in depends if need.strip())
    return Package(fields["Package"], fields["Version"], fields["Architecture"], names)


def _report(line: str, progress: Progress) -> None:
    """A line of apt's progress protocol: ``dlstatus:number:percent:text``."""
    match line.split(":"):
        case ["dlstatus", _, percent, *_]:
            progress.fraction(min(float(percent) / 100, 1.0))
