"""Where steps write: files of this machine, objects, tables of databases. Each whole or not at all."""
