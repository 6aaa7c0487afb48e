"""Many runs on the same workers: the matrix of options, the plan, the queue and the results."""
