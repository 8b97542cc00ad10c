"""Places that work is sent to: each module speaks one wire, behind the Target port. ``build`` makes them."""
