"""Block back ends: where the sectors of a disk live."""
