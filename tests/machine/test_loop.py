"""The loop that answers exits, with CPUs that play scripts."""

import logging
import time
from pathlib import Path

import pytest

from bimetal.accel.script import ScriptCpu, Step, halt_until
from bimetal.base import trace
from bimetal.base.clock import RealClock
from bimetal.base.errors import BimetalError
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending, Result
from bimetal.seam import CpuFault, Exit, FirmwareCall, Halt, Mmio, Pio
from tests.machine.conftest import LIMIT, Script

UART, TEST, CLINT, PLIC, RTC = 0x1000_0000, 0x10_0000, 0x200_0000, 0xC00_0000, 0x10_1000
RAM = 0x8000_0000
POWER_OFF = Mmio(TEST, 4, write=True, value=0x5555)
HSM, IPI, RFENCE, SRST = 0x48534D, 0x735049, 0x52464E43, 0x53525354


def power_off(code: int = 0) -> Mmio:
    return Mmio(TEST, 4, write=True, value=0x3333 | code << 16)


def store(address: int, value: int, size: int = 4) -> Mmio:
    return Mmio(address, size, write=True, value=value)


def call(extension: int, function: int, *args: int) -> FirmwareCall:
    return FirmwareCall((*args, *[0] * (6 - len(args)), function, extension))


def busy(cpu: ScriptCpu) -> Exit:
    """A guest that never stops to read the serial port."""
    cpu.repeat()
    return Mmio(UART + 7, 1)


def test_the_guest_prints_and_powers_off(script: Script) -> None:
    exits: list[Exit] = [store(UART, byte, 1) for byte in b"hello"]
    board = script([*exits, power_off(42)]).run()
    assert board.machine.result == Result(Ending.POWER_OFF, 42)
    assert board.machine.console.log == "hello"


def test_reads_are_answered(script: Script) -> None:
    board = script([Mmio(UART + 5, 1), Mmio(RTC, 4), Mmio(TEST, 4), POWER_OFF]).run()
    assert board.cpus[0].answers == [0x60, 10**18 & 0xFFFF_FFFF, 0]


@pytest.mark.parametrize(("code", "shown"), [(0, 0), (1, 1), (255, 255), (256, 1), (0x1203, 3)])
def test_exit_codes_fit_into_a_byte_and_no_failure_becomes_success(
    script: Script, code: int, shown: int
) -> None:
    board = script([power_off(code)]).run()
    assert board.machine.wait().code == shown


def test_accesses_to_nothing_are_counted_and_go_on(script: Script) -> None:
    board = script(
        [Mmio(0x2800_0000, 4), store(0x2800_0008, 1), store(0x1000, 1), Pio(0x60), POWER_OFF]
    ).run()
    assert board.cpus[0].answers == [0, 0xFF]
    stats = str(board.machine.stats())
    assert "bus: 1 x guest error: read where nothing is, in 0x28000000..0x2800ffff" in stats
    assert "bus: 1 x guest error: write to the read-only rom" in stats
    assert "cpu0 exits: 4 Mmio, 1 Pio" in stats
    assert "accesses: 3 nowhere, 1 rom, 1 test@100000" in stats
    assert board.machine.counters() == {
        "cpu0 exits": {"Mmio": 4, "Pio": 1},
        "accesses": {"nowhere": 3, "rom": 1, "test@100000": 1},
    }


def test_an_access_that_straddles_two_regions(script: Script) -> None:
    end = RAM + (64 << 20)
    board = script([store(end - 4, 0x1122334455667788, 8), Mmio(end - 4, 8), POWER_OFF]).run()
    assert board.cpus[0].answers == [0x55667788]


def test_a_software_interrupt_wakes_a_halted_cpu(script: Script) -> None:
    scripts = [store(CLINT + 4, 1)], [halt_until(3), POWER_OFF]
    board = script(*scripts, bios="none").run()
    assert board.cpus[1].history == [(3, True)]


def test_a_halt_ends_at_its_deadline(script: Script) -> None:
    board = script([Halt(deadline=5_000), POWER_OFF])
    board.machine.start()
    with pytest.raises(TimeoutError):
        board.machine.wait(0.01)
    with board.machine._gate.lock:
        board.clock.advance(5_000)
    assert board.machine.wait(LIMIT).code == 0


def test_a_timer_of_a_device_interrupts(script: Script) -> None:
    board = script([store(CLINT + 0x4000, 100, 8), halt_until(7), POWER_OFF], bios="none")
    board.machine.start()
    with board.machine._gate.lock:
        board.clock.advance(100_000)
    board.machine.wait(LIMIT)


DAY = 86400 * 10**9
FOR_EVER = (1 << 64) - 1


def alarm(nanoseconds: int) -> list[Step]:
    """Set the alarm of the clock."""
    return [store(RTC + 0xC, nanoseconds >> 32), store(RTC + 8, nanoseconds & 0xFFFF_FFFF)]


@pytest.mark.parametrize(
    "steps",
    [
        [store(CLINT + 0x4000, 30 * DAY // 100, 8)],
        [store(CLINT + 0x4000, 1 << 63, 8)],
        [store(CLINT + 0x4000, FOR_EVER - 1, 8)],
        [store(CLINT + 0x4000, FOR_EVER, 8)],
        alarm(time.time_ns() + 29 * DAY),
        alarm(FOR_EVER),
        [Halt(deadline=30 * DAY)],
        [Halt(deadline=100 * (FOR_EVER - 1))],
    ],
)
def test_a_timer_far_ahead_lets_the_machine_go_on(script: Script, steps: list[Step]) -> None:
    typed: list[Step] = [
        store(PLIC + 4 * 10, 1),
        store(PLIC + 0x2080, 1 << 10),
        store(UART + 1, 1, 1),
        *steps,
        halt_until(9),
        POWER_OFF,
    ]
    board = script(typed, bios="none", clock=RealClock())
    board.machine.start()
    with pytest.raises(TimeoutError):
        board.machine.wait(0.1)
    board.machine.console.send("k")
    assert board.machine.wait(LIMIT).code == 0


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_a_user_may_wait_for_ever_in_numbers(script: Script, seconds: float) -> None:
    board = script([store(UART, ord("!"), 1), POWER_OFF])
    board.machine.start()
    assert board.machine.console.expect("!", timeout=seconds).text == "!"
    assert board.machine.wait(seconds).code == 0


def test_typed_input_interrupts_by_way_of_the_plic(script: Script) -> None:
    board = script(
        [
            store(PLIC + 4 * 10, 1),
            store(PLIC + 0x2080, 1 << 10),
            store(UART + 1, 1, 1),
            halt_until(9),
            Mmio(PLIC + 0x20_1004, 4),
            Mmio(UART, 1),
            store(PLIC + 0x20_1004, 10),
            POWER_OFF,
        ]
    )
    board.machine.start()
    board.machine.console.send("k")
    board.machine.wait(LIMIT)
    assert board.cpus[0].answers == [10, ord("k")]
    assert not board.cpus[0].lines[9]


# Harts and the SBI


def test_harts_start_stop_and_interrupt_each_other(script: Script) -> None:
    started: dict[str, int] = {}

    def look(cpu: ScriptCpu) -> None:
        started.update(cpu.registers)

    board = script(
        [
            call(HSM, 2, 1),
            call(HSM, 0, 1, RAM + 0x100, 0xABC),
            halt_until(1),
            call(HSM, 0, 1, RAM + 0x200, 0),
            POWER_OFF,
        ],
        [look, call(IPI, 0, 1, 0), Halt()],
    ).run()
    first = board.cpus[0].answers
    assert first[:2] == [(0, 1), (0, 0)]
    assert first[2][0] in ((1 << 64) - 6, (1 << 64) - 7)  # type: ignore[index]
    assert started == {"priv": 1, "pc": RAM + 0x100, "a0": 1, "a1": 0xABC}
    assert board.cpus[1].resets == 1


def test_a_hart_that_stopped_can_be_started_again(script: Script) -> None:
    def stopped(cpu: ScriptCpu) -> Exit | None:
        if cpu.answers[-1] == (0, 1):
            return None
        cpu.repeat()
        return call(HSM, 2, 1)

    board = script(
        [call(HSM, 0, 1, RAM, 1), stopped, call(HSM, 0, 1, RAM, 2)],
        [call(HSM, 1), POWER_OFF],
    ).run()
    assert board.cpus[1].resets == 2
    assert board.cpus[1].registers["a1"] == 2


def test_a_remote_fence_is_done_when_the_call_returns(script: Script) -> None:
    flushes: list[int] = []

    def look(cpu: ScriptCpu) -> None:
        flushes.append(board.cpus[1].flushes)

    fence = call(RFENCE, 1, 0b11, 0, 0, 0)
    board = script(
        [call(HSM, 0, 1, RAM, 0), halt_until(1), look, fence, look, fence, look, POWER_OFF],
        [call(IPI, 0, 1, 0), busy],
    )
    board.run()
    assert flushes == [1, 2, 3]
    assert board.cpus[0].flushes == 3


def test_harts_that_fence_each_other_do_not_lock_up(script: Script) -> None:
    fences: list[Exit] = [call(RFENCE, 1, 0, (1 << 64) - 1, 0, 0) for _ in range(200)]
    done: list[int] = []

    def finish(cpu: ScriptCpu) -> Exit:
        done.append(cpu.index)
        return POWER_OFF if len(done) == 3 else Halt()

    starts: list[Exit] = [call(HSM, 0, hart, RAM, 0) for hart in (1, 2)]
    board = script([*starts, *fences, finish], [*fences, finish], [*fences, finish]).run()
    assert sorted(done) == [0, 1, 2]
    assert all(cpu.answers.count((0, 0)) >= 200 for cpu in board.cpus)


def test_the_sbi_shuts_down_with_failure(script: Script) -> None:
    board = script([call(SRST, 0, 0, 1), store(UART, 65, 1)]).run()
    assert board.machine.result == Result(Ending.POWER_OFF, 1)
    assert board.machine.console.log == ""


def test_the_timer_of_the_sbi_is_that_of_the_hart(script: Script) -> None:
    board = script([call(0x54494D45, 0, 777), POWER_OFF]).run()
    assert board.cpus[0].registers["stimecmp"] == 777


# Ends


def test_a_reset_starts_the_guest_anew(script: Script) -> None:
    scratch: list[Exit] = [store(UART + 7, 0x55, 1), Mmio(UART + 7, 1)]
    board = script([*scratch, store(TEST, 0x7777), Mmio(UART + 7, 1), POWER_OFF], []).run()
    assert board.cpus[0].answers == [0x55, 0]
    assert [cpu.resets for cpu in board.cpus] == [1, 1]
    assert board.cpus[0].registers["pc"] == RAM + 0x20_0000


def test_a_reset_ends_the_run_if_the_user_wants_that(script: Script) -> None:
    board = script([store(TEST, 0x7777)], reboot=False).run()
    assert board.machine.result == Result(Ending.RESET, 0)


def test_a_reset_whose_kernel_has_vanished(script: Script, kernel: Path) -> None:
    def vanish(cpu: ScriptCpu) -> None:
        kernel.unlink()

    board = script([vanish, store(TEST, 0x7777)]).run()
    result = board.machine.wait()
    assert (result.ending, result.code) == (Ending.STOPPED, 66)
    assert "kernel" in result.message


def test_a_fault_says_which_cpu_and_why(script: Script) -> None:
    board = script([CpuFault("no memory at the reset vector", "pc = 0")]).run()
    assert board.machine.result == Result(
        Ending.FAULT, 70, "CPU 0: no memory at the reset vector", "pc = 0"
    )


def test_a_defect_of_ours_reaches_whoever_waits(script: Script) -> None:
    def defect(cpu: ScriptCpu) -> Exit:
        raise ZeroDivisionError("a defect")

    board = script([defect])
    board.machine.start()
    with pytest.raises(ZeroDivisionError, match="a defect"):
        board.machine.wait(LIMIT)


def test_stopping_from_outside(script: Script) -> None:
    board = script([Halt()], [])
    board.machine.start()
    board.machine.stop()
    board.machine.stop()
    assert board.machine.wait(LIMIT).ending is Ending.STOPPED


def test_a_machine_starts_once(script: Script) -> None:
    board = script([POWER_OFF]).run()
    with pytest.raises(BimetalError, match="started before"):
        board.machine.start()


# Standing still


def test_a_paused_machine_does_nothing(script: Script) -> None:
    board = script([busy], [busy], bios="none")
    board.machine.start()
    board.machine.pause()
    before = [len(cpu.answers) for cpu in board.cpus]
    board.machine.pause()
    assert [len(cpu.answers) for cpu in board.cpus] == before
    board.machine.resume()
    while any(len(cpu.answers) == n for cpu, n in zip(board.cpus, before, strict=True)):
        time.sleep(0)


def test_flash_leaves_the_memory_while_it_takes_commands(script: Script, tmp_path: Path) -> None:
    image = tmp_path / "flash.img"
    image.write_bytes(b"\x37" * (32 << 20))
    slots: list[int] = []

    def look(cpu: ScriptCpu) -> None:
        slots.append(sum(slot.base == 0x2000_0000 for slot in board.accelerator.slots))

    board = script(
        [
            look,
            store(0x2000_0000, 0x0070_0070),
            look,
            Mmio(0x2000_0000, 4),
            store(0x2000_0000, 0x00FF_00FF),
            look,
            POWER_OFF,
        ],
        flash=[str(image)],
    )
    board.run()
    assert slots == [1, 0, 1]
    assert board.cpus[0].answers == [0x0080_0080]
    assert image.read_bytes() == b"\x37" * (32 << 20)


def test_traces(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    trace.configure("exit,mmio,irq")
    try:
        with caplog.at_level(logging.DEBUG, "bimetal"):
            scripts = [store(CLINT, 1), Mmio(UART + 5, 1), Mmio(0x2800_0000, 8), POWER_OFF]
            script(scripts, bios="none").run()
    finally:
        trace.configure("")
    assert [message for message in caplog.messages if "guest error" not in message] == [
        "cpu0 Mmio(0x2000000, 4 bytes, <- 0x1)",
        "clint@2000000+0x0 write 4 <- 0x1",
        "cpu0 line 3 high",
        "cpu0 Mmio(0x10000005, 1 bytes, read)",
        "uart@10000000+0x5 read 1 -> 0x60",
        "cpu0 Mmio(0x28000000, 8 bytes, read)",
        "0x28000000 read 8 -> 0x0",
        "cpu0 Mmio(0x100000, 4 bytes, <- 0x5555)",
        "test@100000+0x0 write 4 <- 0x5555",
    ]


def test_closing_before_anything_happened(kernel: Path) -> None:
    with Machine("riscv-virt", kernel=str(kernel)) as vm:
        assert vm.accel == "auto"
    with pytest.raises(BimetalError, match="closed"):
        vm.info_mtree()
