"""Class tables that ship with the package: file number, name, colour."""
