"""What is done with machines that stay: commands like those for a machine that runs (`commands`),
whose words are virsh's. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.verbs import (
    backups,
    blocks,
    checkpoints,
    figures,
    keeping,
    listing,
    parts,
    plugging,
    pools,
    settings,
    viewing,
    volumes,
)
from bimetal.control.verbs.backups import JobFacts
from bimetal.control.verbs.checkpoints import CheckpointFacts, CheckpointLine
from bimetal.control.verbs.explaining import Reasons
from bimetal.control.verbs.figures import BlockFigures, BlockRoom
from bimetal.control.verbs.hosts import BoardLine, Node
from bimetal.control.verbs.installing import install
from bimetal.control.verbs.interfaces import AddressLine, LinkLine, NetworkLine, NicLine
from bimetal.control.verbs.lives import Defined
from bimetal.control.verbs.looking import DriveLine, Facts
from bimetal.control.verbs.registry import DOCUMENT, HOST
from bimetal.control.verbs.screens import vncdisplay
from bimetal.control.verbs.states import KeptLine
from bimetal.control.verbs.statistics import Figures
from bimetal.control.verbs.undefining import Undefined

__all__ = [
    "DOCUMENT",
    "HOST",
    "AddressLine",
    "BlockFigures",
    "BlockRoom",
    "BoardLine",
    "CheckpointFacts",
    "CheckpointLine",
    "Defined",
    "DriveLine",
    "Facts",
    "Figures",
    "JobFacts",
    "KeptLine",
    "LinkLine",
    "NetworkLine",
    "NicLine",
    "install",
    "vncdisplay",
]
__all__ += [
    "Node",
    "Reasons",
    "Undefined",
    "backups",
    "blocks",
    "checkpoints",
    "figures",
    "keeping",
    "listing",
    "parts",
    "plugging",
    "pools",
    "settings",
    "viewing",
    "volumes",
]
