"""The parts of `Machine` that most machines never use, in place of which it has these, which import
them when one of their members is first asked for. A test holds that no member is missing."""

from __future__ import annotations

from bimetal.base.late import late_part

__all__ = ["RARE_PARTS"]

RARE_PARTS = (
    late_part(
        "bimetal.machine.forking:Forking",
        """_begin_anew _expect _fill _fork _live _one_to_load _recipe _running_one _tasks _wait
        checkpoint delvm fork forwards kept_states label_of leases load loadvm pool restore rewind
        save savevm snapshots""",
    ),
    late_part(
        "bimetal.machine.live.disks:LiveDisks",
        """_backup _call_locked _chain _found _images _note _overlay _seat _target _terms add_bitmap
        at_once backup_disk clear_bitmap commit_disk export_disk exports images_of jobs lay_over
        limit_disk merge_bitmaps mirror_disk on_moved other_images record_bitmap remove_bitmap
        reopen_image resize_disk serve_disks set_write_threshold stop_serving stream_disk
        unexport_disk""",
    ),
    late_part(
        "bimetal.machine.looking:Looking",
        """_profiling counters cpus device device_tree devices drives explain info_mtree memory
        observe profile start_profile stats traffic""",
    ),
    late_part(
        "bimetal.machine.plugging:Plugging",
        """_sockets _usb links plug_disk plug_hub plug_input plug_nic set_link unplug""",
    ),
    late_part(
        "bimetal.machine.screens:Screens",
        """_keyboard _picture _pointed _pointer _press _screen _title _visited click move point
        press press_together screendump send_keys vnc""",
    ),
    late_part(
        "bimetal.machine.travelling:Travelling",
        """_check_not_over _is_certainly_here _is_decided _moving_by _receive _stay _written arrive
        await_arrival come_back leave""",
    ),
)
"""In the alphabetical order of their names."""
