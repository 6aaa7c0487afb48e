"""How a threshold is searched and how good an INT8 network is: pure functions of scores."""
