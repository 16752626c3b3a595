"""The HTTP front: the contract's calls, upload, download, the Swagger page.

`app.create_app` is the whole service as one value; `python -m coppice.http` is the process that serves it. Not here:
jobs and keys (`jobs`), files (`storage`). Nothing here imports a framework, unpickles, or parses a model.
"""
