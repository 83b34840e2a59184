"""Is a checkpoint, or a whole model, the same after it moved to another framework?"""
