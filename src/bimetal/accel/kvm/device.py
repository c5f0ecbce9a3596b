"""/dev/kvm: opening it, asking what it can do, and saying clearly why it cannot be used."""

from __future__ import annotations

import errno
import grp
import os
import platform
import stat
from functools import cached_property

from bimetal.accel.kvm import abi
from bimetal.accel.kvm.abi import Capability
from bimetal.accel.kvm.kernel import Handle, HostKernel, Kernel
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Device", "KvmUnavailable", "explain_open_error"]


class KvmUnavailable(BimetalError):
    """KVM cannot be used here; the cause and the remedy say why and what to do."""

    def __init__(self, cause: str, remedy: str = "", exit_code: int = ExitCode.UNAVAILABLE):
        super().__init__(cause, remedy, exit_code)


CONTAINERS = ("/.dockerenv", "/run/.containerenv")
"""Files by which Docker and Podman tell that this is a container."""


def explain_open_error(error: OSError, path: str) -> KvmUnavailable:
    """Why ``path`` does not open, in the words of someone who can change it."""
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return KvmUnavailable(f"there is no {path}", _missing_device_remedy())
        case errno.EACCES | errno.EPERM:
            cause = f"no permission to open {path}"
            return KvmUnavailable(cause, _permission_remedy(path), ExitCode.NO_PERMISSION)
        case errno.EBUSY:
            return KvmUnavailable(f"{path} is busy", "stop the other hypervisor that holds it")
        case _:
            return KvmUnavailable(f"{path} does not open: {error.strerror}")


def _missing_device_remedy() -> str:
    machine = platform.machine()
    if any(map(os.path.exists, CONTAINERS)):
        return "start this container with the host's: --device /dev/kvm"
    if machine in ("x86_64", "i686"):
        return (
            "load the module (modprobe kvm_intel or kvm_amd); if that fails, enable VT-x or SVM "
            "in the firmware, or nested virtualisation in the hypervisor around this machine"
        )
    return f"boot a kernel with KVM for {machine}, at the hypervisor's privilege level"


def _permission_remedy(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "make the device visible in this container or sandbox"
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    if status.st_gid != 0 and status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP:
        return f"join group {group}: adduser $USER {group}, then log in again"
    return (
        f"{path} belongs to group {group} with mode {stat.S_IMODE(status.st_mode):04o}; give it to "
        'group kvm by a udev rule: KERNEL=="kvm", GROUP="kvm", MODE="0660"'
    )


class Device(Handle):
    """An open /dev/kvm. Raises `KvmUnavailable` if it does not open or speaks another version."""

    def __init__(self, kernel: Kernel | None = None, path: str = abi.DEVICE):
        kernel = HostKernel() if kernel is None else kernel
        self.path = path
        try:
            super().__init__(kernel, kernel.open(path))
        except OSError as error:
            raise explain_open_error(error, path) from error
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def _check_version(self) -> None:
        try:
            version = self.ioctl(abi.GET_API_VERSION)
        except OSError as error:
            raise KvmUnavailable(f"{self.path} is not KVM: {error.strerror}") from error
        if version != abi.API_VERSION:
            raise KvmUnavailable(f"{self.path} speaks KVM API {version}, not {abi.API_VERSION}")
        for needed in (Capability.USER_MEMORY, Capability.IMMEDIATE_EXIT):
            self.require(needed)

    def capability(self, number: Capability) -> int:
        """What KVM_CHECK_EXTENSION answers; 0 also for numbers that this kernel does not know."""
        try:
            return self.ioctl(abi.CHECK_EXTENSION, number)
        except OSError:
            return 0

    def require(self, number: Capability) -> int:
        """As `capability`, but raises `KvmUnavailable` for 0."""
        value = self.capability(number)
        if not value:
            raise KvmUnavailable(
                f"this kernel's KVM lacks KVM_CAP_{number.name}", "run a newer kernel"
            )
        return value

    @cached_property
    def run_size(self) -> int:
        """Bytes of the area that a vCPU shares with this process."""
        return self.ioctl(abi.GET_VCPU_MMAP_SIZE)

    @property
    def max_cpus(self) -> int:
        """vCPUs that one virtual machine may have."""
        return self.capability(Capability.MAX_VCPUS) or self.capability(Capability.NR_VCPUS) or 4

    def create_vm(self) -> int:
        """The descriptor of a new, empty virtual machine."""
        try:
            return self.ioctl(abi.CREATE_VM, 0)
        except OSError as error:
            raise _explain_create_error(error) from error


def _explain_create_error(error: OSError) -> KvmUnavailable:
    match error.errno:
        case errno.EBUSY:
            remedy = "stop the other hypervisor (VirtualBox, Xen, ...) that uses the processor"
        case errno.ENOMEM:
            remedy = "free some memory, or raise the limit of this control group"
        case errno.EMFILE | errno.ENFILE:
            remedy = "raise the limit of open files (ulimit -n)"
        case errno.ENODEV | errno.EIO | errno.EOPNOTSUPP:
            remedy = "enable virtualisation in the firmware or in the hypervisor around this host"
        case errno.EINTR:
            remedy = "find out what keeps sending signals to this process"
        case _:
            remedy = ""
    return KvmUnavailable(f"KVM refuses to create a machine: {error.strerror}", remedy)
