"""How fast are the layers, and a check of checkpoints, and how much memory do they take?"""
