"""Events in: their two shapes, the routes that take and list them, and the rules that they are held against."""
