"""What only ``farm meter -- COMMAND`` needs: the command, what ends it, and who hears Ctrl-C."""
