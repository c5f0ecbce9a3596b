"""``bimetal kvm-ok``: whether KVM works on this host, found out by running a guest.

The verdict and the exit codes are those of Debian's ``kvm-ok`` (package cpu-checker), 0 for yes
and 1 for no; that program asks the processor's flags, this one KVM itself.
"""

from __future__ import annotations

import click

from bimetal import examine_kvm
from bimetal.cli.options import OnceEach

__all__ = ["command"]


@click.command("kvm-ok", cls=OnceEach)
def command() -> int:
    """Find out whether KVM works here: device, permission, module, a machine, a guest.

    The exit code is 0 if KVM acceleration can be used and 1 if it cannot, or runs no kernels.
    """
    kvm = examine_kvm()
    for finding in kvm.findings:
        click.echo(f"{'INFO' if finding.well else 'FAIL'}: {finding.what}: {finding.text}")
        if finding.remedy:
            click.echo(f"HINT: {finding.remedy}")
    click.echo(f"KVM acceleration can {'' if kvm.usable else 'NOT '}be used")
    return 0 if kvm.usable else 1
