"""What every part leans on: errors, ids, clock, logging, the control database."""
