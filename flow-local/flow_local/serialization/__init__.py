"""What a connector asked for in the spelling of stores: values cut to size, and packed ones."""

from flow_local.serialization.finishing import Finishing
from flow_local.serialization.truncation import Truncation

__all__ = ["Finishing", "Truncation"]
