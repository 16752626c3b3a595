"""Accepted jobs: kept, queued, run, published, and who may see them.

What the HTTP side uses is `desk.Desk` and `keys.Keys`; what the command line uses is `supervisor.serve` and
`keys.Keys`. Not here: HTTP, the sandbox, and anything that imports a framework.
"""
