"""HiPS (1.0): images and densities as a hierarchy of tiles over the sky, and coverage as MOC."""
