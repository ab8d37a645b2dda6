-- A suggestion tells whether a part was missing when it was made, and which.

ALTER TABLE suggestions ADD COLUMN degraded text;
