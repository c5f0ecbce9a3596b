"""SCSI units: disks and CD-ROM drives, whatever carries their commands."""
