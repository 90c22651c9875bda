"""HEALPix, regions and coverage; NumPy in, NumPy out.  Angles in degrees, frame ICRS."""
