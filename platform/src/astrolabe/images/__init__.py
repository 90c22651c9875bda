"""Images: what there is (ObsCore), their pixels, cutouts, mosaics and HiPS."""
