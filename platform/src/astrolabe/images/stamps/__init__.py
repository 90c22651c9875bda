"""Bulk stamps: equal cutouts around a table of positions, from many images, in one bundle."""
