"""What verbs are made of: each stage takes a network on its way to INT8 and gives a better one."""
