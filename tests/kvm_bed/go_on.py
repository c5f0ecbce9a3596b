"""In the bed: goes on with the machine in a file under KVM, until it has counted, and saves it.

python -m tests.kvm_bed.go_on FILE
"""

from __future__ import annotations

import sys

from bimetal import Machine
from tests.kvm_bed.counting import BAD

LIMIT, DOTS = 300, 5


def main() -> int:
    """See the module."""
    with Machine.restore(sys.argv[1], accel="kvm", cpu_model="host") as vm:
        vm.start()
        vm.console.expect("." * DOTS, LIMIT)
        vm.save(sys.argv[1], stop=True)
        print(vm.console.log)
        return int(BAD in vm.console.log)


if __name__ == "__main__":
    sys.exit(main())
