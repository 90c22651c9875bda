"""What belongs to images and to rows of catalogs, as DataLink tells it."""
