"""HiPS, coverage of tables, and the page that shows them."""
