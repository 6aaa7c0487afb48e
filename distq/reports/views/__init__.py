"""One view of the page a file; each makes HTML of what :mod:`distq.reports.facts` holds."""
