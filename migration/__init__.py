"""Is a converted checkpoint right, and what will behave differently in another framework?"""
