"""`foretaste run`: steps as one graph, each done once and kept, every figure led back to its rows."""
