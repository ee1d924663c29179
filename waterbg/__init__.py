"""Background under the water ring, modelled anew for every Bragg reflection of a CrystFEL stream."""

__version__ = "0.1.0"
