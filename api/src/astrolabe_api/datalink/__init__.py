"""DataLink 1.1 at ``/api/datalink``: what belongs to images and to rows; light curves and cones."""
