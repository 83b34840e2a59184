"""Generated cases: Hypothesis draws shapes, layouts, ids and schemes; a drawn stream gives the numbers."""
