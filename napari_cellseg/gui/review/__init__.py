"""The *Review*, *Gallery* and *Table* docks, their actions and keys."""
